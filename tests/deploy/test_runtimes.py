"""The same deployed file in other runtimes: OpenVINO, ONNX Runtime under Node.js, ONNX's reference implementation."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from precbench.bench.sessions import open_model
from precbench.deploy.data import load_deployment_data
from precbench.deploy.deploying import deploy
from precbench.deploy.forms import Form
from precbench.deploy.request import Request
from precbench.grids import DecimalGrid
from precbench.runtime import SessionSettings
from precbench.study.rounding import round_file

from .conftest import images

DOCS = Path(__file__).parents[2] / "docs" / "deploy.md"
TOLERANCES = {"packed": 1e-5, "int8": 0.05}
"""Of the largest output. Integer kernels round alike but for ties; one level of an activation is 1/255 of its range."""


@pytest.fixture(scope="module", params=["packed", "int8"])
def folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, network_file: Path, data_file: Path
) -> Path:
    form, place = Form(request.param), tmp_path_factory.mktemp(request.param)
    source = network_file
    if form is Form.PACKED:
        source = place / "rounded.onnx"
        round_file(network_file, source, grid=DecimalGrid(3))
    data = load_deployment_data(str(data_file), open_model(source, SessionSettings()))
    return deploy(Request(model=source, output=place / "out", form=form, timing=None), data).folder


def expected_of(folder: Path, x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(onnxruntime.InferenceSession(str(folder / "model.onnx")).run(None, {"x": x})[0])


def assert_close(folder: Path, found: NDArray[Any], x: NDArray[Any]) -> None:
    expected = expected_of(folder, x)
    form = json.loads((folder / "manifest.json").read_text())["form"]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCES[form] * np.abs(expected).max()


def test_openvino_gives_onnx_runtimes_outputs(folder: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed (pip install openvino)")
    x = images(32, seed=11)
    compiled = openvino.Core().compile_model(str(folder / "model.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert_close(folder, compiled({"x": x})[0], x)


def test_the_reference_implementation_gives_onnx_runtimes_outputs(folder: Path) -> None:
    x = images(4, seed=12)
    assert_close(folder, ReferenceEvaluator(onnx.load(folder / "model.onnx")).run(None, {"x": x})[0], x)


def example(language: str) -> str:
    found = re.search(rf"<!-- example: {language} -->\n```\w+\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_python_example_of_the_documentation_runs(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", example("python"), str(folder)], capture_output=True, text=True, check=True
    )
    with np.load(folder / "reference.npz") as reference:
        assert done.stdout.split() == [str(n) for n in reference["output/scores"].argmax(axis=1)]


def test_the_node_example_of_the_documentation_gives_onnx_runtimes_outputs(folder: Path, tmp_path: Path) -> None:
    node = _node()
    x = images(8, seed=13)
    x.tofile(tmp_path / "x.raw")
    (tmp_path / "load.cjs").write_text(example("node"), encoding="utf-8")
    command = [node, "load.cjs", str(folder), "x.raw", *map(str, x.shape)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    found = json.loads(done.stdout.splitlines()[-1])
    assert_close(folder, np.array(found["data"], np.float32).reshape(found["dims"]), x)


def _node() -> str:
    """Node.js with onnxruntime-node, found by way of NODE_PATH; skipped where either is missing."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    there = subprocess.run([node, "-e", 'require("onnxruntime-node")'], capture_output=True, check=False)
    if there.returncode != 0:
        path = os.environ.get("NODE_PATH", "not set")
        pytest.skip(f"onnxruntime-node is not installed where Node.js looks (NODE_PATH: {path})")
    return node
