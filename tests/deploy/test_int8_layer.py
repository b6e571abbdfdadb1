"""A layer's patches times its rows are what the operator computes, for every way to pad."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from precbench.deploy.int8.layer import Layer
from precbench.deploy.int8.plain_graph import PlainGraph

from .conftest import parsed

RNG = np.random.default_rng(0)


def drawn(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


def assert_patches_give_the_outputs(graph: str, x: NDArray[np.float32], **tensors: NDArray[Any]) -> None:
    """All patches at once, and some of them, times the rows."""
    model = parsed(graph, **tensors)
    plain = PlainGraph.of(model)
    layer, kernel = Layer.of(plain, plain.nodes[0]), plain.constants["w"].shape
    expected = np.asarray(onnxruntime.InferenceSession(model.proto.SerializeToString()).run(None, {"x": x})[0])
    if plain.nodes[0].op_type == "Conv":
        expected = np.moveaxis(expected, 1, -1)
    expected = expected.reshape(-1, layer.outputs)
    assert layer.positions(x, kernel) == len(expected)
    for chosen in (np.arange(len(expected)), np.array([0, len(expected) - 1, 3])):
        products = layer.patches(x, kernel, chosen) @ layer.rows.transpose(0, 2, 1)
        found = products.transpose(1, 0, 2).reshape(len(chosen), -1) + layer.bias
        assert np.allclose(found, expected[chosen], atol=1e-4)


@pytest.mark.parametrize(
    "padding",
    [
        'auto_pad = "SAME_UPPER"',
        'auto_pad = "SAME_LOWER"',
        'auto_pad = "VALID"',
        'auto_pad = "NOTSET", pads = [1, 0, 2, 1]',
        "pads = [2, 1, 0, 3]",
        "group = 1",
    ],
)
@pytest.mark.parametrize("strides", [1, 2])
def test_a_convolution_with_every_padding(padding: str, strides: int) -> None:
    """An even kernel of 3 x 2 on 6 x 5 pads one side more than the other."""
    conv = f"Conv <{padding}, strides = [{strides}, 1]> (x, w, b)"
    graph = f"g (float[2, 3, 6, 5] x) => (float[2, 4, h, v] y) {{ y = {conv} }}"
    assert_patches_give_the_outputs(graph, drawn(2, 3, 6, 5), w=drawn(4, 3, 3, 2), b=drawn(4))


@pytest.mark.parametrize(
    ("attributes", "kernel"),
    [
        ("group = 4", (4, 1, 3, 3)),
        ("group = 2", (6, 2, 2, 2)),
        ("dilations = [2, 1], pads = [1, 1, 1, 1]", (3, 4, 2, 3)),
    ],
)
def test_groups_and_dilations(attributes: str, kernel: tuple[int, ...]) -> None:
    graph = f"g (float[2, 4, 6, 7] x) => (float[2, {kernel[0]}, h, v] y) {{ y = Conv <{attributes}> (x, w) }}"
    assert_patches_give_the_outputs(graph, drawn(2, 4, 6, 7), w=drawn(*kernel))


def test_one_and_three_dimensions() -> None:
    line = 'g (float[2, 3, 9] x) => (float[2, 4, h] y) { y = Conv <auto_pad = "SAME_LOWER", strides = [2]> (x, w) }'
    assert_patches_give_the_outputs(line, drawn(2, 3, 9), w=drawn(4, 3, 4))
    cube = "g (float[1, 2, 4, 5, 3] x) => (float[1, 3, h, v, d] y) { y = Conv <pads = [0, 1, 0, 1, 0, 1]> (x, w) }"
    assert_patches_give_the_outputs(cube, drawn(1, 2, 4, 5, 3), w=drawn(3, 2, 2, 2, 2))


def test_matrices() -> None:
    gemm = "g (float[5, 3] x) => (float[5, 4] y) { y = Gemm <transB = %d> (x, w, b) }"
    assert_patches_give_the_outputs(gemm % 0, drawn(5, 3), w=drawn(3, 4), b=drawn(4))
    assert_patches_give_the_outputs(gemm % 1, drawn(5, 3), w=drawn(4, 3), b=drawn(4))
    matmul = "g (float[2, 5, 3] x) => (float[2, 5, 4] y) { y = MatMul (x, w) }"
    assert_patches_give_the_outputs(matmul, drawn(2, 5, 3), w=drawn(3, 4))


def test_rows_turn_back_into_the_kernel() -> None:
    for graph, kernel in (
        ("g (float[n, 3] x) => (float[n, 4] y) { y = Gemm (x, w) }", drawn(3, 4)),
        ("g (float[n, 4, 5, 5] x) => (float[n, 6, 3, 3] y) { y = Conv <group = 2> (x, w) }", drawn(6, 2, 3, 3)),
    ):
        plain = PlainGraph.of(parsed(graph, w=kernel))
        layer = Layer.of(plain, plain.nodes[0])
        assert np.array_equal(layer.kernel_of(layer.rows, kernel.shape), kernel)
