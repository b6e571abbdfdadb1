"""Nothing that was there is lost, whatever happens, and nothing half-made is left."""

import json
from pathlib import Path

import pytest

from precbench.deploy.folder import check_folder, put_in_place
from precbench.errors import OutputError, UsageError


def deployed(folder: Path, model: str) -> Path:
    """As much of a deployed folder as is looked at."""
    folder.mkdir(parents=True)
    for name in ("model.onnx", "reference.npz"):
        (folder / name).write_text(model)
    files = {name: {"digest": "sha256:0"} for name in ("model.onnx", "reference.npz")}
    manifest = {"schema_version": 1, "form": "packed", "files": files, "reference_outputs": {"tolerance": 0}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return deployed(tmp_path / "stage" / "packed", "new")


def test_a_new_folder_takes_its_name_and_its_parents_are_made(tmp_path: Path, new: Path) -> None:
    output = tmp_path / "deep" / "er" / "out"
    check_folder(output, force=False)
    assert not (tmp_path / "deep").exists()
    put_in_place(new, output, force=False)
    assert (output / "model.onnx").read_text() == "new"
    assert not new.exists()


def test_the_folder_is_as_readable_as_any_other(tmp_path: Path, new: Path) -> None:
    new.chmod(0o700)  # as temporary folders are
    (tmp_path / "other").mkdir()
    put_in_place(new, tmp_path / "out", force=False)
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_deployed_folder_is_replaced_only_with_force(tmp_path: Path, new: Path) -> None:
    output = deployed(tmp_path / "out", "old")
    with pytest.raises(OutputError, match="exists already"):
        put_in_place(new, output, force=False)
    assert (output / "model.onnx").read_text() == "old"
    put_in_place(new, output, force=True)
    assert (output / "model.onnx").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "stage"]


def test_what_was_not_deployed_is_never_deleted(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="no deployed folder"):
        check_folder(mine, force=True)
    (mine / "manifest.json").write_text('{"manifest_version": 3}')  # a browser's extension
    with pytest.raises(OutputError, match="no deployed folder"):
        check_folder(mine, force=True)
    output = deployed(tmp_path / "out", "old")
    (output / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match=r"holds what was not deployed: thesis\.txt"):
        check_folder(output, force=True)
    (tmp_path / "link").symlink_to(mine)
    with pytest.raises(OutputError, match="no deployed folder"):
        check_folder(tmp_path / "link", force=True)


@pytest.mark.parametrize("force", [False, True])
def test_what_came_meanwhile_stays(tmp_path: Path, new: Path, force: bool) -> None:
    output = tmp_path / "out"
    check_folder(output, force=force)
    output.mkdir()
    (output / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="no deployed folder"):
        put_in_place(new, output, force=force)
    assert (output / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_came_between_the_last_look_and_the_renaming_stays(
    tmp_path: Path, new: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    output = tmp_path / "out"
    rename = Path.rename

    def meanwhile(self: Path, target: Path) -> Path:
        if kind == "file":
            output.write_text("x")
        else:
            output.mkdir()
            (output / "thesis.txt").write_text("x")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", meanwhile)
    with pytest.raises(OutputError, match="came into being meanwhile"):
        put_in_place(new, output, force=False)
    assert (output if kind == "file" else output / "thesis.txt").read_text() == "x"


@pytest.mark.parametrize("error", [OSError("no"), KeyboardInterrupt()])
def test_what_was_there_stays_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, new: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    output = deployed(tmp_path / "out", "old")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self == new:
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(type(error)):
        put_in_place(new, output, force=True)
    assert (output / "model.onnx").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "stage"]


def test_an_output_that_holds_the_source_is_refused(tmp_path: Path) -> None:
    output = deployed(tmp_path / "out", "old")
    with pytest.raises(OutputError, match="lies in the output"):
        check_folder(output, force=True, sources=[output / "model.onnx"])
    (tmp_path / "link").symlink_to(output / "model.onnx")
    with pytest.raises(OutputError, match="lies in the output"):
        check_folder(output, force=True, sources=[tmp_path / "link"])


@pytest.mark.parametrize("name", [".", "..", "new/.."])
def test_a_path_without_a_name_of_its_own_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="names no new folder"):
        check_folder(Path(name), force=True)
