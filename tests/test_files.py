"""Files are complete or absent, and nothing is overwritten unasked."""

import json
import stat
from pathlib import Path

import pytest

from precbench.errors import OutputError
from precbench.files import check_output, file_digest, value_digest, write_atomically, write_json, write_text


def test_a_digest_is_sha256_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert file_digest(tmp_path / "f") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_values_that_are_equal_have_equal_digests() -> None:
    assert value_digest({"a": 1, "b": [2]}) == value_digest({"b": [2], "a": 1})
    assert value_digest({"a": 1}) != value_digest({"a": 1.5})


def test_a_write_that_fails_leaves_what_was_there_and_no_other_file(tmp_path: Path) -> None:
    write_text(tmp_path / "f.txt", "old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomically(tmp_path / "f.txt", fail)
    assert (tmp_path / "f.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f.txt"]


def test_folders_are_made_and_the_file_has_ordinary_permissions(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b" / "f.json", {"x": 1})
    assert json.loads((tmp_path / "a" / "b" / "f.json").read_text()) == {"x": 1}
    plain = tmp_path / "plain"
    plain.write_text("")
    assert stat.S_IMODE((tmp_path / "a" / "b" / "f.json").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_nan_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "f.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_an_existing_output_is_refused_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("")
    with pytest.raises(OutputError, match=r"exists already\nname another with -o, or add --force"):
        check_output(path, force=False)
    check_output(path, force=True)
    check_output(tmp_path / "new" / "f", force=False)


def test_a_directory_as_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a directory"):
        check_output(tmp_path, force=True)


def test_an_output_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(OutputError, match="is not a writable directory"):
        check_output(tmp_path / "f" / "g", force=False)
