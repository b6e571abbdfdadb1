"""The run folder: what was made, from what, found again by digest. `run.json` is its record."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from precbench.errors import OutputError, UsageError
from precbench.files import file_digest, write_json

SCHEMA_VERSION = 1
RECORD = "run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One finished step of a run.

    Attributes:
        key: digest of all that the step was made from.
        files: path in the run folder to digest, of what it made.
        facts: what is worth knowing of it, JSON.
    """

    key: str
    files: Mapping[str, str]
    facts: Mapping[str, Any]


class RunFolder:
    """A folder that knows which of its files are the result of what.

    The law: a stage is done exactly when it was finished under the same key and each of its files is still there with
    the bytes it had. The record is written, atomically, after each stage: what is finished is never lost.
    """

    def __init__(self, path: Path, *, study: Mapping[str, Any], fresh: bool = False) -> None:
        """Open the folder of a study, or begin one where there is none.

        Args:
            path: the folder.
            study: the study as JSON, recorded.
            fresh: forget what was done.

        Raises:
            OutputError: the folder holds something else, or another study's run.
        """
        self.path = path
        self._study = dict(study)
        record = _read_record(path)
        if record is not None and record["study"].get("name") != study["name"]:
            raise OutputError(
                f"{path} holds a run of the study {record['study'].get('name')!r}, not {study['name']!r}",
                "name another folder with -o",
            )
        self._stages = {} if record is None else _read_stages(record["stages"], path)
        if fresh and self._stages:
            self._forget()

    def begin(self) -> None:
        """Write the record before the first stage's work, so that an interrupted run is known as one."""
        if not (self.path / RECORD).exists():
            self._write()

    def _forget(self) -> None:
        """Forget every stage, then remove what they made: in this order, so that a kill leaves nothing half-known."""
        files = [name for stage in self._stages.values() for name in stage.files]
        self._stages = {}
        self._write()
        for name in files:
            (self.path / name).unlink(missing_ok=True)

    def __truediv__(self, name: str) -> Path:
        """Return a path in the folder."""
        return self.path / name

    def find(self, stage: str, key: str) -> Stage | None:
        """Return a stage that is done, or None."""
        found = self._stages.get(stage)
        if found is None or found.key != key:
            return None
        unchanged = all(_has_digest(self.path / name, digest) for name, digest in found.files.items())
        return found if unchanged else None

    def finish(self, stage: str, key: str, files: Sequence[str], facts: Mapping[str, Any] | None = None) -> Stage:
        """Record that a stage is done, with the files that it made (paths in the folder)."""
        digests = {name: file_digest(self.path / name) for name in files}
        done = Stage(key=key, files=digests, facts=dict(facts or {}))
        self._stages[stage] = done
        self._write()
        return done

    def stages(self) -> Mapping[str, Stage]:
        """Return every stage recorded, done or outdated, by name."""
        return dict(self._stages)

    def _write(self) -> None:
        stages = {
            name: {"key": stage.key, "files": dict(stage.files), "facts": dict(stage.facts)}
            for name, stage in self._stages.items()
        }
        write_json(self.path / RECORD, {"schema_version": SCHEMA_VERSION, "study": self._study, "stages": stages})


def _read_stages(value: Any, path: Path) -> dict[str, Stage]:
    try:
        stages = {str(name): Stage(**stage) for name, stage in value.items()}
        names = [str(name) for stage in stages.values() for name in dict(stage.files)]
        if any(Path(name).is_absolute() or ".." in Path(name).parts for name in names):
            raise ValueError("a file outside the folder is listed")
    except (AttributeError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    return stages


def _damaged(path: Path, error: Exception) -> UsageError:
    return UsageError(f"{path / RECORD} is damaged: {error}", "name another folder with -o, or remove that file")


def _has_digest(path: Path, digest: str) -> bool:
    return path.is_file() and file_digest(path) == digest


def _read_record(path: Path) -> dict[str, Any] | None:
    """Return the record of a run folder, None where the folder is new or empty."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    if not path.is_dir():
        raise OutputError(f"{path} is a file, not a run folder", "name another folder with -o")
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
        version, complete = record["schema_version"], {"study", "stages"} <= record.keys()
        if complete and not isinstance(record["study"], dict):
            raise TypeError("its study is no object")
    except FileNotFoundError as error:
        raise OutputError(
            f"{path} is not empty and is no run folder: it has no {RECORD}", "name another with -o"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error
    if version != SCHEMA_VERSION or not complete:
        raise UsageError(
            f"{path / RECORD} has schema version {version!r}, this precbench reads {SCHEMA_VERSION}",
            "use the precbench that wrote it, or name another folder with -o",
        )
    return dict(record)
