"""The law: a sweep gives every variant's outputs as sessions of their own do, bit for bit."""

import time
import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tests.sweep.conftest import (
    SETTINGS,
    Counting,
    as_model,
    assert_equal,
    assert_law,
    batches,
    changed,
    parsed,
    position,
    residual_network,
)

from precbench.errors import ModelError, TargetError, UsageError
from precbench.graph import OnnxModel, Plan, list_initializers, load_model
from precbench.runtime import SessionSettings
from precbench.sweep import Batches, Limits, Meter, Variant, Way, passes, rounded_variant, run_plain, runners, sweep
from precbench.sweep.base import Terms, open_base

CUTTING_PAYS = passes.cutting_pays
KERNELS = [
    "stem/kernel",
    *(f"{block}/{part}/kernel" for block in ("one", "two") for part in ("expand", "depth", "project")),
    "head/kernel",
]


# --- models ---


def test_each_layer_of_a_residual_network_at_several_decimals(network: OnnxModel) -> None:
    variants = [
        rounded_variant(f"{name} {decimals}", network, Plan.of_decimals({name: decimals}))
        for name in KERNELS
        for decimals in (1, 3, 7)
    ]
    found = assert_law(network, variants)
    assert {one.way for name, one in found.items() if not name.startswith("head")} == {Way.FED}
    assert {one.way for name, one in found.items() if name.startswith("head")} == {Way.FIXED}
    shares = [found[f"{name} 3"].share for name in KERNELS]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.2


def test_several_layers_together(network: OnnxModel) -> None:
    sets = [KERNELS, KERNELS[2:4], ["one/depth/kernel", "two/project/kernel"], ["two/expand/kernel", "head/kernel"]]
    assert_law(network, [changed(network, *names) for names in sets])


def test_batch_normalisation_and_biases_that_are_folded_away(network: OnnxModel) -> None:
    names = ["one/depth/gamma", "one/project/beta", "two/expand/variance", "two/expand/mean", "head/bias"]
    found = assert_law(network, [changed(network, name) for name in names])
    assert found["two/expand/mean"].way is Way.FED


@pytest.mark.parametrize("channels", [8, 6], ids=["half a block of channels", "channels that fill no block"])
def test_channels_that_do_not_fill_the_blocked_layout(channels: int) -> None:
    model = residual_network(channels=channels)
    assert_law(model, [changed(model, name) for name in KERNELS])


@pytest.mark.parametrize("level", ["disable", "basic", "extended"])
def test_other_optimization_levels(network: OnnxModel, level: str) -> None:
    options = SessionSettings(optimization_level=level)
    rows, variants = batches(network), [changed(network, name) for name in KERNELS[2:]]
    for one in sweep(network, variants, rows, options):
        variant = next(each for each in variants if each.name == one.variant)
        assert_equal(one.outputs, run_plain(network, variant, rows, options))
        assert one.way is not Way.WHOLE


def test_a_fixed_batch_is_filled_up(network: OnnxModel) -> None:
    model = residual_network(batch=4)
    found = assert_law(model, [changed(model, name) for name in KERNELS[3:]], batches(model, rows=10, size=4))
    assert all(len(one.outputs["y"]) == 10 for one in found.values())
    assert_law(model, [changed(model, "two/depth/kernel")], batches(model, rows=5, size=3))


def test_one_batch_that_holds_all(network: OnnxModel) -> None:
    assert_law(network, [changed(network, "two/depth/kernel")], batches(network, rows=3, size=64))


def test_outputs_before_the_cut_are_the_bases() -> None:
    model = parsed(
        """g (float[n, 4] x) => (float[n, 4] early, float[n, 4] late, float[n, 4] aside)
        <float[4,4] v = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7}, float[4,4] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7}>
        { early = MatMul(x, v) aside = Exp(x) late = MatMul(early, w) }"""
    )
    found = assert_law(model, [changed(model, "w"), changed(model, "v")])
    plain = run_plain(model, Variant(name="base", values=dict), batches(model), SETTINGS)
    assert found["w"].outputs["early"].tobytes() == plain["early"].tobytes()
    assert found["v"].outputs["early"].tobytes() != plain["early"].tobytes()


def branching_network() -> OnnxModel:
    """Two branches from one value: ONNX Runtime writes such graphs in an order that changes from time to time."""
    rng = np.random.default_rng(0)
    shapes = {"a": (16, 16, 1, 1), "b": (16, 16, 3, 3), "c": (16, 16, 1, 1), "d": (16, 16, 1, 1), "e": (16, 16, 1, 1)}
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["v"]),
        helper.make_node("Relu", ["v"], ["r"]),
        helper.make_node("Conv", ["r", "b"], ["one"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["r", "c"], ["two"]),
        helper.make_node("AveragePool", ["r"], ["pool"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["pool", "d"], ["three"]),
        helper.make_node("GlobalAveragePool", ["r"], ["mean"]),
        helper.make_node("Conv", ["mean", "e"], ["gate"]),
        helper.make_node("Sigmoid", ["gate"], ["open"]),
        helper.make_node("Mul", ["r", "open"], ["four"]),
        helper.make_node("Concat", ["one", "two", "three", "four"], ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "branches",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64, 6, 6])],
        [numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name) for name, shape in shapes.items()],
    )
    return as_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10))


def test_branches_are_cut_whatever_order_they_are_written_in() -> None:
    model = branching_network()
    for _ in range(3):
        found = assert_law(model, [changed(model, name) for name in "abcde"], batches(model, rows=3))
        assert {one.way for one in found.values()} == {Way.FED}


def test_a_tensor_that_several_nodes_share() -> None:
    model = parsed(
        """g (float[n, 2] x) => (float[n, 2] y) <float[2,2] w = {1,2,3,4}>
        { a = MatMul(x, w) b = Tanh(a) c = MatMul(b, w) y = Add(c, x) }"""
    )
    assert_law(model, [changed(model, "w")])


def test_a_weight_that_is_rearranged_first() -> None:
    model = parsed(
        """g (float[n, 2] x) => (float[n, 3] y) <float[2,2] v = {1,2,3,4}, float[3,2] w = {1,2,3,4,5,6}>
        { a = MatMul(x, v) t = Transpose(w) y = MatMul(a, t) }"""
    )
    assert_law(model, [changed(model, "w"), changed(model, "v")])


def test_gemm_and_transposed_convolution() -> None:
    model = parsed(
        """g (float[n, 2, 4, 4] x) => (float[n, 3] y)
        <float[2,2,2,2] up = {1,2,3,4,5,6,7,8,8,7,6,5,4,3,2,1}, float[2] bias = {1,2},
         float[3,2] w = {1,2,3,4,5,6}, float[3] c = {1,2,3}>
        { a = ConvTranspose(x, up, bias) r = Relu(a) p = GlobalAveragePool(r) f = Flatten(p)
          y = Gemm <transB = 1> (f, w, c) }"""
    )
    found = assert_law(model, [changed(model, name) for name in ("up", "bias", "w", "c")])
    assert found["w"].way is Way.FIXED


def test_a_recurrent_layer() -> None:
    rng = np.random.default_rng(0)
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
            helper.make_node("LSTM", ["t", "w", "r", ""], ["seq", "last"], hidden_size=4),
            helper.make_node("Squeeze", ["last", "axes"], ["flat"]),
            helper.make_node("MatMul", ["flat", "head"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(rng.normal(size=(1, 16, 3)).astype(np.float32), "w"),
            numpy_helper.from_array(rng.normal(size=(1, 16, 4)).astype(np.float32), "r"),
            numpy_helper.from_array(rng.normal(size=(4, 2)).astype(np.float32), "head"),
            numpy_helper.from_array(np.array([0], np.int64), "axes"),
        ],
    )
    model = as_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10))
    data = np.random.default_rng(3).normal(size=(5, 5, 3)).astype(np.float32)
    rows = Batches(rows=5, size=2, make=lambda start, stop: {"x": data[start:stop]})
    assert_law(model, [changed(model, name) for name in ("w", "r", "head")], rows)


def test_subgraphs_that_read_from_outside() -> None:
    model = parsed(
        """g (float[n, 2] x) => (float[n, 2] y) <float[2] w = {1,2}, float[2] late = {3,4}>
        { a = Exp(x) b = Neg(x) s = ReduceSum <keepdims = 0> (x) z = Constant <value_float = 0.0> () q = Greater(s, z)
          c = If (q) <
            then_branch = t () => (float[n, 2] o) <float[2] inner = {5,6}> { p = Add(a, inner) o = Mul(p, w) },
            else_branch = e () => (float[n, 2] i) { i = Identity(b) }
          >
          y = Mul(c, late) }"""
    )
    found = assert_law(model, [changed(model, name) for name in ("w", "inner", "late")])
    assert found["late"].way is Way.FIXED


def test_shapes_that_are_computed() -> None:
    model = parsed(
        """g (float[n, 2, 3] x) => (float[n, 3] y) <float[6,3] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}>
        { s = Shape(x) i = Constant <value = int64[1] {0}> () n = Gather(s, i) m = Constant <value = int64[1] {-1}> ()
          t = Concat <axis = 0> (n, m) f = Reshape(x, t) y = MatMul(f, w) }"""
    )
    assert_law(model, [changed(model, "w")])


def test_initializers_that_can_be_overridden(network: OnnxModel) -> None:
    for tensor in network.proto.graph.initializer:
        network.proto.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    found = assert_law(network, [changed(network, name) for name in KERNELS])
    assert all(one.way is Way.FIXED for one in found.values())


def test_inputs_that_nothing_reads_once_it_is_folded() -> None:
    """Before IR version 4 each initializer is an input too, and stays one in ONNX Runtime's graph."""
    model = parsed(
        """g (float[n, 2] x, float[2,2] v, float[2,2] w, int64[1] shape) => (float[n, 2] y)
        <float[2,2] v = {1,2,3,4}, float[2,2] w = {5,6,7,8}, int64[1] shape = {2}>
        { k = ConstantOfShape(shape) a = MatMul(x, v) b = Tanh(a) c = Add(b, k) y = MatMul(c, w) }"""
    )
    model.proto.ir_version = 3
    found = assert_law(model, [changed(model, "v"), changed(model, "w")])
    assert found["w"].way is Way.FIXED


def test_weights_that_are_values_of_nodes() -> None:
    model = parsed(
        """g (float[n, 2] x) => (float[n, 2] y)
        { v = Constant <value = float[2,2] {1,2,3,4}> () w = Constant <value = float[2,2] {5,6,7,8}> ()
          a = MatMul(x, v) b = Tanh(a) y = MatMul(b, w) }"""
    )
    assert_law(model, [changed(model, "v"), changed(model, "w")])


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floating_types(dtype: type) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    weights = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(dtype)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "v"], ["a"]),
            helper.make_node("Tanh", ["a"], ["b"]),
            helper.make_node("MatMul", ["b", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", kind, ["n", 3])],
        [helper.make_tensor_value_info("y", kind, ["n", 3])],
        [numpy_helper.from_array(array, name) for array, name in zip(weights, "vw", strict=True)],
    )
    model = as_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10))
    assert_law(model, [changed(model, "v"), changed(model, "w")])


def test_a_quantized_model() -> None:
    model = parsed(
        """g (float[n, 4] x) => (float[n, 4] y)
        <float[4,4] v = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7}, float[4,4] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7},
         float s = {0.05}, float t = {0.1}, int8 zero = {0}>
        { a = MatMul(x, v) q = QuantizeLinear(a, s, zero) d = DequantizeLinear(q, s, zero)
          qw = QuantizeLinear(w, t, zero) dw = DequantizeLinear(qw, t, zero) y = MatMul(d, dw) }"""
    )
    assert_law(model, [changed(model, "v"), changed(model, "w"), changed(model, "t")])


def test_external_data(network: OnnxModel, tmp_path: Any) -> None:
    onnx.save(network.proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=100)
    model = load_model(tmp_path / "m.onnx")
    assert_law(model, [changed(model, "one/depth/kernel"), changed(model, "head/kernel")])


def test_values_that_are_no_numbers_have_bits_too() -> None:
    model = parsed(
        """g (float[n, 2] x) => (float[n, 2] y) <float[2] v = {1,2}, float[2] w = {1,2}>
        { a = Mul(x, v) l = Log(a) y = Mul(l, w) }"""
    )
    assert_law(model, [changed(model, "w"), changed(model, "w", to=lambda v: -v * np.nan)][:1])
    assert_law(model, [changed(model, "w", to=lambda values: np.full_like(values, np.nan))])


# --- what is not cut ---


def test_random_numbers_run_whole() -> None:
    model = parsed(
        """g (float[n, 2] x) => (float[n, 2] y) <float[2] w = {1,2}>
        { r = RandomUniformLike <seed = 1.0> (x) a = Add(x, r) y = Mul(a, w) }"""
    )
    found = assert_law(model, [changed(model, "w")])
    assert (found["w"].way, found["w"].share) == (Way.WHOLE, 1)
    assert "random" in (found["w"].why or "")


def test_a_value_that_the_optimizer_looks_at_runs_whole() -> None:
    model = parsed(
        """g (float[n, 2] x) => (float[n, 2] y) <float one = {2}, float[2] w = {1,2}>
        { a = Exp(x) b = Mul(a, one) y = Add(b, w) }"""
    )
    to_one = changed(model, "one", to=np.ones_like)
    found = assert_law(model, [to_one, Variant(name="half", values=changed(model, "one", to=lambda v: v / 4).values)])
    assert found["one"].way is Way.WHOLE
    assert "another graph" in (found["one"].why or "")
    assert found["half"].way is Way.FIXED


def test_a_value_that_is_no_tensor_cannot_cross() -> None:
    model = parsed(
        """g (float[n, 2] x) => (float[n, 2] y) <float[2] w = {1,2}>
        { a = Exp(x) s = SequenceConstruct(a, x) p = Mul(x, w) k = Cast <to = 7> (p)
          j = ReduceSum <keepdims = 0> (k) m = Sub(j, j) y = SequenceAt(s, m) }"""
    )
    found = assert_law(model, [changed(model, "w")])
    assert found["w"].way is Way.WHOLE
    assert "not a tensor" in (found["w"].why or "")


def test_a_tensor_that_is_an_output_runs_whole() -> None:
    model = parsed("g (float[1, 2] x) => (float[1, 2] y, float[1, 2] w) <float[1, 2] w = {1,2}> { y = Mul(x, w) }")
    assert assert_law(model, [changed(model, "w")], batches(model, rows=1))["w"].way is Way.WHOLE


def test_what_is_not_proved_is_not_used(network: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Gemm computes other bits with a weight that is fed: the proof finds out, and a session of its own is made."""
    monkeypatch.setattr(runners, "_READ_ALIKE", runners._READ_ALIKE | {"Gemm", "MatMul"})
    model = parsed(
        "g (float[n, 300] x) => (float[n, 3] y) <float[300, 3] w = {" + "1," * 899 + "1}> { y = MatMul(x, w) }"
    )
    weights = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    model.proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
    assert assert_law(model, [changed(model, "w")])["w"].way is Way.FIXED


@pytest.mark.parametrize("module", ["runners", "passes"])
def test_without_a_proof_everything_runs_whole(
    network: OnnxModel, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setattr(f"precbench.sweep.{module}.is_proved", lambda *_what: False)
    found = assert_law(network, [changed(network, name) for name in KERNELS[2:4]])
    assert {one.way for one in found.values()} == {Way.WHOLE}
    assert all(one.why for one in found.values())


def test_a_graph_that_cannot_be_written_runs_whole(network: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_what: Any) -> None:
        raise ModelError("it is over 2 GiB", "make it smaller")

    monkeypatch.setattr("precbench.sweep.base.save_optimized", refuse)
    found = assert_law(network, [changed(network, "stem/kernel")])
    assert found["stem/kernel"].why == "it is over 2 GiB"


def test_few_images_run_whole(network: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("precbench.sweep.passes.cutting_pays", CUTTING_PAYS)
    started: list[list[str]] = []
    found = assert_law(network, [changed(network, name) for name in KERNELS], started=started.append)
    assert [sorted(names) for names in started] == [sorted(KERNELS)]
    assert {one.way for one in found.values()} == {Way.WHOLE}
    assert "few images" in (found["stem/kernel"].why or "")


@pytest.mark.parametrize(("batch_s", "share", "pays"), [(0.01, 0.5, False), (0.03, 0.5, True), (0.03, 1.0, False)])
def test_cutting_pays_where_it_spares_more_than_it_takes(
    network: OnnxModel, tmp_path: Path, batch_s: float, share: float, pays: bool
) -> None:
    """Ten batches, two workers; to optimize takes 0.06 seconds."""
    terms = Terms(
        batches=batches(network, rows=20), settings=SETTINGS, limits=Limits(), workers=2, meter=Meter(),
        folder=tmp_path, start_bytes=0,
    )  # fmt: skip
    base = replace(open_base(network, terms), batch_s=batch_s, optimizing_s=0.06)
    assert CUTTING_PAYS(base, share) is pays


@pytest.mark.parametrize(("rows", "proved"), [(5, [2, 1]), (4, [2]), (2, [2]), (1, [1])])
def test_the_first_batch_and_an_incomplete_last_one_are_proofs(
    network: OnnxModel, tmp_path: Path, rows: int, proved: list[int]
) -> None:
    terms = Terms(
        batches=batches(network, rows=rows), settings=SETTINGS, limits=Limits(), workers=1, meter=Meter(),
        folder=tmp_path, start_bytes=0,
    )  # fmt: skip
    assert [proof.batch.rows for proof in open_base(network, terms).proofs] == proved


# --- what is not run ---


def test_what_changes_nothing_is_the_base(network: OnnxModel) -> None:
    same = changed(network, "stem/kernel", to=np.copy)
    found = assert_law(network, [same, Variant(name="base", values=dict), changed(network, "head/kernel")])
    assert [found[name].way for name in ("stem/kernel", "base", "head/kernel")] == [Way.BASE, Way.BASE, Way.FIXED]
    assert found["base"].outputs["y"] is found["stem/kernel"].outputs["y"]


def test_a_zero_of_another_sign_is_a_change() -> None:
    model = parsed("g (float[n, 2] x) => (float[n, 2] y) <float[2] w = {0,2}> { a = Abs(x) y = Mul(a, w) }")
    found = assert_law(model, [changed(model, "w", to=lambda values: values * np.array([-1, 1], np.float32))])
    assert found["w"].way is Way.FIXED


def test_what_changes_nothing_once_it_is_folded_is_the_base() -> None:
    model = parsed(
        """g (float[n, 2] x) => (float[n, 2] y) <float[2] w = {1,2}, float[2] tiny = {1e-30, 1e-30}>
        { s = Add(w, tiny) y = Mul(x, s) }"""
    )
    found = assert_law(model, [changed(model, "tiny"), changed(model, "w")])
    assert [found[name].way for name in ("tiny", "w")] == [Way.BASE, Way.FIXED]


def test_what_reaches_no_output_is_the_base() -> None:
    model = parsed("g (float[n, 2] x) => (float[n, 2] y) <float[2] w = {1,2}> { unused = Mul(x, w) y = Neg(x) }")
    again = Variant(name="again", values=changed(model, "w").values)
    found = assert_law(model, [changed(model, "w"), again])
    assert [found[name].way for name in ("w", "again")] == [Way.BASE, Way.TWIN]


def test_variants_with_the_same_values_run_once(network: OnnxModel) -> None:
    first = changed(network, "one/depth/kernel")
    found = assert_law(network, [first, Variant(name="again", values=first.values)])
    assert found["again"].way is Way.TWIN
    assert found["again"].outputs["y"] is found["one/depth/kernel"].outputs["y"]


# --- how it goes ---


def all_layers(model: OnnxModel, *decimals: int) -> list[Variant]:
    return [
        rounded_variant(f"{name} {number}", model, Plan.of_decimals({name: number}))
        for name in KERNELS
        for number in decimals
    ]


@pytest.mark.parametrize(
    "limits",
    [
        Limits(sessions_bytes=1),
        Limits(activations_bytes=1),
        Limits(sessions_bytes=1, activations_bytes=1, pass_s=1e-9),
        Limits(pass_s=1e-9),
    ],
    ids=["no room", "a batch at a time", "nothing at all", "no time"],
)
def test_limits_change_nothing_but_how_it_goes(network: OnnxModel, limits: Limits) -> None:
    assert_law(network, all_layers(network, 1, 2)[3:12], batches(network, rows=7), limits=limits)


def test_a_family_that_takes_too_long_for_a_pass_goes_on_in_the_next(network: OnnxModel) -> None:
    """A pass lasts ten times as long as the base at the least: so many variants of the stem, which reach it all."""
    kernel = next(held for held in network.tensors() if held.value == "stem/kernel")
    many = [
        Variant(name=str(factor), values=lambda factor=factor: {kernel.position: network.values(kernel) * factor})
        for factor in np.linspace(0.5, 1.5, 24, dtype=np.float32)
    ]
    passes_: list[int] = []
    limits = Limits(pass_s=1e-9)
    assert_law(network, many, limits=limits, started=lambda names: passes_.append(len(names)))
    assert len(passes_) > 1
    assert sum(passes_) == len(many)


def test_what_was_captured_for_a_block_is_gone_before_the_next(
    network: OnnxModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[Any]] = []
    most = 0

    def capture(*what: Any) -> Any:
        nonlocal most
        most = max(most, sum(1 for each in alive if each() is not None))
        found = runners.capture(*what)
        alive.extend(weakref.ref(array) for array in found.values())
        return found

    monkeypatch.setattr(passes, "capture", capture)
    assert_law(network, all_layers(network, 1)[2:], batches(network, rows=20), limits=Limits(activations_bytes=1))
    assert len(alive) > 50
    assert most == 0


def test_after_a_failure_no_group_is_begun(network: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = Counter[str]()

    def fail(*_what: Any) -> int:
        begun["groups"] += 1
        time.sleep(0.1)
        raise ModelError("it fails", "mend it")

    monkeypatch.setattr(passes, "_run_group", fail)
    variants = all_layers(network, 1)
    with pytest.raises(ModelError, match="it fails"):
        list(sweep(network, variants, batches(network), SETTINGS, workers=2))
    assert begun["groups"] <= 4 < len(variants)  # each worker may begin another before the failure is seen


def test_workers_change_no_bit(network: OnnxModel) -> None:
    variants = [*all_layers(network, 1, 2), changed(network, *KERNELS)]
    assert_law(network, variants, batches(network, rows=9), workers=3, limits=Limits(activations_bytes=1 << 14))


def test_a_failing_worker_stops_the_sweep(network: OnnxModel) -> None:
    inner, calls = batches(network, rows=40), Counter[int]()

    def make(start: int, stop: int) -> Any:
        calls[start] += 1
        if start == 10:
            raise ModelError("the images end here", "give more")
        time.sleep(0.02)
        return inner.make(start, stop)

    rows = Batches(rows=40, size=2, make=make)
    with pytest.raises(ModelError, match="the images end here"):
        list(sweep(network, all_layers(network, 1), rows, SETTINGS, workers=2))
    assert sum(calls.values()) < 20


def test_a_pass_is_over_before_the_next_begins(network: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("precbench.sweep.passes.resident_bytes", lambda: 1 << 40)  # room for a variant a pass
    events: list[str] = []
    rows = batches(network)
    variants = [*all_layers(network, 1), Variant(name="base", values=dict)]
    variants.append(Variant(name="twin", values=variants[0].values))
    for one in sweep(network, variants, rows, SETTINGS, started=lambda names: events.extend(["|", *names])):
        events.append(f"{one.variant} done")
    assert Counter(events)["|"] == len(KERNELS) + 1
    assert events[:3] == ["|", "base", "base done"]
    assert events[3:8] == ["|", "stem/kernel 1", "twin", "stem/kernel 1 done", "twin done"]
    finished = [events.index(f"{variant.name} done") - events.index(variant.name) for variant in variants]
    assert all(0 < distance <= 2 for distance in finished)


def test_images_are_made_once_per_pass_besides_the_proof(network: OnnxModel) -> None:
    made: list[int] = []
    inner = batches(network, rows=6)

    def make(start: int, stop: int) -> Any:
        made.append(start)
        return inner.make(start, stop)

    rows = Batches(rows=6, size=2, make=make)
    assert len(list(sweep(network, all_layers(network, 1, 3)[:-2], rows, SETTINGS))) == 14
    assert made == [0, 0, 2, 4]


def test_the_order_is_from_the_input_on(network: OnnxModel) -> None:
    found = sweep(network, all_layers(network, 1)[::-1], batches(network), SETTINGS)
    assert [one.variant for one in found] == [f"{name} 1" for name in KERNELS]


def test_progress_counts_every_row_of_every_variant_once(network: OnnxModel) -> None:
    progress = Counting()
    variants = [*all_layers(network, 1), Variant(name="base", values=dict)]
    list(sweep(network, variants, batches(network), SETTINGS, progress=progress))
    assert progress.total == progress.done == 5 * len(KERNELS)


def test_the_meter_knows_where_the_time_went(network: OnnxModel) -> None:
    meter = Meter()
    list(sweep(network, all_layers(network, 1), batches(network), SETTINGS, meter=meter))
    assert meter.spent_s.keys() == {
        "inputs", "optimizing", "sessions", "proofs", "before the cut", "behind the cut",
    }  # fmt: skip
    assert all(spent_s > 0 for spent_s in meter.spent_s.values())


def test_nothing_is_left_in_the_temporary_folder(
    network: OnnxModel, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    list(sweep(network, all_layers(network, 1)[:2], batches(network), SETTINGS))
    stopped = sweep(network, all_layers(network, 1), batches(network), SETTINGS, limits=Limits(sessions_bytes=1))
    next(stopped)
    stopped.close()
    assert list(tmp_path.iterdir()) == []


def test_no_variants_run_nothing(network: OnnxModel) -> None:
    assert list(sweep(network, [], batches(network), SETTINGS)) == []


# --- refusals ---


@pytest.mark.parametrize("workers", [0, 1025])
def test_a_number_of_workers_out_of_range_is_refused(network: OnnxModel, workers: int) -> None:
    with pytest.raises(UsageError, match=r"outside 1..1024"):
        list(sweep(network, [changed(network, "stem/kernel")], batches(network), SETTINGS, workers=workers))


def test_two_variants_of_one_name_are_refused(network: OnnxModel) -> None:
    one = changed(network, "stem/kernel")
    with pytest.raises(UsageError, match=r"two variants have the name 'stem/kernel'\n.*name of its own"):
        list(sweep(network, [one, one], batches(network), SETTINGS))


def test_values_for_a_tensor_that_is_not_there_are_refused(network: OnnxModel) -> None:
    stray = Variant(name="stray", values=lambda: {999: np.ones(1, np.float32)})
    with pytest.raises(UsageError, match=r"'stray' has values for the tensor 999.*\n.*for this model"):
        list(sweep(network, [stray], batches(network), SETTINGS))


def test_values_of_another_shape_are_refused(network: OnnxModel) -> None:
    stray = Variant(name="stray", values=lambda: {position(network, "head/bias"): np.ones(1, np.float32)})
    with pytest.raises(TargetError, match="'head/bias'"):
        list(sweep(network, [stray], batches(network), SETTINGS))


def test_an_output_without_a_row_per_input_row_is_refused_as_the_plain_path_does() -> None:
    model = parsed(
        """g (float[n, 2] x) => (float[2] y) <float[2] w = {1,2}, int64[1] k = {0}>
        { a = Mul(x, w) y = ReduceSum <keepdims=0> (a, k) }"""
    )
    variant, rows = changed(model, "w"), batches(model, rows=6, size=3)
    with pytest.raises(ModelError, match="batches cannot be joined"):
        run_plain(model, variant, rows, SETTINGS)
    with pytest.raises(ModelError, match="batches cannot be joined"):
        list(sweep(model, [variant], rows, SETTINGS))


# --- any small graph ---


@st.composite
def small_networks(draw: st.DrawFn) -> OnnxModel:
    """Convolutions, sums and activations over [n, 16, 4, 4], each on any earlier value; one or two outputs."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    arrays: dict[str, NDArray[Any]] = {}
    nodes, known = [helper.make_node("Identity", ["x"], ["v"])], ["v"]
    for index in range(draw(st.integers(2, 8))):
        source, other = draw(st.sampled_from(known)), draw(st.sampled_from(known))
        kind = draw(st.sampled_from(["Conv", "Conv", "Conv", "Depthwise", "BatchNormalization", "Add", "Relu", "Mul"]))
        inputs, attributes = [source], {}
        if kind in ("Conv", "Depthwise"):
            shape = (16, 16, 1, 1) if kind == "Conv" else (16, 1, 3, 3)
            attributes = {} if kind == "Conv" else {"group": 16, "pads": [1, 1, 1, 1]}
            arrays[f"w{index}"] = rng.normal(0, 0.3, shape).astype(np.float32)
            inputs.append(f"w{index}")
        elif kind == "BatchNormalization":
            for part in ("gamma", "beta", "mean", "var"):
                arrays[f"{part}{index}"] = rng.uniform(0.5, 2, 16).astype(np.float32)
                inputs.append(f"{part}{index}")
        elif kind == "Mul":
            arrays[f"w{index}"] = rng.normal(1, 0.3, (16, 1, 1)).astype(np.float32)
            inputs.append(f"w{index}")
        elif kind == "Add":
            inputs.append(other)
        op = "Conv" if kind == "Depthwise" else kind
        nodes.append(helper.make_node(op, inputs, [f"v{index}"], **attributes))
        known.append(f"v{index}")
    outputs = {known[-1], draw(st.sampled_from(known[1:]))}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16, 4, 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 16, 4, 4]) for name in sorted(outputs)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return as_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10))


@settings(max_examples=20, deadline=None)
@given(small_networks())
def test_any_tensor_of_any_small_network(model: OnnxModel) -> None:
    data = np.random.default_rng(2).normal(size=(3, 16, 4, 4)).astype(np.float32)
    rows = Batches(rows=3, size=2, make=lambda start, stop: {"x": data[start:stop]})
    names = [initializer.name for initializer in list_initializers(model)]
    if names:
        assert_law(
            model,
            [*(changed(model, name) for name in names), Variant(name="all", values=changed(model, *names).values)],
            rows,
        )
