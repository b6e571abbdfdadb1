"""What is folded into a layer computes what it computed; what is not quite that stays as it is."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from precbench.deploy.int8.folding import fold
from precbench.deploy.int8.plain_graph import PlainGraph
from precbench.deploy.int8.quantizing import quantize
from precbench.errors import ModelError

from .conftest import calibration, parsed

RNG = np.random.default_rng(0)


def drawn(*shape: int, dtype: type = np.float32) -> NDArray[Any]:
    return RNG.uniform(0.5, 1.5, shape).astype(dtype)


def folded(graph: str, **tensors: NDArray[Any]) -> PlainGraph:
    plain = PlainGraph.of(parsed(graph, opset=19, **tensors))
    fold(plain)
    return plain


def ops(graph: PlainGraph) -> list[str]:
    return [node.op_type for node in graph.nodes]


def norm_of(channels: int, dtype: type = np.float32) -> dict[str, NDArray[Any]]:
    return {name: drawn(channels, dtype=dtype) for name in ("gamma", "beta", "mean", "variance")}


NORMALISED = {
    "Conv": "g ({0}[n, 3, 4, 4] x) => ({0}[n, 3, 4, 4] y)",
    "Gemm": "g ({0}[n, 3] x) => ({0}[n, 3] y)",
}


@pytest.mark.parametrize(("dtype", "name"), [(np.float16, "float16"), (np.float64, "double")])
@pytest.mark.parametrize("layer", NORMALISED)
def test_normalisation_of_other_types_is_not_folded_and_int8_is_refused(layer: str, dtype: type, name: str) -> None:
    kernel = drawn(3, 3, 1, 1, dtype=dtype) if layer == "Conv" else drawn(3, 3, dtype=dtype)
    text = NORMALISED[layer].format(name) + (
        f"{{ c = {layer} (x, w) y = BatchNormalization (c, gamma, beta, mean, variance) }}"
    )
    tensors = {"w": kernel, **norm_of(3, dtype)}
    assert ops(folded(text, **tensors)) == [layer, "BatchNormalization"]
    shape = (32, 3, 4, 4) if layer == "Conv" else (32, 3)
    with pytest.raises(ModelError, match="no Conv, Gemm or MatMul with constant float32 weights"):
        quantize(parsed(text, opset=19, **tensors), calibration("x", drawn(*shape, dtype=dtype)))


def outputs(graph: PlainGraph, x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(ReferenceEvaluator(graph.to_proto()).run(None, {"x": x})[0])
