"""A run folder finds what was done by digest."""

import json
from pathlib import Path

import pytest

from precbench.errors import OutputError, UsageError
from precbench.study.run_folder import RunFolder

STUDY = {"name": "a-study"}


def begun(path: Path) -> RunFolder:
    folder = RunFolder(path, study=STUDY)
    path.mkdir(exist_ok=True)
    (path / "model.bin").write_bytes(b"weights")
    folder.finish("train", "key-1", ["model.bin"], {"epochs": 3})
    return folder


def test_a_finished_stage_is_found_again_under_its_key(tmp_path: Path) -> None:
    begun(tmp_path / "run")
    again = RunFolder(tmp_path / "run", study=STUDY)
    stage = again.find("train", "key-1")
    assert stage is not None
    assert stage.facts == {"epochs": 3}
    assert again.find("train", "key-2") is None
    assert again.find("export", "key-1") is None


def test_a_stage_whose_file_changed_or_went_is_not_done(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    (tmp_path / "run" / "model.bin").write_bytes(b"tampered")
    assert folder.find("train", "key-1") is None
    (tmp_path / "run" / "model.bin").unlink()
    assert folder.find("train", "key-1") is None


def test_fresh_forgets_what_was_done(tmp_path: Path) -> None:
    begun(tmp_path / "run")
    assert RunFolder(tmp_path / "run", study=STUDY, fresh=True).find("train", "key-1") is None


def test_fresh_is_durable_and_removes_what_was_made(tmp_path: Path) -> None:
    begun(tmp_path / "run")
    RunFolder(tmp_path / "run", study=STUDY, fresh=True)
    assert not (tmp_path / "run" / "model.bin").exists()
    assert RunFolder(tmp_path / "run", study=STUDY).stages() == {}


def test_a_run_that_was_interrupted_in_its_first_stage_is_known_as_one(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run", study=STUDY).begin()
    (tmp_path / "run" / "half.bin").write_bytes(b"half")
    assert RunFolder(tmp_path / "run", study=STUDY).stages() == {}


@pytest.mark.parametrize(
    "content",
    [
        {"schema_version": 1, "study": [], "stages": {}},
        {"schema_version": 1, "study": STUDY, "stages": []},
        {"schema_version": 1, "study": STUDY, "stages": {"train": {}}},
        {"schema_version": 1, "study": STUDY, "stages": {"t": {"key": "k", "files": {"../x": "d"}, "facts": {}}}},
    ],
)
def test_a_record_whose_parts_are_of_another_kind_is_refused(tmp_path: Path, content: dict[str, object]) -> None:
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"run\.json is damaged"):
        RunFolder(tmp_path, study=STUDY)


def test_another_studys_folder_is_refused(tmp_path: Path) -> None:
    begun(tmp_path / "run")
    with pytest.raises(OutputError, match=r"holds a run of the study 'a-study', not 'other'\nname another folder"):
        RunFolder(tmp_path / "run", study={"name": "other"})


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match=r"is not empty and is no run folder: it has no run\.json"):
        RunFolder(tmp_path, study=STUDY)


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(OutputError, match="is a file, not a run folder"):
        RunFolder(tmp_path / "run", study=STUDY)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '"text"'])
def test_a_damaged_record_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError, match=r"run\.json is damaged"):
        RunFolder(tmp_path, study=STUDY)


@pytest.mark.parametrize("content", [{"schema_version": 99}, {"schema_version": 1, "study": {}}])
def test_a_record_of_another_version_is_refused(tmp_path: Path, content: dict[str, object]) -> None:
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match="has schema version"):
        RunFolder(tmp_path, study=STUDY)
