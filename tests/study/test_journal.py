"""The journal keeps what it was told, whatever happens, and believes nothing that a stranger wrote into it."""

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precbench.errors import OutputError, UsageError
from precbench.study.journal import NAME, Journal, PointState, Predictions, Stage, State

STUDY = {"name": "a-study"}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path, study=STUDY)


def point(name: str, *, key: str | None = None, state: State = State.LEFT) -> PointState:
    return PointState(experiment="all", name=name, key=key or f"key of {name}", state=state)


def predictions(*classes: int) -> Predictions:
    return Predictions(classes=np.array(classes, dtype=np.int64), facts={"outputs": 10})


def test_what_was_recorded_is_there_again(journal: Journal, tmp_path: Path) -> None:
    stage = Stage(key="k", files={"checkpoint/weights.h5": "sha256:1"}, facts={"epochs": 3})
    journal.record_stage("checkpoint", stage)
    journal.plan([point("dp2"), point("dp1")])
    journal.record_predictions("key of dp1", predictions(3, 0, 70_000))
    again = Journal(tmp_path)
    assert again.study() == STUDY
    assert again.stages() == {"checkpoint": stage}
    assert again.points() == [point("dp2"), point("dp1", state=State.DONE)]
    found = again.predictions("key of dp1")
    assert found is not None
    assert found.classes.tolist() == [3, 0, 70_000]
    assert found.facts == {"outputs": 10}
    assert again.predictions("key of dp2") is None
    assert again.known_predictions() == {"key of dp1"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), max_size=200))
def test_predictions_come_back_class_for_class(tmp_path_factory: pytest.TempPathFactory, classes: list[int]) -> None:
    journal = Journal(tmp_path_factory.mktemp("run"), study=STUDY)
    journal.record_predictions("k", predictions(*classes))
    found = journal.predictions("k")
    assert found is not None
    assert found.classes.tolist() == classes


def test_a_point_whose_predictions_are_there_is_done_however_it_is_planned(journal: Journal) -> None:
    journal.record_predictions("shared", predictions(1))
    journal.plan([point("a", key="shared"), point("b", key="shared"), point("c")])
    assert [p.state for p in journal.points()] == [State.DONE, State.DONE, State.LEFT]


def test_a_failed_point_says_why_until_it_is_done(journal: Journal) -> None:
    journal.plan([point("dp1"), point("dp2")])
    journal.set_state(["key of dp1"], State.FAILED, "its scores are NaN")
    assert [(p.state, p.detail) for p in journal.points()] == [(State.FAILED, "its scores are NaN"), (State.LEFT, "")]
    journal.record_predictions("key of dp1", predictions(1))
    assert [(p.state, p.detail) for p in journal.points()] == [(State.DONE, ""), (State.LEFT, "")]


def test_forgetting_leaves_the_study(journal: Journal) -> None:
    journal.record_stage("base", Stage(key="k", files={}, facts={}))
    journal.plan([point("dp1")])
    journal.record_predictions("key of dp1", predictions(1))
    journal.forget()
    assert (journal.stages(), journal.points(), journal.known_predictions()) == ({}, [], set())
    assert journal.study() == STUDY


@pytest.mark.parametrize("classes", [[-1], [2**32], [[1, 2]]])
def test_what_is_no_class_index_is_a_bug(journal: Journal, classes: list[int]) -> None:
    with pytest.raises(ValueError, match="are no class indices"):
        journal.record_predictions("k", Predictions(classes=np.array(classes, dtype=np.int64), facts={}))
    assert journal.known_predictions() == set()


def changed(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path / NAME)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_one_of_a_newer_version_is_refused(journal: Journal, tmp_path: Path) -> None:
    changed(tmp_path, "PRAGMA user_version = 7")
    with pytest.raises(UsageError, match=r"has schema version 7, this precbench reads 1\nuse the precbench that wrote"):
        Journal(tmp_path)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    changed(tmp_path, "CREATE TABLE letters (text)")
    with pytest.raises(UsageError, match="is no journal of precbench"):
        Journal(tmp_path)


@pytest.mark.parametrize("content", [b"dear diary, " * 500, b"SQLite format 3\0" + b"\xff" * 5000])
def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UsageError, match=r"journal\.sqlite is damaged"):
        Journal(tmp_path)


def test_every_cut_of_a_journal_is_refused_or_read(journal: Journal, tmp_path: Path) -> None:
    journal.record_predictions("k", predictions(*range(500)))
    whole = (tmp_path / NAME).read_bytes()
    for length in random.Random(1).sample(range(len(whole)), 40):
        (tmp_path / NAME).write_bytes(whole[:length])
        with suppress(UsageError, OutputError):
            again = Journal(tmp_path)
            again.stages(), again.points(), again.study(), again.predictions("k")


@pytest.mark.parametrize("name", ["../weights.h5", "/etc/passwd", "a/../../b", "C:x", "..\\b", "", NAME])
def test_a_file_that_no_run_makes_is_not_believed(journal: Journal, tmp_path: Path, name: str) -> None:
    journal.record_stage("base", Stage(key="k", files={name: "sha256:1"}, facts={}))
    with pytest.raises(UsageError, match=r"is damaged: it lists .* which is no file that a run makes"):
        Journal(tmp_path).stages()


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("UPDATE study SET value = '[1]'", Journal.study),
        ("UPDATE study SET value = '{'", Journal.study),
        ("DELETE FROM study", Journal.study),
        ("INSERT INTO stages VALUES ('s', 'k', '[]', '{}')", Journal.stages),
        ("INSERT INTO stages VALUES ('s', 'k', '{}', x'00')", Journal.stages),
        ("INSERT INTO points VALUES ('e', 'n', 0, 'k', 'perhaps', '')", Journal.points),
        ("DROP TABLE points", Journal.points),
    ],
)
def test_a_value_of_another_kind_is_refused(journal: Journal, tmp_path: Path, statement: str, read: object) -> None:
    changed(tmp_path, statement)
    with pytest.raises(UsageError, match=r"journal\.sqlite is damaged"):
        read(Journal(tmp_path))  # type: ignore[operator]


def test_a_journal_that_another_program_holds_open_is_said_to_be_so(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("precbench.study.journal._WAIT_S", 0.05)
    with closing(sqlite3.connect(tmp_path / NAME, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OutputError, match=r"is locked\nanother program holds it open"):
            journal.set_state(["k"], State.DONE)
    journal.set_state(["k"], State.DONE)


def test_predictions_that_unpack_to_more_than_they_say_are_refused_unread(journal: Journal, tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    connection = sqlite3.connect(tmp_path / NAME)
    connection.execute("INSERT INTO predictions VALUES ('k', 3, ?, '{}')", (bomb,))
    connection.commit()
    connection.close()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UsageError, match="predictions of 3 images in 13 bytes"):
        journal.predictions("k")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


WRITER = """
import sys
from pathlib import Path
import numpy as np
from precbench.study.journal import Journal, PointState, Predictions, State
journal = Journal(Path(sys.argv[1]), study={"name": "a-study"})
number = len(journal.known_predictions())
while True:
    journal.record_predictions(f"{number:06}", Predictions(classes=np.full(2000, number), facts={}))
    number += 1
    print(number, flush=True)
"""


def test_a_kill_at_any_moment_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    finished, generator = 0, random.Random(2)
    for _ in range(20):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        told = int(writer.stdout.readline() or 0)
        time.sleep(generator.uniform(0, 0.03))
        os.kill(writer.pid, signal.SIGKILL)
        told = int(([b"0", *writer.stdout.read().split()])[-1]) or told
        writer.wait()
        known = Journal(tmp_path).known_predictions()
        assert len(known) in (told, told + 1)  # killed between its commit and its word
        assert len(known) > finished
        finished = len(known)
    for number in range(finished):
        found = Journal(tmp_path).predictions(f"{number:06}")
        assert found is not None
        assert (found.classes == number).all()


def test_a_full_disk_is_said_and_leaves_a_journal_that_opens(journal: Journal, tmp_path: Path) -> None:
    journal.record_predictions("first", predictions(1, 2, 3))
    code = f"""
import resource, signal
from pathlib import Path
import numpy as np
from precbench.errors import OutputError
from precbench.study.journal import Journal, Predictions
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path({str(tmp_path)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
noise = np.random.default_rng(0).integers(0, 2**32, 100_000)
try:
    journal.record_predictions("second", Predictions(classes=noise, facts={{}}))
except OutputError as error:
    print(error.problem, error.remedy)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "cannot be used" in said
    assert "make room on the disk" in said
    again = Journal(tmp_path)
    assert again.known_predictions() == {"first"}
    again.record_predictions("second", predictions(4))
    assert again.known_predictions() == {"first", "second"}


def test_what_a_kill_left_of_a_journal_that_was_being_begun_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / NAME).touch()
    assert Journal(tmp_path, study={"name": "s"}).study() == {"name": "s"}


def test_a_point_that_failed_has_failed_until_its_key_is_another(journal: Journal) -> None:
    def state_of(key: str) -> PointState:
        journal.plan([PointState(experiment="e", name="p", key=key, state=State.LEFT)])
        return journal.points()[0]

    assert state_of("a").state is State.LEFT
    journal.set_state(["a"], State.FAILED, "its scores are NaN")
    assert (state_of("a").state, state_of("a").detail) == (State.FAILED, "its scores are NaN")
    assert state_of("b").state is State.LEFT
