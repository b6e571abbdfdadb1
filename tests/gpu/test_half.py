"""The float16 form that is timed: float32 outside, float16 inside, and refusals for what it cannot convert."""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from precbench.errors import ModelError
from precbench.runtime import SessionSettings, open_session

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "gpu"
HEAD = '<ir_version: 8, opset_import: ["" : 17]> '


@pytest.fixture
def half(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import half

    yield half
    del sys.modules["half"]


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "model.onnx"
        path.write_bytes(onnx.parser.parse_model(HEAD + text).SerializeToString())
        return path

    return written


def test_constants_and_activations_become_float16_and_inputs_and_outputs_stay(half, write, tmp_path):
    model = write(
        "g (float[n, 2, 4, 4] x) => (float[n, 2, 8, 8] y, float[n, 2, 4, 4] h) "
        "<float[2] s = {1, 2}, float[2] b = {0, 1e-8}, float[2] m = {0.5, 0.25}, float[2] v = {1, 4}, "
        "float[4] scales = {1, 1, 2, 2}> { h = BatchNormalization(x, s, b, m, v) c = Constant<value_float = 0.1>() "
        "k = Add(h, c) y = Resize(k, , scales) }"
    )
    told = half.to_half(model, tmp_path / "half.onnx")
    assert told.kept == ("scales",)
    assert (told.tensors, told.elements, told.flushed, told.casts) == (5, 9, 1, 3)
    converted = onnx.load(tmp_path / "half.onnx")
    assert {value.type.tensor_type.elem_type for value in [*converted.graph.input, *converted.graph.output]} == {
        onnx.TensorProto.FLOAT
    }
    inferred = onnx.shape_inference.infer_shapes(converted, strict_mode=True)
    assert {value.type.tensor_type.elem_type for value in inferred.graph.value_info} == {onnx.TensorProto.FLOAT16}
    feeds = {"x": np.random.default_rng(0).standard_normal((3, 2, 4, 4), dtype=np.float32)}
    wanted = open_session(model, SessionSettings()).run(feeds)
    found = open_session(tmp_path / "half.onnx", SessionSettings()).run(feeds)
    for name in ("y", "h"):
        np.testing.assert_allclose(found[name], wanted[name], atol=5e-3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("g (float[n] x) => (float[n] y) <float[1] w = {1e5}> { y = Mul(x, w) }", "beyond float16's 65504"),
        (
            "g (float[n] x, bool c) => (float[n] y) { y = If (c) <then_branch = a () => (float[n] p) { p = Relu(x) }, "
            "else_branch = b () => (float[n] q) { q = Neg(x) }> }",
            "subgraphs or functions",
        ),
        ("g (float[n] x) => (uint8[n] y) <float s = {1}, uint8 z = {0}> { y = QuantizeLinear(x, s, z) }", "no float16"),
    ],
)
def test_what_cannot_be_converted_is_refused(half, write, tmp_path, text, problem):
    with pytest.raises(ModelError, match=problem):
        half.to_half(write(text), tmp_path / "half.onnx")
    assert not (tmp_path / "half.onnx").exists()
