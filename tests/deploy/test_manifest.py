"""A manifest comes from a stranger: nothing in it is shown, followed or believed before it was checked."""

import json
from pathlib import Path
from typing import Any

import pytest

from precbench.deploy.manifest import read_manifest
from precbench.errors import ModelError

_FILES = {name: {"digest": "sha256:0"} for name in ("model.onnx", "reference.npz")}
_SOUND = {"schema_version": 1, "form": "int8", "files": _FILES, "reference_outputs": {"tolerance": 0.2}}


def write(folder: Path, **changes: Any) -> Path:
    (folder / "manifest.json").write_text(json.dumps({**_SOUND, **changes}))
    return folder


def test_a_sound_one_is_read(tmp_path: Path) -> None:
    assert read_manifest(write(tmp_path)).form == "int8"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"form": "q4"}, "has the form 'q4', none of packed, fp16, int8"),
        ({"form": "\x1b[31m"}, "has the form"),
        ({"form": 3}, "has the form 3"),
        ({"schema_version": "1"}, "schema_version is '1'"),
        ({"files": {**_FILES, "a" * 300: {"digest": "x"}}}, "names a file of 300 characters"),
        ({"files": {**_FILES, "\ud800x": {"digest": "x"}}}, "cannot be shown"),
        ({"files": {**_FILES, "\x1b[31mred": {"digest": "x"}}}, "cannot be shown"),
        ({"files": {**_FILES, "../x": {"digest": "x"}}}, "outside its folder"),
        ({"files": {**_FILES, "x": {"digest": 5}}}, "no digest of 'x'"),
        ({"files": {"model.onnx": _FILES["model.onnx"]}}, "does not name the model and its reference"),
        ({"reference_outputs": {"tolerance": 2}}, "tolerance 2, not a number from 0 to 1"),
        ({"reference_outputs": {"tolerance": True}}, "tolerance True"),
        ({"reference_outputs": []}, "does not name the model"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ModelError) as refusal:
        read_manifest(write(tmp_path, **changes))
    assert problem in refusal.value.problem


def test_one_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("precbench.deploy.manifest._MOST_MANIFEST_BYTES", 10)
    with pytest.raises(ModelError, match="no manifest has so many"):
        read_manifest(write(tmp_path))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "folder").mkdir()
    write(elsewhere)
    (tmp_path / "folder" / "manifest.json").symlink_to(elsewhere / "manifest.json")
    with pytest.raises(ModelError, match=r"no manifest\.json of its own"):
        read_manifest(tmp_path / "folder")
