"""The optimized graph, run as it is, gives the bits of the model that it was made of."""

from pathlib import Path

import numpy as np
import pytest

from precbench.errors import ModelError
from precbench.runtime import SessionSettings, open_session
from precbench.runtime.optimization import as_it_is, save_optimized

GRAPH = """g (float[n, 16, 6, 6] x) => (float[n, 16, 6, 6] y)
<float low = {0}, float top = {6}>
{ a = Conv(x, w) b = BatchNormalization(a, scale, bias, mean, variance) c = Clip(b, low, top) y = Add(c, x) }"""


@pytest.fixture
def model(write_model) -> Path:
    import onnx
    from onnx import numpy_helper

    path = write_model(GRAPH)
    proto, rng = onnx.load(path), np.random.default_rng(0)
    shapes = {"w": (16, 16, 1, 1), **dict.fromkeys(("scale", "bias", "mean", "variance"), (16,))}
    for name, shape in shapes.items():
        values = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(values, name))
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize("level", ["disable", "basic", "extended", "all"])
def test_the_written_graph_gives_the_bits_of_the_model(model: Path, tmp_path: Path, level: str) -> None:
    settings = SessionSettings(optimization_level=level)
    save_optimized(model, settings, tmp_path / "executed.onnx")
    feeds = {"x": np.random.default_rng(1).normal(size=(3, 16, 6, 6)).astype(np.float32)}
    expected = open_session(model, settings).run(feeds)["y"]
    found = open_session(tmp_path / "executed.onnx", as_it_is(settings)).run(feeds)["y"]
    assert found.tobytes() == expected.tobytes()


def test_the_written_graph_is_fused(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import onnx

    save_optimized(model, SessionSettings(), tmp_path / "executed.onnx")
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(tmp_path / "executed.onnx").graph.node}
    assert capfd.readouterr() == ("", "")  # ONNX Runtime warns that the file is for this machine


def test_a_model_that_cannot_be_loaded_is_refused(write_model, tmp_path: Path) -> None:
    model = write_model("g (float[2] x) => (float[2] y) { y = Nonsense(x) }")
    with pytest.raises(ModelError, match="cannot be loaded"):
        save_optimized(model, SessionSettings(), tmp_path / "executed.onnx")


def test_the_provider_must_be_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be named"):
        save_optimized(model, SessionSettings(provider="auto"), tmp_path / "executed.onnx")
