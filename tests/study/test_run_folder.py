"""A run folder finds what was done by digest, and belongs to one process at a time."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from precbench.errors import OutputError
from precbench.study.run_folder import RunFolder, check_is_run_folder, is_at_work

STUDY = {"name": "a-study"}


@contextmanager
def opened(path: Path, *, fresh: bool = False) -> Iterator[RunFolder]:
    folder = RunFolder(path, study=STUDY, fresh=fresh)
    try:
        yield folder
    finally:
        folder.close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    with opened(path) as folder:
        (path / "model.bin").write_bytes(b"weights")
        folder.finish("train", "key-1", ["model.bin"], {"epochs": 3})
    return path


def test_a_finished_stage_is_found_again_under_its_key(run: Path) -> None:
    with opened(run) as again:
        stage = again.find("train", "key-1")
        assert stage is not None
        assert stage.facts == {"epochs": 3}
        assert again.find("train", "key-2") is None
        assert again.find("export", "key-1") is None


def test_fresh_removes_nothing_that_a_link_leads_to(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.bin").write_bytes(b"mine")
    (run / "variants").symlink_to(tmp_path / "mine")
    with opened(run) as folder:
        folder.finish("variant", "key", ["variants/photo.bin"])
    with opened(run, fresh=True):
        pass
    assert (tmp_path / "mine" / "photo.bin").read_bytes() == b"mine"


def test_a_stage_that_is_forgotten_is_not_done(run: Path) -> None:
    with opened(run) as folder:
        folder.forget("train", "export")
        assert folder.find("train", "key-1") is None
    with opened(run) as again:
        assert again.stages() == {}
    assert (run / "model.bin").exists()


def test_a_stage_whose_file_changed_or_went_is_not_done(run: Path) -> None:
    with opened(run) as folder:
        (run / "model.bin").write_bytes(b"tampered")
        assert folder.find("train", "key-1") is None
        (run / "model.bin").unlink()
        assert folder.find("train", "key-1") is None


def test_fresh_forgets_what_was_done_durably_and_removes_what_was_made(run: Path) -> None:
    with opened(run, fresh=True) as folder:
        assert folder.find("train", "key-1") is None
    assert not (run / "model.bin").exists()
    with opened(run) as again:
        assert again.stages() == {}


def test_a_run_that_was_interrupted_in_its_first_stage_is_known_as_one(tmp_path: Path) -> None:
    with opened(tmp_path / "run"):
        (tmp_path / "run" / "half.bin").write_bytes(b"half")
    with opened(tmp_path / "run") as again:
        assert again.stages() == {}


def test_another_studys_folder_is_refused_and_left_unlocked(run: Path) -> None:
    with pytest.raises(OutputError, match=r"holds a run of the study 'a-study', not 'other'\nname another folder"):
        RunFolder(run, study={"name": "other"})
    assert not is_at_work(run)


def test_a_second_run_in_one_folder_is_refused(run: Path) -> None:
    with opened(run):
        assert is_at_work(run)
        with pytest.raises(OutputError, match=r"another precbench works in .*run\nwait until it ends"):
            RunFolder(run, study=STUDY)
    assert not is_at_work(run)


def test_a_killed_process_leaves_no_lock(run: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from precbench.study.run_folder import RunFolder
folder = RunFolder(Path({str(run)!r}), study={STUDY!r})
print("open", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    assert is_at_work(run)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not is_at_work(run)
    with opened(run) as folder:
        assert folder.find("train", "key-1") is not None


def test_a_folder_with_other_files_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match=r"is no run folder: it has no journal\.sqlite\nname another folder with -o"):
        RunFolder(tmp_path, study=STUDY)
    assert [entry.name for entry in tmp_path.iterdir()] == ["letter.txt"]


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(OutputError, match="is a file, not a run folder"):
        RunFolder(tmp_path / "run", study=STUDY)


def test_what_is_to_be_read_has_to_be_there(tmp_path: Path, run: Path) -> None:
    check_is_run_folder(run, exists=True)
    with pytest.raises(OutputError, match=r"is not a run folder\nname another folder$"):
        check_is_run_folder(tmp_path / "none", exists=True)
    with pytest.raises(OutputError, match="is no run folder"):
        check_is_run_folder(tmp_path, exists=True)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        RunFolder(tmp_path / "file" / "run", study={"name": "s"})
