"""The float16 form: float32 outside, float16 inside, and in float32 what float16 does not hold."""

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from precbench.deploy.fp16.converting import convert_to_half
from precbench.deploy.fp16.deciding import HALF_LIMIT, OBSERVED_LIMIT
from precbench.errors import ModelError
from precbench.graph import OnnxModel, load_model, save_model

EPSILON = 2.0**-11  # float16's relative rounding error
WEIGHTS = {
    "conv/kernel": (4, 2, 3, 3), "conv/bias": 4, "bn/scale": 4, "bn/shift": 4, "bn/mean": 4, "bn/var": 4,
    "dense/kernel": (4, 3), "dense/bias": 3,
}  # fmt: skip


def parsed(text, *, opset=17):
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')


def converted(proto, ranges=None):
    """Convert, and hold what is always so: the model given is as it was, the new one valid, with the same ends."""
    before = proto.SerializeToString(deterministic=True)
    half = convert_to_half(OnnxModel(proto=proto, folder=Path("nowhere")), ranges)
    assert proto.SerializeToString(deterministic=True) == before, "the model given was modified"
    onnx.checker.check_model(half.model.proto, full_check=True)
    assert half.model.proto.graph.output == proto.graph.output
    there = {node.name for node in proto.graph.node}
    new = [node for node in half.model.proto.graph.node if node.name not in there]
    assert {node.op_type for node in new} <= {"Cast"}
    assert len({node.input[0] for node in new}) == len(new) == half.casts, "a value is cast twice"
    assert len({node.name for node in new}) == len(new), "two new nodes have one name"
    return half


def run(proto, feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def assert_close(half, proto, feeds, *, tolerance=8 * EPSILON):
    """The runtime and the reference make of the float16 form what the runtime makes of the model."""
    wanted = run(proto, feeds)
    for found in (run(half.model.proto, feeds), ReferenceEvaluator(half.model.proto).run(None, feeds)):
        for one, other in zip(found, wanted, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * max(1.0, np.abs(other).max()))


def saved_outside(proto, path):
    """Save with all constants, those in nodes too, in a file beside the model; only raw data can be put there."""
    for held in OnnxModel(proto=proto, folder=path.parent).tensors():
        held.proto.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(held.proto), held.proto.name))
    onnx.save(proto, path, save_as_external_data=True, location="m.bin", size_threshold=0, convert_attribute=True)
    return load_model(path)


def types_of(half):
    """The element type of each value inside, by ONNX's inference, as ONNX's names."""
    graph = onnx.shape_inference.infer_shapes(half.model.proto, strict_mode=True).graph
    infos = [*graph.input, *graph.value_info, *graph.output]
    found = {info.name: info.type.tensor_type.elem_type for info in infos}
    found |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return {name: TensorProto.DataType.Name(kind) for name, kind in found.items()}


def operators(half):
    return [node.op_type for node in half.model.proto.graph.node]


def network(*, seed=0, scale=0.3):
    """Conv, BatchNormalization, Relu6, pool, Gemm."""
    proto = parsed(
        "net (float[n, 2, 6, 6] x) => (float[n, 3] y) "
        "<float low = {0}, float high = {6}> "
        '{ [conv] a = Conv("x", "conv/kernel", "conv/bias") '
        '[bn] b = BatchNormalization(a, "bn/scale", "bn/shift", "bn/mean", "bn/var") [relu6] c = Clip(b, low, high) '
        '[pool] d = GlobalAveragePool(c) [flat] e = Flatten(d) [dense] y = Gemm(e, "dense/kernel", "dense/bias") }'
    )
    rng = np.random.default_rng(seed)
    for name, shape in WEIGHTS.items():
        values = rng.normal(0, scale, shape).astype(np.float32)
        values = np.abs(values) + np.float32(0.5) if name == "bn/var" else values
        proto.graph.initializer.append(numpy_helper.from_array(values, name))
    return proto


def images(*, seed=1, count=4):
    return {"x": np.random.default_rng(seed).standard_normal((count, 2, 6, 6)).astype(np.float32)}


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.01, 3))
@settings(max_examples=15, deadline=None)
def test_a_network_is_float16_throughout_and_as_near_as_float16_allows(seed, scale):
    proto = network(seed=seed, scale=scale)
    half = converted(proto)
    assert half.kept_nodes == {}
    assert half.casts == 2
    kinds = types_of(half)
    assert {name for name, kind in kinds.items() if kind != "FLOAT16"} == {"x", "y"}
    assert {(tensor.dtype, tensor.bits, tensor.kept) for tensor in half.tensors} == {("FLOAT16", 16, None)}
    assert_close(half, proto, images(seed=seed), tolerance=32 * EPSILON)


def test_constants_are_rounded_to_nearest_and_counted():
    values = [0.1, 65504, 2.0**-24, 2.0**-26, 0, -(2.0**-15), 1 + 2.0**-11, 1 + 3 * 2.0**-11]
    proto = parsed("g (float[8] x) => (float[8] y) { y = Add(x, w) }")
    proto.graph.initializer.append(numpy_helper.from_array(np.array(values, np.float32), "w"))
    half = converted(proto)
    [tensor] = half.model.proto.graph.initializer
    expected = np.array([0.0999755859375, 65504, 2.0**-24, 0, 0, -(2.0**-15), 1, 1 + 2.0**-9], np.float16)
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), expected)
    assert (half.flushed, half.subnormal) == (1, 2)
    [stored] = half.tensors
    assert (stored.elements, stored.bytes_before, stored.bytes_after) == (8, 32, 16)
    assert stored.to_json()["grid"] == {"format": "float16"}


# --- what overflows ---

HUGE = (
    "g (float[n, 4] x) => (float[n, 4] y) <float[1] up = {1000}, float[1] down = {0.000001}, float[1] one = {1}> "
    "{ [first] a = Add(x, one) [raise] b = Mul(a, up) [again] c = Mul(b, up) [lower] d = Mul(c, down) "
    "[last] y = Add(d, one) }"
)
LARGE = {"x": np.linspace(-3, 3, 8, dtype=np.float32).reshape(2, 4)}


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # it is what is shown
def test_nodes_whose_values_were_observed_beyond_the_limit_stay_in_float32_and_no_others():
    proto = parsed(HUGE)
    ranges = {"x": (-3, 3), "a": (-2, 4), "b": (-2e3, 4e3), "c": (-2e6, 4e6), "d": (-2, 4), "y": (-1, 5)}
    [plain] = ReferenceEvaluator(converted(proto).model.proto).run(None, LARGE)
    assert not np.isfinite(plain).all()
    half = converted(proto, ranges)
    assert half.kept_nodes == {
        "again": "'c' reaches 4e+06, beyond 32752, half of float16's range",
        "lower": "'c' reaches 4e+06, beyond 32752, half of float16's range",
    }
    assert_close(half, proto, LARGE)
    kinds = types_of(half)
    assert (kinds["a"], kinds["b"], kinds["c"], kinds["d"]) == ("FLOAT16", "FLOAT16", "FLOAT", "FLOAT")
    assert operators(half) == ["Cast", "Add", "Mul", "Cast", "Mul", "Mul", "Cast", "Add", "Cast"]


def test_between_two_nodes_in_float32_nothing_passes_through_float16():
    proto = parsed(HUGE)
    half = converted(proto, {"b": (0, 5e4), "c": (0, 5e7), "d": (0, 4e4)})
    assert set(half.kept_nodes) == {"raise", "again", "lower", "last"}
    assert_close(half, proto, LARGE)
    assert operators(half) == ["Cast", "Add", "Cast", "Mul", "Mul", "Mul", "Add"]


@pytest.mark.parametrize(
    ("observed", "is_kept"),
    [
        ((0, OBSERVED_LIMIT), False),
        ((0, OBSERVED_LIMIT + 1), True),
        ((-OBSERVED_LIMIT - 1, 0), True),
        ((0, float("inf")), True),
        ((float("nan"), 0), True),
    ],
)
def test_the_limit_of_what_is_observed_is_half_of_the_range(observed, is_kept):
    proto = parsed("g (float[n] x) => (float[n] y) { [relu] y = Relu(x) }")
    assert ("relu" in converted(proto, {"x": observed}).kept_nodes) == is_kept


def test_a_constant_beyond_the_range_keeps_its_node_in_float32():
    proto = parsed("g (float[n] x) => (float[n] y) <float[1] w = {100000}> { [m] y = Mul(x, w) }")
    half = converted(proto)
    assert half.kept_nodes == {"m": "the constant 'w' reaches 100000, beyond float16's 65504"}
    assert (half.casts, half.tensors[0].kept) == (0, "it is read in float32 only")
    assert_close(half, proto, {"x": np.ones(2, np.float32)})


def test_a_constant_may_reach_the_limit_and_masks_may_be_infinite():
    proto = parsed("g (float[2] x) => (float[2] y) { y = Add(x, w) }")
    proto.graph.initializer.append(numpy_helper.from_array(np.array([-np.inf, HALF_LIMIT], np.float32), "w"))
    assert converted(proto).kept_nodes == {}


def test_a_tensor_that_both_kinds_of_nodes_read_is_there_twice():
    proto = parsed(
        "g (float[n, 2] x) => (float[n, 2] y, float[n, 2] z) <float[2] w = {0.1, 0.2}> "
        "{ [half] y = Add(x, w) [single] z = Mul(x, w) }"
    )
    half = converted(proto, {"z": (0, 1e5)})
    assert {t.name: t.data_type for t in half.model.proto.graph.initializer} == {
        "w": TensorProto.FLOAT,
        "w/float16": TensorProto.FLOAT16,
    }
    assert (half.tensors[0].bytes_before, half.tensors[0].bytes_after) == (8, 12)
    assert_close(half, proto, {"x": np.ones((3, 2), np.float32)})


def test_a_constant_node_that_both_kinds_of_nodes_read_is_there_twice():
    proto = parsed(
        "g (float[n] x) => (float[n] y, float[n] z) "
        "{ w = Constant<value_floats = [0.1]>() [half] y = Add(x, w) [single] z = Mul(x, w) }"
    )
    half = converted(proto, {"z": (0, 1e5)})
    assert [tensor.name for tensor in half.model.proto.graph.initializer] == ["w/float16"]
    assert operators(half).count("Constant") == 1
    assert_close(half, proto, {"x": np.ones(3, np.float32)})


# --- what becomes zero ---

ROWS = {"x": np.array([[0, 0, 0, 0], [2, 2, 2, 2], [1, 2, 3, 5], [1e-4, 2e-4, -1e-4, 3e-4]], np.float32)}
ROW = "g (float[n, 4] x) => (float[n, 4] y) <float eps = {1e-12}, float two = {2}, float half = {0.5}, float one = {1}"
CENTRED = "m = ReduceMean<axes = [-1]>(x) d = Sub(x, m) "
VARIANCE = f"{CENTRED} [square] q = Pow(d, two) [mean] v = ReduceMean<axes = [-1]>(q) [add] e = Add(v, eps) "
NORM = "[norm] l = ReduceL2<axes = [-1]>(x) "


@pytest.mark.parametrize(
    ("nodes", "kept"),
    [
        ("r = Relu(x) [add] a = Add(r, eps) [log] y = Log(a)", "add log"),
        (f"{VARIANCE} [root] s = Sqrt(e) [div] y = Div(d, s)", "square mean add root div"),
        (f"{VARIANCE} [root] s = Pow(e, half) [div] y = Div(d, s)", "square mean add root div"),
        (f"{VARIANCE} [root] s = Sqrt(e) [inv] i = Reciprocal(s) [by] y = Mul(d, i)", "square mean add root inv by"),
        (
            f"{VARIANCE} [root] s = Sqrt(e) [inv] i = Div(one, s) [scale] j = Mul(i, two) [by] y = Mul(d, j)",
            "square mean add root inv scale by",
        ),
        (
            f"{CENTRED} [square] q = Mul(d, d) [mean] v = ReduceMean<axes = [-1]>(q) [root] r = Sqrt(v) "
            "[add] e = Add(r, eps) [div] y = Div(d, e)",
            "square mean root add div",
        ),
        (f"{VARIANCE} [inv] i = Pow(e, minus) [by] y = Mul(d, i)", "square mean add inv by"),
        (f"{NORM} [low] c = Clip(l, eps) [wide] w = Expand(c, shape) [div] y = Div(x, w)", "norm low wide div"),
        (f"{NORM} [low] c = Max(l, eps) [div] y = Div(x, c)", "norm low div"),
        (
            "r = Relu(x) [add] a = Add(r, eps) [sum] t = ReduceSum<keepdims = 1>(a, axis) [div] y = Div(a, t)",
            "add sum div",
        ),
        ("r = Relu(x) [fill] f = Expand(eps, shape) [add] a = Add(r, f) [log] y = Log(a)", "fill add log"),
        ("r = Relu(x) [low] a = Mul(r, eps) z = Neg(a) y = Relu(z)", "low"),
    ],
)
def test_what_a_tiny_constant_keeps_from_zero_stays_in_float32_up_to_its_use(nodes, kept):
    proto = parsed(f"{ROW}, float minus = {{-0.5}}, int64[1] axis = {{-1}}, int64[2] shape = {{4, 4}}> {{ {nodes} }}")
    half = converted(proto)
    assert set(half.kept_nodes) == set(kept.split())
    assert {tensor.kept for tensor in half.tensors if tensor.name == "eps"} == {"it is read in float32 only"}
    assert_close(half, proto, ROWS)


def test_the_reasons_name_the_constant_and_what_depends_on_it():
    half = converted(parsed(f"{ROW}> {{ {VARIANCE} [root] s = Sqrt(e) [div] y = Div(d, s) }}"))
    because = "a constant is added that is zero in float16"
    assert half.kept_nodes == {
        "square": f"it makes 'q' of products, to which {because}",
        "mean": f"it makes 'v' of products, to which {because}",
        "add": "the constant 'eps' is 1e-12 at most, which is zero in float16",
        "root": "it reads 'e', which depends on a constant that is zero in float16",
        "div": "it reads 's', which depends on a constant that is zero in float16",
    }


@pytest.mark.parametrize("value", [1e-5, 2.0**-24, 0.0, -0.0])
def test_an_epsilon_that_float16_holds_keeps_nothing(value):
    proto = parsed(f"{ROW}> {{ {VARIANCE} [root] s = Sqrt(e) [div] y = Div(d, s) }}")
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.float32(value), "eps"))
    assert converted(proto).kept_nodes == {}


def with_weights(values, node):
    proto = parsed(f"g (float[n, 4] x) => (float[n, 4] y) <float[4] zero = {{0, 0, 0, 0}}> {{ [node] {node} }}")
    proto.graph.initializer.append(numpy_helper.from_array(np.asarray(values, np.float32), "w"))
    return converted(proto)


def test_a_tensor_is_lost_where_all_of_it_is_and_not_where_a_few_elements_are():
    dense = np.eye(4)
    dense[0, 1:] = 1e-9
    assert with_weights(dense, "y = Gemm(x, w, zero)").flushed == 3
    assert with_weights(dense, "y = Gemm(x, w, zero)").kept_nodes == {}
    assert set(with_weights(np.eye(4) * 1e-9, "y = Gemm(x, w, zero)").kept_nodes) == {"node"}
    assert set(with_weights(np.eye(4) * -1e-9, "y = MatMul(x, w)").kept_nodes) == {"node"}
    assert set(with_weights([0, 0, 1e-9, 0], "y = Mul(x, w)").kept_nodes) == {"node"}
    assert set(with_weights([1e-9], "y = Max(x, w)").kept_nodes) == {"node"}
    assert with_weights([0, 0, 1, 1e-9], "y = Mul(x, w)").kept_nodes == {}


def test_a_convolution_with_a_few_lost_weights_or_a_tiny_bias_computes_in_float16():
    proto = network()
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if tensor.name in {"conv/kernel", "conv/bias"}:
            values.flat[: 5 if tensor.name == "conv/kernel" else 4] = 1e-9
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    half = converted(proto)
    assert (half.kept_nodes, half.flushed) == ({}, 9)
    assert_close(half, proto, images(), tolerance=32 * EPSILON)


BATCH = (
    "g (float[n, 2, 3, 3] x) => (float[n, 2, 3, 3] y) <float[2] s = {{1e-4, 2}}, float[2] b = {{0, 1}}, "
    "float[2] m = {{0.5, 0.25}}, float[2] v = {{{variance}, 1}}> "
    "{{ r = Relu(x) [bn] z = BatchNormalization<epsilon = {epsilon}>(r, s, b, m, v) y = Neg(z) }}"
)


@pytest.mark.parametrize(
    ("variance", "epsilon", "is_kept"),
    [
        ("1e-9", "1e-9", True),
        ("0", "1e-12", True),
        ("1e-9", "0.0", True),
        ("1e-9", "1e-7", True),
        ("1e-9", "1e-5", False),
        ("1e-30", "1e-3", False),
        ("0.1", "1e-12", False),
    ],
)
def test_a_batch_normalization_whose_variance_and_epsilon_are_lost_stays_in_float32(variance, epsilon, is_kept):
    proto = parsed(BATCH.format(variance=variance, epsilon=epsilon))
    half = converted(proto)
    told = {"bn": "its epsilon, with the variance where that is known, is lost in float16"}
    assert half.kept_nodes == (told if is_kept else {})
    feeds = {"x": np.random.default_rng(0).standard_normal((3, 2, 3, 3), dtype=np.float32)}
    assert_close(half, proto, feeds, tolerance=16 * EPSILON)


NORMALIZED = "g (float[n, 4, 3] x) => (float[n, 4, 3] y) <float[4] s = {1, 2, 3, 4}, float[4] b = {0, 1, 2, 3}, "


@pytest.mark.parametrize(
    ("node", "opset", "is_kept"),
    [
        ("InstanceNormalization<epsilon = 1e-12>(r, s, b)", 17, True),
        ("InstanceNormalization(r, s, b)", 17, False),
        ("LayerNormalization<epsilon = 1e-12>(r, t, u)", 17, False),
        ("LayerNormalization<epsilon = 1e-12, stash_type = 10>(r, t, u)", 17, True),
        ("MeanVarianceNormalization<axes = [2]>(r)", 17, True),
    ],
)
def test_other_normalizations_are_kept_where_they_compute_the_epsilon_in_float16(node, opset, is_kept):
    proto = parsed(
        f"{NORMALIZED} float[3] t = {{1, 2, 3}}, float[3] u = {{0, 1, 2}}> "
        f"{{ r = Relu(x) [norm] z = {node} y = Neg(z) }}",
        opset=opset,
    )
    half = converted(proto)
    assert set(half.kept_nodes) == ({"norm"} if is_kept else set())
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 4, 3), dtype=np.float32)}
    feeds["x"][0] = 0
    np.testing.assert_allclose(run(half.model.proto, feeds)[0], run(proto, feeds)[0], atol=32 * EPSILON)


@pytest.mark.parametrize(
    ("nodes", "ranges", "kept"),
    [
        ("p = Softmax(x) y = Log(p)", {"p": (1e-9, 1)}, {"Softmax", "Log"}),
        ("p = Softmax(x) y = Log(p)", {"p": (1e-4, 1)}, set()),
        ("p = Softmax(x) y = Log(p)", None, set()),
        ("a = Exp(x) y = Div(x, a)", {"a": (0, 1)}, {"Exp", "Div"}),
        ("a = Exp(x) b = Neg(a) y = Reciprocal(b)", {"a": (1e-6, 1), "b": (-1, -1e-6)}, {"Exp", "Neg", "Reciprocal"}),
        ("a = Exp(x) b = Sqrt(a) y = Div(x, b)", {"a": (1e-6, 1), "b": (1e-3, 1)}, set()),
        ("a = Exp(x) y = Pow(a, minus)", {"a": (1e-6, 1)}, {"Exp", "Pow"}),
        ("a = Exp(x) y = Pow(a, two)", {"a": (1e-6, 1)}, set()),
        ("a = Exp(x) y = Div(a, two)", {"a": (1e-6, 1)}, set()),
        ("a = Neg(x) y = Div(two, a)", {"a": (-1, 1)}, set()),
        ("a = Exp(x) y = Reciprocal(x)", {"x": (1e-6, 1), "a": (1e-6, 3)}, {"Reciprocal"}),
    ],
)
def test_what_is_divided_by_and_was_observed_near_zero_stays_in_float32(nodes, ranges, kept):
    proto = parsed(f"g (float[n, 4] x) => (float[n, 4] y) <float two = {{2}}, float minus = {{-1}}> {{ {nodes} }}")
    half = converted(proto, ranges)
    makes = {name: node.op_type for node in proto.graph.node for name in node.output}
    assert {makes[name] for name in half.kept_nodes} == kept
    if kept:
        assert all("observed down to" in reason for reason in half.kept_nodes.values())
    if "Softmax" in kept:
        assert_close(half, proto, {"x": np.array([[0, 20, 1, 2]], np.float32)})


# --- what takes no float16 ---


def test_scales_and_region_of_resize_stay_float32_and_batch_normalization_is_float16_throughout():
    proto = parsed(
        "g (float[n, 2, 4, 4] x) => (float[n, 2, 8, 8] y, float[n, 2, 4, 4] h) "
        "<float[2] s = {1, 2}, float[2] b = {0, 1e-8}, float[2] m = {0.5, 0.25}, float[2] v = {1, 4}, "
        "float[8] region = {0, 0, 0, 0, 1, 1, 1, 1}, float[4] scales = {1, 1, 2, 2}> "
        "{ h = BatchNormalization(x, s, b, m, v) c = Constant<value_float = 0.1>() "
        'k = Add(h, c) y = Resize<mode = "linear">(k, region, scales) }'
    )
    half = converted(proto)
    kept = {tensor.name: tensor.kept for tensor in half.tensors if tensor.kept is not None}
    assert kept == dict.fromkeys(("region", "scales"), "it is read in float32 only")
    assert (half.flushed, half.casts, half.kept_nodes) == (1, 3, {})
    kinds = types_of(half)
    assert {kinds[name] for name in ("s", "b", "m", "v", "c", "k", "h/float16", "y/float16")} == {"FLOAT16"}
    assert_close(half, proto, {"x": np.random.default_rng(0).standard_normal((3, 2, 4, 4), dtype=np.float32)})


@pytest.mark.parametrize(
    ("node", "opset", "reason"),
    [
        ("y = Clip(x, low, high)", 11, "ONNX Runtime has no float16 kernel of Clip at opset 11"),
        ("y = CumSum(x, axis)", 13, "CumSum takes no float16"),
        ("y = ReduceSumSquare<axes = [1]>(x)", 17, "ONNX Runtime squares in float16 before it adds"),
        ("y = EyeLike(x)", 17, "the inputs of EyeLike do not say of which type its output is"),
        ("y = RandomNormal<shape = [2, 2]>()", 17, "the inputs of RandomNormal do not say of which type"),
        ("q = QuantizeLinear(x, high) y = DequantizeLinear(q, high)", 17, "QuantizeLinear takes no float16"),
        ("q = QuantizeLinear(x, high) y = DequantizeLinear(q, high)", 19, "its scale is a step of the grid"),
        ("i = Cast<to = 7>(x) y = Cast<to = 1>(i)", 17, "it makes whole numbers, and float16 holds whole numbers"),
        ("s = Shape(x) f = ConstantOfShape<value = float[1] {70000}>(s) y = Mul(f, x)", 17, "it computes from shapes"),
        ("f = ConstantOfShape<value = float[1] {70000}>(one) y = Mul(f, x)", 17, "the constant 'f' reaches 70000"),
        ("f = Unsqueeze(large, one) y = Mul(f, x)", 17, "the constant 'large' reaches 70000"),
    ],
)
def test_what_has_no_float16_or_would_compute_badly_is_kept_with_its_reason(node, opset, reason):
    proto = parsed(
        "g (float[a, b] x) => (float[c, d] y) <float low = {0}, float high = {6}, float[1] large = {70000}, "
        f"int64 axis = {{1}}, int64[1] one = {{1}}> {{ {node} }}",
        opset=opset,
    )
    half = converted(proto)
    assert next(iter(half.kept_nodes.values())).startswith(reason)
    feeds = {"x": np.arange(4, dtype=np.float32).reshape(2, 2)}
    assert run(half.model.proto, feeds)[0].dtype == np.float32
    if "Random" not in node:
        np.testing.assert_allclose(run(half.model.proto, feeds)[0], run(proto, feeds)[0], rtol=4 * EPSILON)


def test_sizes_are_computed_in_float32_so_that_they_stay_exact():
    """4099 is no float16: in float16 the new length would be 2048."""
    proto = parsed(
        "g (float[n] x) => (float[m] y) <float two = {0.5}, int64[1] zero = {0}> "
        "{ [looks] s = Shape(x) [real] f = Cast<to = 1>(s) [half] h = Mul(f, two) [whole] i = Cast<to = 7>(h) "
        "[cut] t = Slice(x, zero, i) [relu] y = Relu(t) }"
    )
    half = converted(proto)
    assert set(half.kept_nodes) == {"real", "half", "whole"}
    assert run(half.model.proto, {"x": np.ones(4099, np.float32)})[0].shape == (2049,)


def test_a_cast_to_float_and_a_filled_tensor_become_float16():
    proto = parsed(
        "g (uint8[n, 2] x) => (float[n, 2] y) <int64[1] two = {2}> { f = Cast<to = 1>(x) "
        "c = ConstantOfShape<value = float[1] {0.5}>(two) z = ConstantOfShape(two) p = Mul(f, c) y = Add(p, z) }"
    )
    half = converted(proto)
    assert (half.kept_nodes, half.casts) == ({}, 1)
    assert {types_of(half)[name] for name in ("f", "c", "z", "p")} == {"FLOAT16"}
    assert_close(half, proto, {"x": np.array([[0, 255], [3, 4]], np.uint8)})


def test_asking_for_a_shape_casts_nothing():
    proto = parsed("g (float[n] x) => (int64[1] y) { y = Shape(x) }")
    assert (converted(proto).casts, converted(proto).kept_nodes) == (0, {})
    proto = parsed("g (float[n] x) => (float[n] z, int64[1] y) { r = Relu(x) y = Shape(r) z = Neg(r) }")
    assert converted(proto).casts == 2


def test_an_operator_that_onnx_does_not_know_stays_in_float32_where_its_type_is_known():
    text = (
        '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g (float[n] x) => (float[n] y) {} '
        "{{ r = Relu(x) q = com.microsoft.QuickGelu(r) y = Neg(q) }}"
    )
    half = converted(onnx.parser.parse_model(text.format("<float[n] q>")))
    assert half.kept_nodes == {"q": "ONNX does not know com.microsoft:QuickGelu, nor whether it takes float16"}
    with pytest.raises(ModelError, match="the type of 'q', which QuickGelu makes, is not known") as caught:
        converted(onnx.parser.parse_model(text.format("")))
    assert "--form packed" in caught.value.remedy


# --- names ---


def test_names_that_are_taken_already_are_left_to_what_has_them():
    proto = parsed(
        'g (float[n] x, float[n] "x/float16") => (float[n] y, float[n] "y/float16") '
        '{ y = Add(x, "x/float16") "y/float16" = Neg(y) }'
    )
    half = converted(proto)
    assert half.casts == 4
    assert_close(half, proto, {"x": np.ones(2, np.float32), "x/float16": np.ones(2, np.float32)})


def test_the_float16_form_is_converted_again_under_names_that_nobody_has():
    proto = network()
    once = converted(proto).model.proto
    twice = converted(once).model.proto
    names = [node.name for node in converted(twice).model.proto.graph.node]
    assert len(names) == len(set(names))
    for one, other in zip(run(once, images()), run(twice, images()), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_name_of_a_node_or_a_value_is_no_name_for_a_cast():
    proto = parsed(
        'g (float[n] x) => (float[n] y, float[n] "x/float16/Cast_") '
        '{ ["x/float16/Cast"] r = Relu(x) ["y/float16/Cast"] y = Neg(r) ["y/Cast"] "x/float16/Cast_" = Abs(r) }'
    )
    nodes = converted(proto).model.proto.graph.node
    names = [node.name for node in nodes]
    values = {name for node in nodes for name in (*node.input, *node.output)}
    assert len(names) == len(set(names))
    assert values.isdisjoint(names)
    run(converted(proto).model.proto, {"x": np.ones(2, np.float32)})


def test_nodes_without_a_name_or_with_the_same_are_told_by_what_they_make():
    proto = parsed("g (float[n] x) => (float[n] y) { [a] p = Relu(x) [a] q = Neg(p) y = Abs(q) }")
    assert set(converted(proto, dict.fromkeys("xpqy", (0, 1e9))).kept_nodes) == {"a", "q", "y"}


def test_an_initializer_that_callers_can_override_stays_an_input_in_float32():
    proto = parsed("g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Mul(x, w) }")
    half = converted(proto)
    assert half.tensors[0].kept == "an input may override it"
    assert half.model.proto.graph.input == proto.graph.input
    feeds = {"x": np.ones(2, np.float32), "w": np.array([3, 4], np.float32)}
    np.testing.assert_array_equal(run(half.model.proto, feeds)[0], [3, 4])


def test_before_ir_version_4_initializers_are_inputs_by_rule_and_are_converted():
    proto = parsed("g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Mul(x, w) }")
    proto.ir_version = 3
    half = converted(proto)
    assert half.tensors[0].kept is None
    assert [value.name for value in half.model.proto.graph.input] == ["x"]
    assert_close(half, proto, {"x": np.ones(2, np.float32)})


def test_types_that_the_model_tells_inside_are_told_anew():
    proto = onnx.shape_inference.infer_shapes(network())
    proto.graph.value_info.append(helper.make_tensor_value_info("dense/kernel", TensorProto.FLOAT, [4, 3]))
    half = converted(proto)
    assert {info.type.tensor_type.elem_type for info in half.model.proto.graph.value_info} == {TensorProto.FLOAT16}


def test_an_output_that_is_a_constant_and_tensors_of_other_types_are_left():
    proto = parsed(
        "g (double[2] x) => (float[1] w, double[2] y) <float[1] w = {0.1}, double[2] d = {1, 2}, float[1] no = {1}> "
        "{ y = Mul(x, d) }"
    )
    half = converted(proto)
    assert {tensor.name: tensor.kept for tensor in half.tensors} == {
        "w": "it is read in float32 only",
        "d": "DOUBLE is not converted",
        "no": "no node reads it",
    }
    assert half.casts == 0


def test_nodes_of_a_float64_model_are_not_said_to_be_kept_in_float32():
    proto = parsed(
        "g (double[n] x) => (double[n] y) <double eps = {1e-300}, double huge = {1e300}> "
        "{ [add] a = Add(x, eps) [log] b = Log(a) [mul] c = Mul(b, huge) [div] y = Div(c, a) }"
    )
    half = converted(proto, {"a": (1e-300, 1), "c": (-1e303, 1e303)})
    assert (half.kept_nodes, half.casts) == ({}, 0)
    assert {tensor.kept for tensor in half.tensors} == {"DOUBLE is not converted"}
    assert half.model.proto.graph.node == proto.graph.node


# --- external data ---


@pytest.mark.parametrize("ranges", [None, {"y": (0, 1e5)}], ids=["all float16", "read in both types"])
def test_external_data_stays_external_and_is_converted(tmp_path, ranges):
    proto = network()
    proto.graph.node.append(helper.make_node("MatMul", ["e", "dense/kernel"], ["z"]))
    proto.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3]))
    inside = converted(proto, ranges).model.proto
    half = convert_to_half(saved_outside(proto, tmp_path / "m.onnx"), ranges)
    save_model(half.model, tmp_path / "half.onnx")
    written = onnx.load(tmp_path / "half.onnx", load_external_data=False)
    assert {t.data_location for t in written.graph.initializer} == {TensorProto.EXTERNAL}
    loaded = onnx.load(tmp_path / "half.onnx")
    onnx.checker.check_model(str(tmp_path / "half.onnx"), full_check=True)
    for one, other in zip(loaded.graph.initializer, inside.graph.initializer, strict=True):
        assert (one.name, one.data_type) == (other.name, other.data_type)
        np.testing.assert_array_equal(numpy_helper.to_array(one), numpy_helper.to_array(other))
    assert loaded.graph.node == inside.graph.node
    for one, other in zip(run(loaded, images()), run(inside, images()), strict=True):
        np.testing.assert_array_equal(one, other)


def test_values_replaced_before_are_the_ones_converted_and_carried_over(tmp_path):
    proto = parsed("g (float[2] x) => (float[2] y) <int64[1] s = {2}, float[2] w = {1, 2}> { r = Reshape(x, s) "
                   "c = Constant<value = float[1] {1}>() a = Add(r, c) y = Mul(a, w) }")  # fmt: skip
    model = saved_outside(proto, tmp_path / "m.onnx")
    places = {held.name: held.position for held in model.tensors()}
    replaced = {places["w"]: np.array([5, 7], np.float32), places["s"]: np.array([-1])}
    half = convert_to_half(OnnxModel(proto=model.proto, folder=model.folder, replaced=replaced), {"y": (0, 1e5)})
    held = {held.name: half.model.values(held) for held in half.model.tensors()}
    np.testing.assert_array_equal(held["w"], [5, 7])
    np.testing.assert_array_equal(held["s"], [-1])
    assert len(half.model.replaced) == len(list(half.model.replaced))
    save_model(half.model, tmp_path / "half.onnx")
    found = run(onnx.load(tmp_path / "half.onnx"), {"x": np.ones(2, np.float32)})
    np.testing.assert_array_equal(found[0], [10, 14])


# --- refusals ---


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "g (float[n] x, bool c) => (float[n] y) { y = If (c) <then_branch = a () => (float[n] p) { p = Relu(x) }, "
            "else_branch = b () => (float[n] q) { q = Neg(x) }> }",
            "the model has subgraphs or functions (If)",
        ),
        ("g (float[2] x) => (float[2] y) <float[2] w = {1, 0}> { y = Gemm(x, w) }", "the model is not valid ONNX"),
        (
            "g (float[2] x) => (float[2] y) <int64 i = {1}> { s = SequenceConstruct(x, x) y = SequenceAt(s, i) }",
            "the type of 's', which SequenceConstruct makes, is not known",
        ),
    ],
)
def test_what_cannot_be_converted_is_refused_with_a_remedy(text, problem):
    with pytest.raises(ModelError) as caught:
        converted(parsed(text))
    assert caught.value.problem.startswith(problem)
    assert caught.value.remedy == "deploy it with --form packed, or leave it in float32"


def test_functions_and_sparse_initializers_are_refused():
    functions = network()
    functions.functions.add(name="f", domain="d")
    with pytest.raises(ModelError, match=r"subgraphs or functions \(functions\)"):
        converted(functions)
    sparse = network()
    sparse.graph.sparse_initializer.add()
    with pytest.raises(ModelError, match="the model has sparse initializers"):
        converted(sparse)


def test_an_old_opset_is_refused():
    with pytest.raises(ModelError, match="of opset 10, the float16 form needs 11 or newer") as caught:
        converted(parsed("g (float[n] x) => (float[n] y) { y = Relu(x) }", opset=10))
    assert "export it again with opset 11" in caught.value.remedy


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(bad):
    proto = network()
    values = np.full((4, 2, 3, 3), bad, np.float32)
    place = next(tensor for tensor in proto.graph.initializer if tensor.name == "conv/kernel")
    place.CopyFrom(numpy_helper.from_array(values, "conv/kernel"))
    with pytest.raises(ModelError, match="the weights 'conv/kernel' hold 72 NaN or infinite values") as caught:
        converted(proto)
    assert caught.value.remedy == "repair the model"


def test_ranges_of_another_model_are_refused():
    with pytest.raises(ModelError, match="a range is given for 'other', which the model has not") as caught:
        converted(network(), {"other": (0, 1)})
    assert caught.value.remedy == "observe the ranges on the model to convert"


def test_a_guard_that_float16_makes_zero_stays_in_float32_with_all_that_needs_it():
    proto = parsed("""g (float[n, 4] x) => (float[n, 4] y)
        { r = Relu(x)  s = Add(r, eps)  l = Log(s)  y = Neg(l) }""")
    proto.graph.initializer.append(numpy_helper.from_array(np.float32([1e-12]), "eps"))
    half = converted(proto)
    assert {"s", "l"} <= set(half.kept_nodes)
    assert np.isfinite(run(half.model.proto, {"x": np.float32([[-1, 0, 1, 2]])})[0]).all()
