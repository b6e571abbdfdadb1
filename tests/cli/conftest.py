"""Run the command line in this process, as the installed command does, and keep what it printed."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from precbench.cli import main


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture
def precbench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["precbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return Result(status=int(end.value.code or 0), out=printed.out, err=printed.err)

    return run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A classifier of [batch, 4, 4, 3] images into three classes, by one MatMul, without metadata."""
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], name="flatten"),
        helper.make_node("MatMul", ["flat", "head/kernel"], ["product"], name="head"),
        helper.make_node("Add", ["product", "head/bias"], ["scores"], name="bias"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", 4, 4, 3])],
        [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["batch", 3])],
        [
            numpy_helper.from_array(rng.normal(0, 0.3, (48, 3)).astype(np.float32), "head/kernel"),
            numpy_helper.from_array(np.zeros(3, np.float32), "head/bias"),
        ],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(2)
    path = tmp_path / "images.npz"
    np.savez(path, images=rng.integers(0, 256, (40, 4, 4, 3), dtype=np.uint8), labels=rng.integers(0, 3, 40),
             class_names=np.array(["cat", "dog", "owl"]))  # fmt: skip
    return path
