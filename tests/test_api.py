"""`import precbench as pb`: what the commands do, as functions; and the import alone costs nothing."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import precbench as pb
from precbench.errors import PrecbenchError, UsageError
from precbench.grids import Grid


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    weights = {"first": (32, 64), "second": (64, 4)}
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("MatMul", ["r", "second"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name) for name, shape in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.fixture
def data(tmp_path: Path, model: Path) -> str:
    import onnxruntime

    x = np.random.default_rng(1).normal(size=(300, 32)).astype(np.float32)
    scores = onnxruntime.InferenceSession(str(model)).run(None, {"x": x})[0]
    np.savez(tmp_path / "d.npz", x=x, labels=scores.argmax(axis=1))
    return str(tmp_path / "d.npz")


def test_importing_it_imports_nothing_heavy() -> None:
    heavy = "{'numpy', 'onnx', 'onnxruntime', 'scipy', 'altair', 'tensorflow'}"
    code = f"import sys, precbench; print(precbench.__version__, {heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "set()"


def test_every_name_is_there_and_no_other() -> None:
    for name in pb.__all__:
        assert getattr(pb, name) is not None
        assert name in dir(pb)
    with pytest.raises(AttributeError, match="no attribute 'rounds'"):
        _ = pb.rounds


def test_no_name_is_that_of_a_folder_of_the_package() -> None:
    folders = {path.name for path in Path(pb.__file__).parent.iterdir() if path.is_dir()}
    assert not folders & set(pb.__all__)


def test_round_then_evaluate(model: Path, data: str) -> None:
    rounded = pb.round_model(model, decimals=4)
    assert rounded.output == model.with_name("m.dp4.onnx")
    found = pb.evaluate(rounded.output, model, data=data)
    assert found.flips is not None
    assert found.flips.total == 300
    assert found.flips.lost <= 2
    with pytest.raises(PrecbenchError, match="exists already"):
        pb.round_model(model, decimals=4)


def test_targets_have_decimals_of_their_own(model: Path, tmp_path: Path) -> None:
    done = pb.round_model(model, targets={"first": 1, "sec*": None}, decimals=3, output=tmp_path / "r.onnx")
    assert {name: str(grid) for name, grid in done.plan.grids.items()} == {"first": "decimal:1", "second": "decimal:3"}


def test_deploy_then_verify(model: Path, data: str, tmp_path: Path) -> None:
    rounded = pb.round_model(model, decimals=2).output
    done = pb.deploy_model(rounded, tmp_path / "out", form="packed", data=data, budget_s=0)
    assert done.manifest["accuracy"]["flips"]["changed"] == 0
    assert pb.verify(tmp_path / "out").passed


@pytest.mark.slow
def test_bench_gives_a_verdict(model: Path) -> None:
    rounded = pb.round_model(model, decimals=2).output
    record = pb.benchmark(model, rounded, budget_s=3.0, batches=(8,)).to_json()
    (measured,) = record["measurements"]
    assert measured["comparisons"][0]["verdict"] in {"faster", "slower", "equivalent", "inconclusive"}


def test_a_study_is_read_and_can_be_changed() -> None:
    study = pb.load_study("mobilenetv2-digits")
    assert isinstance(study, pb.Study)
    with pytest.raises(UsageError, match="there is no study"):
        pb.load_study("mobilenet")


def test_a_report_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(PrecbenchError, match="is no run folder"):
        pb.write_report(tmp_path)


def test_a_grid_a_text_of_one_and_a_plan_file_are_rounded_to(model: Path, tmp_path: Path) -> None:
    by_text = pb.round_model(model, grid="int:8:channel", output=tmp_path / "a.onnx")
    assert {outcome.grid for outcome in by_text.outcomes if outcome.grid} == {"int:8:channel[64]", "int:8:channel[4]"}
    assert pb.round_model(model, grid=Halves()).output.name == "m.halves.onnx"
    values = onnx.numpy_helper.to_array(onnx.load(tmp_path / "m.halves.onnx").graph.initializer[0])
    assert np.array_equal(values * 2, np.rint(values * 2))
    (tmp_path / "p.toml").write_text('schema_version = 1\n[grids]\nfirst = 1\n"sec*" = "pow2:4"\n')
    by_plan = pb.round_model(model, plan=tmp_path / "p.toml")
    assert by_plan.output.name == "m.p.onnx"
    assert [str(grid) for grid in by_plan.plan.grids.values()] == ["decimal:1", "pow2:4"]
    for asked in ({"decimals": 2, "grid": "int:8"}, {"plan": tmp_path / "p.toml", "decimals": 2}):
        with pytest.raises(UsageError, match="given"):
            pb.round_model(model, **asked)  # type: ignore[arg-type]


class Halves(Grid):
    """A grid of one's own."""

    def __str__(self) -> str:
        return "halves"

    def nearest(self, values: NDArray[Any]) -> NDArray[Any]:
        result: NDArray[Any] = (np.rint(values * 2) / 2).astype(values.dtype)
        return result
