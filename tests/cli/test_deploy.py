"""`precbench deploy` and `precbench verify` as typed."""

import json
from pathlib import Path

import numpy as np
import pytest

from precbench.grids import DecimalGrid
from precbench.study.rounding import round_file


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "data.npz"
    np.savez(path, image=rng.normal(size=(100, 4, 4, 3)).astype(np.float32), labels=rng.integers(0, 3, 100))
    return path


@pytest.fixture
def rounded(model: Path, tmp_path: Path) -> Path:
    path = tmp_path / "rounded.onnx"
    round_file(model, path, grid=DecimalGrid(2))
    return path


def test_deploy_int8_then_verify(precbench, model: Path, data: Path) -> None:
    done = precbench("deploy", model, "--form", "int8", "--data", data, "--budget", "0s", "-o", "out")
    assert done.status == 0, done.err
    assert "test samples" in " ".join(done.out.split())
    assert "Wrote out" in done.out
    checked = precbench("verify", "out")
    assert checked.status == 0
    assert "out (int8) holds here." in checked.out
    record = json.loads(precbench("verify", "out", "--json").out)
    assert record["passed"]
    assert record["schema_version"] == 1


def test_verify_exits_1_and_names_the_file(precbench, model: Path, data: Path) -> None:
    assert precbench("deploy", model, "--form", "int8", "--data", data, "--budget", "0s", "-o", "out").status == 0
    with Path("out/model.onnx").open("ab") as stream:
        stream.write(b"x")
    checked = precbench("verify", "out")
    assert checked.status == 1
    assert "model.onnx: is not the file that was deployed" in " ".join(checked.out.split())


def test_auto_that_misses_exits_1_and_leaves_the_best(precbench, model: Path, data: Path) -> None:
    done = precbench("deploy", model, "--data", data, "--max-drop", "0", "--budget", "0s", "-o", "out")
    assert done.status == 1
    assert "No form is shown to lose at most 0 points" in " ".join(done.out.split())
    assert Path("out/model.onnx").is_file()


def test_a_limit_counts_for_a_form_that_is_asked_for_too(precbench, model: Path, data: Path) -> None:
    asked = ("deploy", model, "--form", "int8", "--data", data, "--budget", "0s")
    assert precbench(*asked, "--max-drop", "0", "-o", "a").status == 1
    assert precbench(*asked, "--max-drop", "99", "-o", "b").status == 0
    assert precbench(*asked, "-o", "c").status == 0
    assert Path("a/model.onnx").is_file()


def test_auto_without_data_measures_no_accuracy(precbench, rounded: Path) -> None:
    done = precbench("deploy", rounded, "--budget", "0s", "-o", "out")
    assert done.status == 0
    assert "Accuracy: not measured" in " ".join(done.out.split())
    assert "packed" in done.out


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--form", "int9"), "int9"),
        (("--form", "int8"), "int8 has to see data"),
        (("--max-drop", "-1"), "--max-drop"),
        (("--calibration", "minmax"), "minmax"),
        (("--reference", "nowhere.onnx", "--form", "int8", "--data", "data.npz"), "nowhere.onnx"),
        (("--data", "nowhere.npz"), "nowhere.npz"),
    ],
)
def test_what_cannot_be_asked(precbench, model: Path, data: Path, options: tuple[str, ...], problem: str) -> None:
    result = precbench("deploy", model, "-o", "out", "--budget", "0s", *options)
    assert result.status == 2
    assert problem in result.err
    assert not Path("out").exists()
