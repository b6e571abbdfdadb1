"""What every benchmark leaves, whatever the protocol: who measured what, where and how, and how it ended."""

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import precbench
from precbench.bench.arms import Line
from precbench.bench.caveats import Caveat
from precbench.bench.gate import Gate
from precbench.bench.options import TimingOptions
from precbench.bench.records import SCHEMA_VERSION
from precbench.errors import problem_of
from precbench.runtime import SessionSettings
from precbench.timing.samples import INTERRUPTED

COMPLETE = "complete"


class _HasJson(Protocol):
    def to_json(self) -> dict[str, Any]: ...


_Batch = TypeVar("_Batch", bound=_HasJson)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Generic[_Batch]):
    """A finished benchmark, or what there is of one.

    Args:
        base: as it was asked for.
        variants: likewise.
        line: of its arms.
        settings: of every session, as asked for.
        options: how it was timed.
        gate: what passed.
        batches: what was measured, per batch size.
        environment: see `setup.watch_machine`.
        caveats: about the whole of it.
        ended: "complete", "interrupted", or what failed.
        failure: the error that ended it; None otherwise.
    """

    protocol: ClassVar[str]
    """ "blocks" or "sequential"."""

    base: Path
    variants: tuple[Path, ...]
    line: Line
    settings: SessionSettings
    options: TimingOptions
    gate: Gate
    batches: tuple[_Batch, ...]
    environment: Mapping[str, Any]
    caveats: tuple[Caveat, ...]
    ended: str
    failure: Exception | None

    @property
    def complete(self) -> bool:
        """Whether all was measured that was to be."""
        return self.ended == COMPLETE

    def to_json(self) -> dict[str, Any]:
        """Return the record, without samples. Strict JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "command": "bench",
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "precbench": precbench.__version__,
            "complete": self.complete,
            "ended": self.ended,
            "protocol": self.protocol,
            "settings": asdict(self.options),
            "asked": {
                "base": str(self.base),
                "variants": [str(path) for path in self.variants],
                "session": self.settings.to_json(),
            },
            "models": {
                name: {**self.gate.models[arm.model].to_json(), "denormals_as_zero": arm.denormals_as_zero}
                for name, arm in self.line.arms.items()
            },
            "session": dict(self.gate.session),
            "environment": dict(self.environment),
            "measurements": [batch.to_json() for batch in self.batches],
            "warnings": [caveat.to_json() for caveat in self.caveats],
        }


def early_end(error: KeyboardInterrupt | Exception) -> tuple[str, Exception | None]:
    """Return how a record that an error ended early says so, and the error; Ctrl-C is none."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, None
    return f"failed: {problem_of(error)}", error
