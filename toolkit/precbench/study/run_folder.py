"""The run folder: what was made, from what, found again by digest. One process works in it at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from precbench.errors import OutputError
from precbench.files import file_digest
from precbench.study.journal import NAME, Journal, Stage

RESULTS = "results.json"
BASE_MODEL = "base.onnx"
VARIANT_STAGE = "variant:"
"""What the stages of variants begin with; their facts name the base model's digest as `base`."""
_LOCK = "run.lock"


class RunFolder:
    """A folder that knows which of its files are the result of what.

    The law: a stage is done exactly when it was finished under the same key and each of its files is still there with
    the bytes it had. The journal is written, durably, after each stage: what is finished is never lost.
    """

    def __init__(self, path: Path, *, study: Mapping[str, Any], fresh: bool = False) -> None:
        """Open the folder of a study, or begin one where there is none. It is locked until `close`.

        Args:
            path: the folder.
            study: the study as JSON, recorded.
            fresh: forget what was done.

        Raises:
            OutputError: the folder holds something else, or another study's run; or another process works in it.
            UsageError: its journal is damaged, or of another version.
        """
        self.path = path
        check_is_run_folder(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"the run folder {path} cannot be made: {error.strerror}", "name another folder with -o"
            ) from error
        self._lock = FileLock(path / _LOCK)
        self._acquire()
        try:
            self.journal = Journal(path, study=study)
            known = self.journal.study().get("name")
            if known != study["name"]:
                raise OutputError(
                    f"{path} holds a run of the study {known!r}, not {study['name']!r}", "name another folder with -o"
                )
            self._stages = self.journal.stages()
            self.journal.set_study(study)
            if fresh:
                self._forget()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another process work in the folder."""
        self._lock.release()

    def _acquire(self) -> None:
        try:
            self._lock.acquire(timeout=1)  # `is_at_work` takes it for a moment
        except Timeout as error:
            raise OutputError(
                f"another precbench works in {self.path}", "wait until it ends, or name another folder with -o"
            ) from error

    def _forget(self) -> None:
        """Forget everything, then remove what was made: in this order, so that a kill leaves nothing half-known."""
        files = [name for stage in self._stages.values() for name in stage.files]
        self._stages = {}
        self.journal.forget()
        root = self.path.resolve()
        for name in files:
            path = self.path / name
            if path.is_file() and path.parent.resolve().is_relative_to(root):  # a link may lead elsewhere
                path.unlink()

    def forget(self, *stages: str) -> None:
        """Forget stages that are outdated, so that none of them passes for finished; their files stay."""
        known = [stage for stage in stages if stage in self._stages]
        if known:
            self.journal.forget_stages(known)
        for stage in known:
            del self._stages[stage]

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
        self.journal.record_stage(stage, done)
        self._stages[stage] = done
        return done

    def stages(self) -> Mapping[str, Stage]:
        """Return every stage recorded, done or outdated, by name."""
        return dict(self._stages)


def is_at_work(path: Path) -> bool:
    """Whether a process works in a run folder now."""
    if not (path / _LOCK).exists():
        return False
    lock = FileLock(path / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # of a folder that can only be read: whoever works in it could write
        return False
    lock.release()
    return False


def check_is_run_folder(path: Path, *, exists: bool = False) -> None:
    """Refuse a path that is no run folder, and cannot become one unless `exists`.

    Raises:
        OutputError: it is a file, or a folder with other things in it; or with `exists`, there is none.
    """
    if not path.exists() and not exists:
        return
    if not path.is_dir():
        what = "is a file, not" if path.exists() else "is not"
        raise OutputError(f"{path} {what} a run folder", "name another folder" + ("" if exists else " with -o"))
    others = [entry.name for entry in path.iterdir() if entry.name != _LOCK]
    if NAME not in others and (others or exists):
        raise OutputError(
            f"{path} is no run folder: it has no {NAME}", "name another folder" + ("" if exists else " with -o")
        )


def _has_digest(path: Path, digest: str) -> bool:
    return path.is_file() and file_digest(path) == digest
