"""Wheels in pieces: what is joined is what was split, or nothing."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu" / "wheel_pieces.py"
NAME = "some-1.0-py3-none-any.whl"


def run(*arguments):
    command = [sys.executable, "-I", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def pieces(tmp_path):
    """A folder with a wheel of 2,500,000 bytes in pieces of a mebibyte."""
    wheel, folder = tmp_path / NAME, tmp_path / "pieces"
    wheel.write_bytes(bytes(range(250)) * 10_000)
    assert run("split", wheel, "--bytes", "1M", "-o", folder).returncode == 0
    return folder


def test_a_wheel_split_and_joined_is_the_same_wheel(pieces, tmp_path):
    names = sorted(path.name for path in pieces.iterdir())
    assert names == [f"{NAME}.00", f"{NAME}.01", f"{NAME}.02", f"{NAME}.sha256"]
    assert (pieces / f"{NAME}.00").stat().st_size == 1 << 20
    whole = (tmp_path / NAME).read_bytes()
    assert f"{hashlib.sha256(whole).hexdigest()}  {NAME}\n" in (pieces / f"{NAME}.sha256").read_text()
    for _ in range(2):  # the second time it is there already
        assert run("join", pieces, "-o", tmp_path / "joined").returncode == 0
        assert (tmp_path / "joined" / NAME).read_bytes() == whole
    assert [path.name for path in (tmp_path / "joined").iterdir()] == [NAME]


def _flip(folder):
    damaged = bytearray((folder / f"{NAME}.01").read_bytes())
    damaged[1000] ^= 1
    (folder / f"{NAME}.01").write_bytes(damaged)


def _rename(folder):
    path = folder / f"{NAME}.sha256"
    path.write_text(path.read_text().replace(f"  {NAME}.01", "  ../elsewhere"))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (_flip, f"the piece {NAME}.01 is damaged"),
        (lambda folder: (folder / f"{NAME}.02").unlink(), f"the piece {NAME}.02 is missing"),
        (lambda folder: (folder / f"{NAME}.sha256").unlink(), f"{NAME}.sha256 is missing"),
        (_rename, f"{NAME}.sha256 is damaged"),
        (lambda folder: (folder / f"{NAME}.00").unlink(), "there are no pieces"),
    ],
)
def test_a_damaged_or_missing_piece_is_named_and_no_wheel_is_left(pieces, tmp_path, damage, problem):
    damage(pieces)
    refused = run("join", pieces, "-o", tmp_path / "joined")
    assert refused.returncode == 2
    assert problem in refused.stderr
    assert not list((tmp_path / "joined").glob("*"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("none.whl", "--bytes", "1M"), "there is no wheel none.whl"),
        ((NAME, "--bytes", "sixty"), "'sixty' is no number of bytes"),
        ((NAME, "--bytes", "1"), "outside 1..100"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused(tmp_path, arguments, problem):
    name, *rest = arguments
    (tmp_path / NAME).write_bytes(b"x" * 1000)
    refused = run("split", tmp_path / name if name == NAME else name, *rest, "-o", tmp_path / "pieces")
    assert refused.returncode == 2
    assert problem in refused.stderr
