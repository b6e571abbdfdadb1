"""What a folder of measurements holds: one record per finished combination, and why others have none."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from combinations import Combination
from machine import gpu, libraries, telemetry

from precbench.bench.benchmark import Benchmark
from precbench.bench.samples_file import samples_path, write_samples
from precbench.errors import DataError, PrecbenchError
from precbench.files import write_json

MEASURED, FAILED, PARTIAL, MISSING = "measured", "failed", "partial", "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A combination and what there is of it.

    Args:
        state: "measured", "failed", "partial" or "not measured".
        record: of `precbench bench`, with what the GPU did; None where nothing was measured.
        reason: why there is no full record; None where there is, or where nothing was tried.
    """

    combination: Combination
    state: str
    record: Mapping[str, Any] | None
    reason: str | None


class Store:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        """Remember the folder; it is made by the first write."""
        self.folder = folder

    def find(self, combination: Combination) -> Stored:
        """Return what there is of a combination.

        Raises:
            DataError: its file is damaged.
        """
        for state in (MEASURED, PARTIAL, FAILED):
            path = self._path(combination, state)
            if path.is_file():
                value = read(path)
                reason = None if state == MEASURED else str(value.get("reason") or value.get("ended"))
                return Stored(
                    combination=combination, state=state, record=None if state == FAILED else value, reason=reason
                )
        return Stored(combination=combination, state=MISSING, record=None, reason=None)

    def keep(self, combination: Combination, result: Benchmark, *, command: str) -> str:
        """Write a benchmark's record and samples; return "measured", or "partial" where it ended before its time."""
        state = MEASURED if result.complete else PARTIAL
        path = self._path(combination, state)
        processes = [samples for batch in result.batches for samples in batch.measurement.processes]
        write_samples(samples_path(path), result.samples())
        about = {
            "combination": combination.to_json(),
            "measured_by": command,
            "telemetry": telemetry(processes),
            "gpu": gpu(),
            "libraries": libraries(),
        }
        write_json(path, {**result.to_json(), **about})
        self._forget(combination, but=state)
        return state

    def keep_failure(self, combination: Combination, error: Exception) -> str:
        """Write why a combination could not be measured; return that reason."""
        reason = error.problem if isinstance(error, PrecbenchError) else str(error).strip().splitlines()[-1]
        value = {"combination": combination.to_json(), "reason": reason}
        if isinstance(error, PrecbenchError):
            value["remedy"] = error.remedy
        write_json(self._path(combination, FAILED), value)
        return reason

    def _forget(self, combination: Combination, *, but: str) -> None:
        for state in (PARTIAL, FAILED):
            if state != but:
                path = self._path(combination, state)
                path.unlink(missing_ok=True)
                samples_path(path).unlink(missing_ok=True)

    def _path(self, combination: Combination, state: str) -> Path:
        ending = "" if state == MEASURED else f".{state}"
        return self.folder / f"{combination.name}{ending}.json"


def read(path: Path) -> dict[str, Any]:
    """Read a JSON object that this script wrote.

    Raises:
        DataError: it is none.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}", "delete it, and measure again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} is damaged", "delete it, and measure again")
    return value


def digests_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Return arm to digest of the models that a record measured, the base under "base"."""
    return {name: model["digest"] for name, model in record["models"].items() if name != "control"}
