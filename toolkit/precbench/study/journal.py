"""The journal of a run: one SQLite file that knows what is finished, and that a kill or a full disk leaves readable."""

import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import OutputError, UsageError

SCHEMA_VERSION = 1
NAME = "journal.sqlite"
_APPLICATION_ID = 0x70726563  # "prec", in the file's header
_WAIT_S = 30.0
_MOST_IMAGES = 1 << 28
_SCHEMA = """
CREATE TABLE study (value TEXT NOT NULL);
CREATE TABLE stages (name TEXT PRIMARY KEY, key TEXT NOT NULL, files TEXT NOT NULL, facts TEXT NOT NULL);
CREATE TABLE points (
    experiment TEXT NOT NULL, name TEXT NOT NULL, place INTEGER NOT NULL, key TEXT NOT NULL,
    state TEXT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (experiment, name));
CREATE TABLE predictions (key TEXT PRIMARY KEY, images INTEGER NOT NULL, classes BLOB NOT NULL, facts TEXT NOT NULL);
"""


class State(StrEnum):
    """How far a point of an experiment is."""

    LEFT = "left"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PointState:
    """A point of an experiment, as the journal knows it.

    Attributes:
        experiment: its name.
        name: of the point in it.
        key: digest of all that its predictions are made from; two points of one key share them.
        state: how far it is.
        detail: why it failed; empty otherwise.
    """

    experiment: str
    name: str
    key: str
    state: State
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """What a model said of each image.

    Attributes:
        classes: int64 [images], the class with the highest score.
        facts: what else is worth knowing, JSON.
    """

    classes: NDArray[np.int64]
    facts: Mapping[str, Any]


class Journal:
    """A connection to the journal of a run folder. Every method that writes has written durably when it returns.

    It is opened and closed for each call: a killed process leaves no lock, and `status` may read while a run writes.
    """

    def __init__(self, folder: Path, *, study: Mapping[str, Any] | None = None) -> None:
        """Open the journal of a folder, or with `study` begin one where there is none.

        Raises:
            UsageError: it is no journal, is damaged, or was written by another version.
            OutputError: it cannot be written.
        """
        self.path = folder / NAME
        if study is not None and self._is_empty():
            self._begin(study)
        with self._open() as connection:
            _check(connection, self.path)

    def study(self) -> dict[str, Any]:
        """Return the study as JSON, as it was when the folder was last begun or run."""
        with self._open() as connection:
            row = connection.execute("SELECT value FROM study").fetchone()
        return self._object(row[0] if row else None, "its study")

    def set_study(self, study: Mapping[str, Any]) -> None:
        """Record the study as it is now."""
        with self._writing() as connection:
            connection.execute("UPDATE study SET value = ?", (_text(study),))

    def stages(self) -> dict[str, Stage]:
        """Return every stage recorded, done or outdated, by name."""
        with self._open() as connection:
            rows = connection.execute("SELECT name, key, files, facts FROM stages ORDER BY rowid").fetchall()
        return {
            str(name): Stage(key=str(key), files=self._files(files), facts=self._object(facts, f"the stage {name}"))
            for name, key, files, facts in rows
        }

    def record_stage(self, name: str, stage: Stage) -> None:
        """Record that a stage is done, in place of what was known of it."""
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO stages VALUES (?, ?, ?, ?)",
                (name, stage.key, _text(stage.files), _text(stage.facts)),
            )

    def forget_stages(self, names: Sequence[str]) -> None:
        """Forget that these stages are done."""
        with self._writing() as connection:
            connection.executemany("DELETE FROM stages WHERE name = ?", [(name,) for name in names])

    def forget(self) -> None:
        """Forget every stage, point and prediction."""
        with self._writing() as connection:
            for table in ("stages", "points", "predictions"):
                connection.execute(f"DELETE FROM {table}")

    def plan(self, points: Sequence[PointState]) -> None:
        """Replace the list of points. One whose predictions are there is done, whatever state it is given; one that
        failed under the same key has failed."""
        rows = [(p.experiment, p.name, place, p.key, p.state, p.detail) for place, p in enumerate(points)]
        with self._writing() as connection:
            failed = connection.execute("SELECT detail, key FROM points WHERE state = 'failed'").fetchall()
            connection.execute("DELETE FROM points")
            connection.executemany("INSERT INTO points VALUES (?, ?, ?, ?, ?, ?)", rows)
            connection.execute(
                "UPDATE points SET state = 'done', detail = '' WHERE key IN (SELECT key FROM predictions)"
            )
            connection.executemany(
                "UPDATE points SET state = 'failed', detail = ? WHERE key = ? AND state != 'done'", failed
            )

    def points(self) -> list[PointState]:
        """Return the points in the order planned."""
        with self._open() as connection:
            rows = connection.execute("SELECT experiment, name, key, state, detail FROM points ORDER BY place")
            found = rows.fetchall()
        try:
            return [
                PointState(experiment=str(e), name=str(n), key=str(k), state=State(s), detail=str(d))
                for e, n, k, s, d in found
            ]
        except ValueError as error:
            raise self._damaged(error) from error

    def set_state(self, keys: Sequence[str], state: State, detail: str = "") -> None:
        """Record how far the points with these keys are."""
        with self._writing() as connection:
            connection.executemany(
                "UPDATE points SET state = ?, detail = ? WHERE key = ?", [(state, detail, key) for key in keys]
            )

    def record_predictions(self, key: str, predictions: Predictions) -> None:
        """Record what a variant predicts; its points are done from then on."""
        classes = predictions.classes
        if classes.ndim != 1 or (classes.size and not 0 <= int(classes.min()) <= int(classes.max()) < 2**32):
            raise ValueError(f"classes of shape {classes.shape} are no class indices")
        packed = zlib.compress(classes.astype("<u4").tobytes(), 6)
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO predictions VALUES (?, ?, ?, ?)",
                (key, len(classes), packed, _text(predictions.facts)),
            )
            connection.execute("UPDATE points SET state = 'done', detail = '' WHERE key = ?", (key,))

    def predictions(self, key: str) -> Predictions | None:
        """Return what a variant predicted, None where it was not evaluated."""
        with self._open() as connection:
            row = connection.execute("SELECT images, classes, facts FROM predictions WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        return Predictions(
            classes=self._classes(row[0], row[1]), facts=self._object(row[2], "the facts of a prediction")
        )

    def known_predictions(self) -> set[str]:
        """Return the keys of the variants that were evaluated."""
        with self._open() as connection:
            return {str(key) for (key,) in connection.execute("SELECT key FROM predictions")}

    def _is_empty(self) -> bool:
        """Whether there is no journal yet: no file, or one that a kill left before anything was in it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}", "choose another folder") from error
        with self._open() as connection:
            return connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,) and all(
                connection.execute(f"PRAGMA {name}").fetchone() == (0,) for name in ("application_id", "user_version")
            )

    def _begin(self, study: Mapping[str, Any]) -> None:
        with self._writing() as connection:  # one transaction: a kill leaves nothing, or all of it
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            for statement in _SCHEMA.strip().split(";\n"):
                connection.execute(statement)
            connection.execute("INSERT INTO study VALUES (?)", (_text(study),))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)) as connection:
                connection.execute("PRAGMA trusted_schema = OFF")
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
        except sqlite3.OperationalError as error:
            raise self._unusable(error) from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _classes(self, images: Any, packed: Any) -> NDArray[np.int64]:
        try:
            if not 0 <= images <= _MOST_IMAGES:
                raise ValueError(f"predictions of {images} images")
            unpacked = zlib.decompressobj().decompress(packed, 4 * images + 1)
            if len(unpacked) != 4 * images:
                raise ValueError(f"predictions of {images} images in {len(unpacked)} bytes")
        except (zlib.error, TypeError, ValueError) as error:
            raise self._damaged(error) from error
        return np.frombuffer(unpacked, "<u4").astype(np.int64)

    def _files(self, text: Any) -> dict[str, str]:
        files = self._object(text, "the files of a stage")
        for name in files:
            path = PurePosixPath(name)
            outside = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name
            if outside or not path.name or path.name.startswith(NAME):
                raise self._damaged(f"it lists {name!r}, which is no file that a run makes in its folder")
        return {name: str(digest) for name, digest in files.items()}

    def _object(self, text: Any, what: str) -> dict[str, Any]:
        try:
            value = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise self._damaged(error) from error
        if not isinstance(value, dict):
            raise self._damaged(f"{what} is no object")
        return value

    def _unusable(self, error: sqlite3.OperationalError) -> OutputError | UsageError:
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_ERROR:  # a statement that its tables do not know
            return self._damaged(error)
        remedy = "make room on the disk, or choose a folder that you can write to; what is finished is kept"
        if code == sqlite3.SQLITE_BUSY:
            remedy = "another program holds it open: end that, and run the same command again; what is finished is kept"
        return OutputError(f"the journal {self.path} cannot be used: {error}", remedy)

    def _damaged(self, why: Exception | str) -> UsageError:
        return UsageError(f"{self.path} is damaged: {why}", "name another folder")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != _APPLICATION_ID:
        raise UsageError(f"{path} is no journal of precbench", "name another folder")
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{path} has schema version {version}, this precbench reads {SCHEMA_VERSION}",
            "use the precbench that wrote it, or name another folder",
        )


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), allow_nan=False)
