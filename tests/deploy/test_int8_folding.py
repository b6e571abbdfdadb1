"""What is folded into a layer computes what it computed; what is not quite that stays as it is."""

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from precbench.deploy.int8 import constant_folding
from precbench.deploy.int8.folding import fold
from precbench.deploy.int8.plain_graph import PlainGraph
from precbench.deploy.int8.planning import Part, plan
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


def outputs(model: onnx.ModelProto, x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(ReferenceEvaluator(model).run(None, {"x": x})[0])


def assert_folds_to(wanted: list[str], graph: str, shape: tuple[int, ...], **tensors: NDArray[Any]) -> None:
    """A graph is folded to these operators and computes what it computed."""
    model = parsed(graph, opset=19, **tensors)
    plain = PlainGraph.of(model)
    fold(plain)
    assert ops(plain) == wanted
    x = RNG.normal(size=shape).astype(np.float32)
    before, after = outputs(model.proto, x), outputs(plain.to_proto(), x)
    assert np.allclose(before, after, rtol=1e-4, atol=1e-4)


IMAGE, MATRIX = "g (float[2, 3, 5, 5] x) => (float[2, 3, 5, 5] y)", "g (float[2, 3] x) => (float[2, 3] y)"


def test_normalisations_and_biases_behind_a_convolution_fold_into_it_all_of_them() -> None:
    assert_folds_to(
        ["Conv", "Relu"],
        IMAGE
        + """{ a = Conv (x, w) b = Add (a, c) d = BatchNormalization <epsilon = 0.1> (b, gamma, beta, mean, variance)
               e = Add (s, d) f = Sub (e, c) y = Relu (f) }""",
        (2, 3, 5, 5),
        w=drawn(3, 3, 1, 1),
        c=drawn(1, 3, 1, 1),
        s=drawn(),
        **norm_of(3),
    )


def test_normalisations_and_biases_behind_a_matrix_fold_into_it() -> None:
    tensors = {"w": drawn(3, 3), "c": drawn(1, 3), **norm_of(3)}
    norm = "y = BatchNormalization (d, gamma, beta, mean, variance) }"
    assert_folds_to(["Gemm"], f"{MATRIX} {{ a = MatMul (x, w) d = Add (a, c) {norm}", (2, 3), **tensors)
    gemm = "d = Gemm <alpha = 0.5, transB = 1> (x, w, c)"
    assert_folds_to(["Gemm"], f"{MATRIX} {{ {gemm} {norm}", (2, 3), **tensors)


@pytest.mark.parametrize("bias", [(), (1,), (3,), (1, 1), (1, 3)])
@pytest.mark.parametrize("transposed", [0, 1])
def test_alpha_beta_and_any_bias_of_a_gemm_fold_into_its_weights(bias: tuple[int, ...], transposed: int) -> None:
    graph = f"{MATRIX} {{ y = Gemm <alpha = 0.5, beta = -2.0, transB = {transposed}> (x, w, b) }}"
    tensors = {"w": drawn(3, 3), "b": drawn(*bias)}
    assert_folds_to(["Gemm"], graph, (2, 3), **tensors)
    gemm = folded(graph, **tensors)
    assert [each.name for each in gemm.nodes[0].attribute] == ["transB"]
    assert gemm.constants[gemm.nodes[0].input[2]].shape == (3,)


def test_a_gemm_whose_bias_differs_by_row_keeps_alpha_and_stays_float() -> None:
    graph = "g (float[2, 3] x) => (float[2, 3] y) { y = Gemm <alpha = 0.5> (x, w, b) }"
    tensors = {"w": drawn(3, 3), "b": drawn(2, 1)}
    assert_folds_to(["Gemm"], graph, (2, 3), **tensors)
    assert folded(graph, **tensors).nodes[0].attribute[0].name == "alpha"
    assert Part.WEIGHTED not in plan(folded(graph, **tensors)).parts


def test_a_scaled_dense_layer_and_what_lies_before_it_run_in_integers() -> None:
    graph = folded(
        """g (float[n, 3, 5, 5] x) => (float[n, 2] y) { a = Conv (x, k) b = Add (a, c) r = Relu (b)
           p = GlobalAveragePool (r) f = Flatten (p) y = Gemm <alpha = 0.5, beta = 2.0> (f, w, s) }""",
        k=drawn(3, 3, 1, 1),
        c=drawn(1, 3, 1, 1),
        w=drawn(3, 2),
        s=drawn(1),
    )
    assert plan(graph).parts == (Part.WEIGHTED, Part.ACTIVATION, Part.JOIN, Part.MOVE, Part.WEIGHTED)


def test_a_reader_that_no_output_depends_on_is_dropped() -> None:
    graph = folded(
        IMAGE + "{ a = Conv (x, w) u = Sigmoid (a) v = Exp (u) r = Relu (a) y = Conv (r, w) }", w=drawn(3, 3, 1, 1)
    )
    assert plan(graph).parts == (Part.WEIGHTED, Part.ACTIVATION, Part.WEIGHTED)


UNFOLDED = {
    "an Add of an image": ("a = Conv (x, w) y = Add (a, c)", {"w": (3, 3, 1, 1), "c": (1, 3, 5, 5)}),
    "an Add of a row": ("a = Conv (x, w) y = Add (a, c)", {"w": (3, 3, 1, 1), "c": (5,)}),
    "an Add of a batch": ("a = Conv (x, w) y = Add (a, c)", {"w": (3, 3, 1, 1), "c": (2, 1, 1, 1)}),
    "an Add that widens": ("a = Conv (x, w) y = Add (a, c)", {"w": (1, 3, 1, 1), "c": (1, 3, 1, 1)}),
    "a difference from a constant": ("a = Conv (x, w) y = Sub (c, a)", {"w": (3, 3, 1, 1), "c": (1, 3, 1, 1)}),
    "an Add to itself": ("a = Conv (x, w) y = Add (a, a)", {"w": (3, 3, 1, 1)}),
    "an Add that another node reads beside": (
        "a = Conv (x, w) b = Add (a, c) d = Relu (a) y = Mul (b, d)",
        {"w": (3, 3, 1, 1), "c": (1, 3, 1, 1)},
    ),
    "a pad of another mode": (
        'p = Pad <mode = "reflect"> (x, pads) y = Conv (p, w)',
        {"w": (3, 3, 3, 3), "pads": (0, 0, 1, 1, 0, 0, 1, 1)},
    ),
    "a pad with another value": (
        "p = Pad (x, pads, value) y = Conv (p, w)",
        {"w": (3, 3, 3, 3), "pads": (0, 0, 1, 1, 0, 0, 1, 1), "value": ()},
    ),
    "a pad of channels": (
        "p = Pad (x, pads) y = Conv (p, w)",
        {"w": (3, 4, 1, 1), "pads": (0, 0, 0, 0, 0, 1, 0, 0)},
    ),
    "a pad of axes": (
        "p = Pad (x, pads, , axes) y = Conv (p, w)",
        {"w": (3, 3, 3, 3), "pads": (0, 0, 1, 0, 0, 0, 1, 2), "axes": (0, 1, 3, 2)},
    ),
    "a pad before padding of its own kind": (
        'p = Pad (x, pads) y = Conv <auto_pad = "SAME_UPPER"> (p, w)',
        {"w": (3, 3, 1, 1), "pads": (0, 0, 0, 0, 0, 0, 0, 0)},
    ),
    "a pad that another node reads beside": (
        "p = Pad (x, pads) a = Conv (p, w) b = Conv (p, w) y = Add (a, b)",
        {"w": (3, 3, 3, 3), "pads": (0, 0, 1, 1, 0, 0, 1, 1)},
    ),
}


@pytest.mark.parametrize("what", UNFOLDED)
def test_what_is_more_than_a_layer_can_do_stays(what: str) -> None:
    text, shapes = UNFOLDED[what]
    tensors = {n: np.array(s, np.int64) if n in ("pads", "axes") else drawn(*s) for n, s in shapes.items()}
    graph = f"{IMAGE} {{ {text} }}"
    same = [node.op_type for node in parsed(graph, opset=19, **tensors).proto.graph.node]
    assert_folds_to(same, graph, (2, 3, 5, 5), **tensors)


def test_a_pad_that_crops_stays() -> None:
    graph = IMAGE + "{ p = Pad (x, pads) y = Conv <pads = [2, 2, 2, 2]> (p, w) }"
    assert ops(folded(graph, w=drawn(3, 3, 3, 3), pads=np.array([0, 0, -1, -1, 0, 0, -1, -1]))) == ["Pad", "Conv"]


@pytest.mark.parametrize("attributes", ["", "<pads = [1, 0, 0, 2]>", '<auto_pad = "VALID">'])
def test_a_pad_of_zeros_adds_to_the_pads_of_a_convolution(attributes: str) -> None:
    assert_folds_to(
        ["Conv"],
        f"g (float[2, 3, 5, 5] x) => (float[2, 3, h, w] y) {{ p = Pad (x, pads) y = Conv {attributes} (p, w) }}",
        (2, 3, 5, 5),
        w=drawn(3, 3, 3, 3),
        pads=np.array([0, 0, 0, 1, 0, 0, 2, 1]),
    )


def test_normalisation_that_is_still_trained_stays() -> None:
    """It normalises with the batch's own statistics, as the reference does."""
    text = "{ a = Conv (x, w) y, m, v = BatchNormalization <training_mode = 1> (a, gamma, beta, mean, variance) }"
    assert_folds_to(["Conv", "BatchNormalization"], IMAGE + text, (2, 3, 5, 5), w=drawn(3, 3, 1, 1), **norm_of(3))


@pytest.mark.parametrize("size", [10_000, 30_000])
def test_a_constant_that_a_shape_makes_large_is_never_computed(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constant_folding, "run_node", lambda *_: pytest.fail("it was computed"))
    graph = f"g (float[n] x) => (float[{size}, {size}] y) {{ y = Expand (one, shape) }}"
    assert ops(folded(graph, one=drawn(1), shape=np.array([size, size]))) == ["Expand"]


def test_constants_are_computed_until_all_together_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constant_folding, "_MOST_BYTES", 4 * 1500)
    graph = "g (float[n] x) => (float[1000] y, float[1000] z) { y = Expand (one, shape) z = Expand (one, shape) }"
    plain = folded(graph, one=drawn(1), shape=np.array([1000]))
    assert ops(plain) == ["Expand"]
    assert plain.constants["y"].shape == (1000,)


def test_chains_of_constants_are_computed() -> None:
    graph = """g (float[n, 6] x) => (float[n, 2] y) { s = Shape (w) h = Div (s, two) d = Slice (h, zero, one)
               t = Concat <axis = 0> (minus, two) r = Reshape (w, t) p = Tile (r, ones) y = MatMul (x, p) }"""
    integers = {"two": [2], "zero": [0], "one": [1], "minus": [-1], "ones": [1, 1]}
    constants = {name: np.array(value) for name, value in integers.items()}
    assert ops(folded(graph, w=drawn(12), **constants)) == ["MatMul"]
