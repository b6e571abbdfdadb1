"""What runs in integers: outputs that are read again stay float32 and are held for their readers."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from precbench.deploy.int8.quantizing import quantize

from .conftest import calibration, parsed
from .test_int8 import optimized_ops

RNG = np.random.default_rng(0)


def weights(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(0, 0.3, shape).astype(np.float32)


READ_OUTPUTS = {
    "an embedding under a dense layer": """g (float[n, 8] x) => (float[n, 8] e, float[n, 4] y) {
        e = Gemm (x, square)
        y = Gemm (e, dense)
    }""",
    "an embedding behind an activation": """g (float[n, 8] x) => (float[n, 8] e, float[n, 4] y) {
        h = Gemm (x, square)
        e = Relu (h)
        y = Gemm (e, dense)
    }""",
    "pooled features that a move reads": """g (float[n, 8, 4, 4] x) => (float[n, 8, 1, 1] e, float[n, 4] y) {
        h = Conv (x, kernel)
        r = Relu (h)
        e = GlobalAveragePool (r)
        f = Flatten (e)
        y = Gemm (f, dense)
    }""",
    "features that are moved to an output": """g (float[n, 8, 4, 4] x) => (float[n, 8] e, float[n, 4] y) {
        h = Conv (x, kernel)
        r = Relu (h)
        p = GlobalAveragePool (r)
        e = Flatten (p)
        y = Gemm (e, dense)
    }""",
    "a convolution under a convolution": """g (float[n, 8, 4, 4] x) => (float[n, 8, 4, 4] e, float[n, 8, 4, 4] y) {
        e = Conv (x, kernel)
        y = Conv (e, kernel)
    }""",
}


@pytest.mark.parametrize("what", READ_OUTPUTS)
def test_an_output_that_is_read_again_keeps_its_name_and_its_float_values(what: str) -> None:
    graph = READ_OUTPUTS[what]
    used = {"square": weights(8, 8), "dense": weights(8, 4), "kernel": weights(8, 8, 1, 1)}
    model = parsed(graph, **{name: array for name, array in used.items() if name in graph})
    shape = (64, 8, 4, 4) if "kernel" in graph else (64, 8)
    x = RNG.normal(size=shape).astype(np.float32)
    found = quantize(model, calibration("x", x))
    for expected, got in zip(outputs(model.proto, x), outputs(found.model.proto, x), strict=True):
        assert np.abs(expected - got).max() < 0.04 * np.abs(expected).max()
    assert [value.name for value in found.model.proto.graph.output] == ["e", "y"]


def test_a_dense_layer_whose_output_is_read_again_runs_in_integers(tmp_path: Path) -> None:
    model = parsed(READ_OUTPUTS["an embedding under a dense layer"], square=weights(8, 8), dense=weights(8, 4))
    found = quantize(model, calibration("x", RNG.normal(size=(64, 8)).astype(np.float32)))
    assert optimized_ops(found.model.proto, tmp_path).count("MatMulIntegerToFloat") == 2


def outputs(proto: Any, x: NDArray[np.float32]) -> list[NDArray[Any]]:
    return [np.asarray(y) for y in onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})]
