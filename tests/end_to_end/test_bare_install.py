"""A wheel of precbench without TensorFlow, in an environment of its own: everything that needs no Keras works."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment with the core alone, not editable."""
    if not (PROJECT / "pyproject.toml").is_file():
        pytest.skip("not in a checkout")
    root = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", root / "venv"], check=True)
    source = root / "source"
    ignored = shutil.ignore_patterns("runs", ".git", "*cache*", "*.egg-info")
    shutil.copytree(PROJECT, source, ignore=ignored)
    programs = root / "venv" / "bin"
    done = subprocess.run([programs / "pip", "install", "--quiet", source], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the package index cannot be reached: {done.stderr[-300:]}")
    return programs


@pytest.fixture
def model(tmp_path: Path) -> Path:
    kernel = np.random.default_rng(1).normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "stem/kernel"], ["y"], name="stem")],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 4, 6, 6])],
        [numpy_helper.from_array(kernel, "stem/kernel")],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def run(bare: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        [bare / "precbench", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_tensorflow_is_not_there(bare: Path) -> None:
    done = subprocess.run([bare / "python", "-c", "import tensorflow"], capture_output=True, check=False)
    assert done.returncode != 0


def test_round_inspect_bench_and_evaluate_work_without_tensorflow(bare: Path, model: Path, tmp_path: Path) -> None:
    for arguments in (
        ("--help",),
        ("inspect", "model.onnx"),
        ("round", "model.onnx", "--dp", "2"),
        ("bench", "model.onnx", "model.dp2.onnx", "--budget", "1s"),
        ("evaluate", "model.dp2.onnx", "--reference", "model.onnx"),
    ):
        done = run(bare, tmp_path, *arguments)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [("run",), ("export",), ("round", "--dp", "4")])
def test_what_needs_keras_says_how_to_get_it(bare: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(bare, tmp_path, *arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) <= 3
    assert "pip install" in done.stderr
    assert not list((tmp_path / "runs").rglob("*.onnx"))
