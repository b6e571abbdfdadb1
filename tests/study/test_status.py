"""How far a run is, told from its folder alone."""

from pathlib import Path

import numpy as np
import pytest

from precbench.errors import OutputError, UsageError
from precbench.study.journal import PointState, Predictions, State
from precbench.study.run_folder import RunFolder
from precbench.study.status import status_of

STUDY = {"name": "a-study"}


def point(experiment: str, name: str, state: State, detail: str = "") -> PointState:
    return PointState(experiment=experiment, name=name, key=f"{experiment} {name}", state=state, detail=detail)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = RunFolder(tmp_path / "run", study=STUDY)
    folder.finish("base", "key", [])
    folder.journal.plan(
        [
            point("all", "dp1", State.FAILED, "its scores are NaN"),
            point("all", "dp2", State.RUNNING),
            point("all", "dp3", State.LEFT),
            point("layers", "stem.dp1", State.LEFT),
        ]
    )
    folder.journal.record_predictions("all dp3", Predictions(classes=np.zeros(3, np.int64), facts={}))
    folder.close()
    return tmp_path / "run"


def test_what_is_done_failed_and_left_is_counted_by_experiment(run: Path) -> None:
    status = status_of(run)
    assert (status.study, status.at_work) == ("a-study", False)
    assert status.steps == {"checkpoint": False, "base": True, "timing": False, "results": False}
    assert {name: dict(counts) for name, counts in status.experiments.items()} == {
        "all": {State.FAILED: 1, State.LEFT: 1, State.DONE: 1},
        "layers": {State.LEFT: 1},
    }
    assert [(p.name, p.detail) for p in status.failed] == [("dp1", "its scores are NaN")]
    assert status.to_json()["experiments"]["all"] == {"left": 1, "running": 0, "done": 1, "failed": 1}


def test_a_point_is_running_only_while_a_process_works_in_the_folder(run: Path) -> None:
    folder = RunFolder(run, study=STUDY)
    status = status_of(run)
    folder.close()
    assert status.at_work
    assert status.experiments["all"][State.RUNNING] == 1


def test_asking_changes_nothing(run: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    status_of(run)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_folder_that_was_copied_without_its_lock_is_not_at_work(run: Path) -> None:
    (run / "run.lock").unlink(missing_ok=True)
    assert not status_of(run).at_work
    assert not (run / "run.lock").exists()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is no run folder"):
        status_of(tmp_path)
    with pytest.raises(OutputError, match="is not a run folder"):
        status_of(tmp_path / "none")
    (tmp_path / "journal.sqlite").write_bytes(b"x" * 4096)
    with pytest.raises(UsageError, match="is damaged"):
        status_of(tmp_path)
