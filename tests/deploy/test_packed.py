"""The packed form: the same values, in fewer bytes, by plain ONNX that ONNX Runtime folds away."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from precbench.deploy.packed.packing import Packed, pack
from precbench.deploy.stored import StoredTensor
from precbench.errors import ModelError
from precbench.graph import OnnxModel, load_model, save_model
from precbench.grids import round_to_decimals
from precbench.grids.step import StepGrid

LEVELS = (ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
REBUILD = {"Cast", "Div", "ScatterElements", "Reshape"}


def weights(*shape: int, decimals: int = 4, spread: float = 0.1, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)
    return round_to_decimals(values, decimals)


def with_spikes(values: np.ndarray, spike: float, count: int) -> np.ndarray:
    spiked = values.copy()
    spiked.reshape(-1)[:: max(1, values.size // count)][:count] = spike
    return spiked


def network(arrays: dict[str, np.ndarray], *, opset: int = 17, ir_version: int = 10) -> onnx.ModelProto:
    """Each array is read by an Identity, whose output `NAME/out` the model has; the batch is dynamic."""
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    nodes += [helper.make_node("Identity", [name], [f"{name}/out"]) for name in arrays]
    outputs = [
        helper.make_tensor_value_info(f"{name}/out", helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in arrays.items()
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2]), *outputs],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    model.metadata_props.add(key="author", value="someone")
    return model


def packed(proto: onnx.ModelProto) -> Packed:
    before = proto.SerializeToString(deterministic=True)
    done = pack(OnnxModel(proto=proto, folder=Path("nowhere")))
    assert proto.SerializeToString(deterministic=True) == before, "the model given was modified"
    onnx.checker.check_model(done.model.proto, full_check=True)
    return done


def session(proto: onnx.ModelProto, level: Any, optimized: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = level, 4
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def outputs_of(proto: onnx.ModelProto, feeds: dict[str, np.ndarray] | None = None) -> list[list[np.ndarray]]:
    """What the reference, ONNX Runtime as it is written and ONNX Runtime optimized make of a model."""
    feeds = feeds or {"x": np.ones((3, 2), np.float32)}
    by_runtime = [session(proto, level).run(None, feeds) for level in LEVELS]
    return [list(ReferenceEvaluator(proto).run(None, feeds)), *by_runtime]


def check_equal(proto: onnx.ModelProto, expected: Sequence[np.ndarray]) -> None:
    for results in outputs_of(proto):
        for result, wanted in zip(results[1:], expected, strict=True):
            assert result.dtype == wanted.dtype
            np.testing.assert_array_equal(result, wanted)


def check_same(before: onnx.ModelProto, after: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> None:
    """Bit for bit, but where ONNX Runtime folds nothing: it sums a product with a computed matrix in another order."""
    (reference, unfolded, folded), others = outputs_of(before, feeds), outputs_of(after, feeds)
    np.testing.assert_array_equal(reference[0], others[0][0])
    np.testing.assert_array_equal(folded[0], others[2][0])
    np.testing.assert_allclose(unfolded[0], others[1][0], rtol=1e-5, atol=1e-6)


def operators(proto: onnx.ModelProto, folder: Path) -> set[str]:
    """The operators that ONNX Runtime is left with after it has optimized a model."""
    session(proto, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, folder / "optimized.onnx")
    optimized = onnx.load(folder / "optimized.onnx")
    nodes = list(optimized.graph.node)
    inner = [a.g for node in nodes for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return {node.op_type for node in [*nodes, *(node for graph in inner for node in graph.node)]}


def names(proto: onnx.ModelProto) -> list[str]:
    return [tensor.name for tensor in proto.graph.initializer]


@settings(max_examples=25, deadline=None)
@given(
    grid=st.tuples(st.integers(0, 10), st.sampled_from([2, 40, 9000])),
    spikes=st.integers(0, 12),
    shape=st.sampled_from([(2000,), (40, 60), (16, 8, 3, 5)]),
    opset=st.sampled_from([11, 13, 17, 21, 23]),
    seed=st.integers(0, 2**16),
)
def test_rebuilt_weights_equal_the_rounded_ones(
    grid: tuple[int, int], spikes: int, shape: tuple[int, ...], opset: int, seed: int
) -> None:
    decimals, steps = grid
    values = weights(*shape, decimals=decimals, spread=steps / 10**decimals, seed=seed)
    if spikes:
        values = round_to_decimals(with_spikes(values, 2**24 / 10**decimals * 0.999, spikes), decimals)
    done = packed(network({"w": values}, opset=opset))
    assert done.tensors[0].kept is None
    assert done.tensors[0].bytes_after < done.tensors[0].bytes_before
    check_equal(done.model.proto, [values])


@settings(max_examples=100, deadline=None)
@given(
    step=st.tuples(st.sampled_from(["1", "1.25", "1.6", "2", "2.5", "3.15", "5", "8"]), st.integers(-5, -1)),
    spread=st.sampled_from([2, 25]),
    opset=st.sampled_from([11, 17, 21]),
    seed=st.integers(0, 2**16),
)
def test_steps_between_two_decimals_are_stored_by_their_own_codes(
    step: tuple[str, int], spread: int, opset: int, seed: int
) -> None:
    grid = StepGrid(str(Decimal(step[0]).scaleb(step[1])))
    rng = np.random.default_rng(seed)
    values = grid.nearest(rng.normal(0, spread * float(grid.step), (40, 60)).astype(np.float32))
    done = packed(network({"w": values}, opset=opset))
    check_equal(done.model.proto, [values])
    if (1 / Fraction(grid.step)).denominator == 1:  # else there is no whole number to divide by
        codes = np.rint(values / float(grid.step))
        assert done.tensors[0].bits <= (8 if np.abs(codes).max() < 128 else 16)


def test_the_step_is_named_as_what_the_values_lie_on() -> None:
    values = {name: StepGrid(name).nearest(weights(40, 60, decimals=6)) for name in ("0.05", "0.02", "0.0125")}
    values["0.001"] = weights(40, 60, decimals=3)
    done = packed(network(values))
    assert [tensor.grid for tensor in done.tensors] == [
        *({"step": name} for name in ("0.05", "0.02", "0.0125")),
        {"decimals": 3},
    ]


def test_a_tensor_within_a_type_is_stored_in_it() -> None:
    values = {"a/kernel": weights(30, 40, decimals=4), "b/kernel": weights(40, 50, decimals=2)}
    done = packed(network(values))
    first, second = done.tensors
    assert (first.dtype, first.bits, first.grid, first.exceptions) == ("INT16", 16, {"decimals": 4}, 0)
    assert (second.dtype, second.bits, second.grid, second.exceptions) == ("INT8", 8, {"decimals": 2}, 0)
    assert (first.bytes_before, second.elements) == (4800, 2000)
    kernel = {t.name: t for t in done.model.proto.graph.initializer}["b/kernel/codes"]
    np.testing.assert_array_equal(numpy_helper.to_array(kernel), np.rint(values["b/kernel"].astype(float) * 100))
    assert first.to_json() == {
        "name": "a/kernel", "elements": 1200, "dtype": "INT16", "grid": {"decimals": 4}, "bits": 16,
        "exceptions": 0, "bytes_before": 4800, "bytes_after": first.bytes_after, "kept": None,
    }  # fmt: skip
    check_equal(done.model.proto, list(values.values()))


def test_what_the_entries_say_is_gained_is_gained_in_the_file() -> None:
    values = {f"layer_{i}/kernel": with_spikes(weights(40, 50, seed=i, decimals=3), 9.5, i) for i in (1, 2, 3)}
    proto = network(values)
    done = packed(proto)
    gain = sum(t.bytes_before - t.bytes_after for t in done.tensors)
    assert gain > 11_000
    shrunk = proto.ByteSize() - done.model.proto.ByteSize()
    assert gain <= shrunk < gain + 300  # each entry counts a scale and the tensor's name and header of its own


def test_a_few_large_weights_are_stored_apart(tmp_path: Path) -> None:
    values = with_spikes(weights(50, 60, decimals=4), 7.8125, 5)
    done = packed(network({"w": values}))
    (stored,) = done.tensors
    assert (stored.dtype, stored.exceptions) == ("INT16", 5)
    tensors = {t.name: numpy_helper.to_array(t) for t in done.model.proto.graph.initializer}
    assert tensors["w/exceptions"].tolist() == [78125] * 5
    assert tensors["w/exceptions"].dtype == tensors["w/indices"].dtype == np.int32
    assert not tensors["w/codes"][tensors["w/indices"]].any()
    check_equal(done.model.proto, [values])
    assert not operators(done.model.proto, tmp_path) & REBUILD


def test_many_large_weights_take_the_wider_type() -> None:
    values = with_spikes(weights(50, 60, decimals=4, spread=0.001), 1.5, 1000)
    done = packed(network({"w": values}))
    assert (done.tensors[0].dtype, done.tensors[0].exceptions) == ("INT16", 0)
    check_equal(done.model.proto, [values])


@pytest.mark.parametrize(
    ("opset", "ir_version", "dtype"), [(21, 10, "INT4"), (23, 11, "INT4"), (20, 10, "INT8"), (21, 9, "INT8")]
)
def test_four_bits_are_used_where_the_model_may_have_them(
    opset: int, ir_version: int, dtype: str, tmp_path: Path
) -> None:
    values = weights(41, 61, decimals=1, spread=0.2).clip(-0.8, 0.7)  # an odd number of nibbles
    proto = network({"w": values}, opset=opset, ir_version=ir_version)
    done = packed(proto)
    assert done.tensors[0].dtype == dtype
    check_equal(done.model.proto, [values])
    assert not operators(done.model.proto, tmp_path) & REBUILD


def test_four_bits_with_exceptions_in_eight(tmp_path: Path) -> None:
    values = with_spikes(weights(50, 60, decimals=1, spread=0.1).clip(-0.8, 0.7), 1.2, 4)
    done = packed(network({"w": values}, opset=21))
    assert (done.tensors[0].dtype, done.tensors[0].exceptions) == ("INT4", 4)
    exceptions = {t.name: t for t in done.model.proto.graph.initializer}["w/exceptions"]
    assert exceptions.data_type == TensorProto.INT8
    check_equal(done.model.proto, [values])
    assert not operators(done.model.proto, tmp_path) & REBUILD


def test_whole_numbers_need_no_division() -> None:
    values = weights(50, 60, decimals=0, spread=20)
    done = packed(network({"w": values}))
    assert [n.op_type for n in done.model.proto.graph.node] == ["Cast", "Identity", "Identity"]
    assert names(done.model.proto) == ["w/codes"]
    check_equal(done.model.proto, [values])


def test_the_sign_of_zero_may_be_lost_and_nothing_else() -> None:
    values = weights(50, 60, decimals=2)
    values[0, 0] = -0.0
    check_equal(packed(network({"w": values})).model.proto, [values])


def convolution(opset: int) -> onnx.ModelProto:
    arrays = {
        "stem/kernel": with_spikes(weights(16, 3, 5, 5, decimals=4), 7.8125, 2),
        "head/kernel": weights(16, 90, decimals=2, seed=1),
        "head/bias": np.random.default_rng(2).normal(0, 1e-6, size=90).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "stem/kernel"], ["a"], name="stem"),
        helper.make_node("GlobalAveragePool", ["a"], ["b"], name="pool"),
        helper.make_node("Flatten", ["b"], ["c"], name="flatten"),
        helper.make_node("Gemm", ["c", "head/kernel", "head/bias"], ["y"], name="head"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 90])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    model.metadata_props.add(key="author", value="someone")
    return model


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
def test_onnx_runtime_folds_the_rebuild_away_and_runs_the_same_graph(opset: int, tmp_path: Path) -> None:
    proto = convolution(opset)
    done = packed(proto)
    assert [t.kept for t in done.tensors] == [None, None, "not on a grid of 12 decimals or fewer"]
    assert {"Cast", "Div", "ScatterElements"} <= {n.op_type for n in done.model.proto.graph.node}
    assert operators(done.model.proto, tmp_path) == operators(proto, tmp_path)
    for batch in (1, 3):
        feeds = {"x": np.random.default_rng(3).normal(size=(batch, 3, 8, 8)).astype(np.float32)}
        check_same(proto, done.model.proto, feeds)


def test_what_is_not_packed_stays_field_by_field() -> None:
    proto = convolution(17)
    after = packed(proto).model.proto
    kept = [node for node in after.graph.node if node.name]
    assert kept == list(proto.graph.node)
    assert after.graph.initializer[0] == proto.graph.initializer[2]
    assert (after.metadata_props, after.opset_import) == (proto.metadata_props, proto.opset_import)
    assert (after.graph.input, after.graph.output) == (proto.graph.input, proto.graph.output)


def test_names_that_are_taken_are_not_taken_again() -> None:
    values = with_spikes(weights(50, 60), 7.8125, 3)
    taken = {"w/codes": np.arange(3), "divisor_10000_1d": np.arange(2), "w/float": np.arange(2)}
    done = packed(network({"w": values} | taken))
    assert {"w/codes", "w/codes_2", "divisor_10000_1d", "divisor_10000_1d_2"} <= set(names(done.model.proto))
    check_equal(done.model.proto, [values, *taken.values()])


def test_tensors_of_the_same_decimals_and_rank_share_a_scale() -> None:
    arrays = {"a": weights(50, 60), "b": weights(50, 60, seed=1), "c": weights(50, 60, decimals=2)}
    done = packed(network(arrays | {"d": weights(50, 60, 1, 1)}))
    tensors = {t.name: numpy_helper.to_array(t) for t in done.model.proto.graph.initializer}
    scales = {name: (a.shape, a.reshape(-1).tolist()) for name, a in tensors.items() if name.startswith("divisor")}
    assert scales == {
        "divisor_10000_2d": ((1, 1), [10_000.0]),
        "divisor_100_2d": ((1, 1), [100.0]),
        "divisor_10000_4d": ((1, 1, 1, 1), [10_000.0]),
    }


def branch(name: str, value: np.ndarray, out: str) -> onnx.GraphProto:
    output = helper.make_tensor_value_info(out, TensorProto.FLOAT, value.shape)
    node = helper.make_node("Identity", [name], [out])
    return helper.make_graph([node], out, [], [output], [numpy_helper.from_array(value, name)])


def test_a_tensor_in_a_subgraph_is_rebuilt_there(tmp_path: Path) -> None:
    values = [weights(40, 50, seed=i, decimals=i + 2) for i in (0, 1)]
    choose = helper.make_node(
        "If", ["yes"], ["w/out"],
        then_branch=branch("w", values[0], "then"), else_branch=branch("w", values[1], "else"),
    )  # fmt: skip
    proto = network({}, opset=17)
    proto.graph.node.append(choose)
    proto.graph.input.append(helper.make_tensor_value_info("yes", TensorProto.BOOL, []))
    proto.graph.output.append(helper.make_tensor_value_info("w/out", TensorProto.FLOAT, [40, 50]))
    done = packed(proto)
    assert [(t.name, t.kept) for t in done.tensors] == [("w", None), ("w#2", None)]
    assert names(done.model.proto) == []
    for yes in (True, False):
        feeds = {"x": np.ones((1, 2), np.float32), "yes": np.array(yes)}
        for results in outputs_of(done.model.proto, feeds):
            np.testing.assert_array_equal(results[1], values[not yes])
    assert not operators(done.model.proto, tmp_path) & REBUILD


def test_the_value_of_a_constant_node_is_packed_in_its_place(tmp_path: Path) -> None:
    proto = convolution(17)
    kernel = proto.graph.initializer[1]
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["head/kernel"], value=kernel))
    del proto.graph.initializer[1]
    done = packed(proto)
    assert {t.name: t.dtype for t in done.tensors} == {
        "stem/kernel": "INT16",
        "head/bias": "FLOAT",
        "head/kernel": "INT8",
    }
    assert not [n for n in done.model.proto.graph.node if n.op_type == "Constant"]
    feeds = {"x": np.ones((2, 3, 8, 8), np.float32)}
    check_same(proto, done.model.proto, feeds)
    assert not operators(done.model.proto, tmp_path) & REBUILD


def external(proto: onnx.ModelProto, path: Path) -> OnnxModel:
    onnx.save(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return load_model(path)


@pytest.mark.parametrize("opset", [17, 21])
def test_external_data_stays_external_and_is_found_again(tmp_path: Path, opset: int) -> None:
    arrays = {
        "off": np.random.default_rng(1).normal(size=(30, 40)).astype(np.float32),
        "a": with_spikes(weights(50, 60, decimals=4), 7.8125, 3),
        "b": weights(90, 60, decimals=1, spread=0.1),
        "last": np.random.default_rng(2).normal(size=(30, 40)).astype(np.float32),
    }
    model = external(network(arrays, opset=opset), tmp_path / "model.onnx")
    done = pack(model)
    save_model(done.model, tmp_path / "packed.onnx")
    onnx.checker.check_model(tmp_path / "packed.onnx", full_check=True)
    again = load_model(tmp_path / "packed.onnx")
    outside = {held.name for held in again.tensors() if held.proto.data_location == TensorProto.EXTERNAL}
    assert outside == {"off", "a/codes", "b/codes", "last"}
    assert {t.name: t.dtype for t in done.tensors} == {"off": "FLOAT", "a": "INT16", "b": "INT8", "last": "FLOAT"}
    check_equal(onnx.load(tmp_path / "packed.onnx"), list(arrays.values()))
    (data,) = tmp_path.glob("packed.*.data")
    assert data.stat().st_size < (tmp_path / "weights.bin").stat().st_size


def test_values_that_were_replaced_in_memory_are_what_is_packed(tmp_path: Path) -> None:
    arrays = {"a": weights(50, 60, decimals=6), "b": weights(50, 60, decimals=6, seed=1)}
    model = external(network(arrays), tmp_path / "model.onnx")
    rounded = {0: round_to_decimals(arrays["a"], 2), 1: np.full((50, 60), 1 / 3, np.float32)}
    done = pack(OnnxModel(proto=model.proto, folder=model.folder, replaced=rounded))
    assert [t.dtype for t in done.tensors] == ["INT8", "FLOAT"]
    save_model(done.model, tmp_path / "packed.onnx")
    check_equal(onnx.load(tmp_path / "packed.onnx"), [rounded[0], rounded[1]])


def test_an_initializer_that_an_input_may_override_is_kept() -> None:
    proto = network({"w": weights(50, 60), "v": weights(50, 60)})
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [50, 60]))
    assert [t.kept for t in packed(proto).tensors] == ["an input may override it", None]


def test_before_ir_version_4_initializers_are_listed_as_inputs_and_packed_all_the_same() -> None:
    proto = network({"w": weights(50, 60)}, ir_version=3, opset=11)
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [50, 60]))
    done = packed(proto)
    assert done.model.proto.ir_version == 4
    assert [value.name for value in done.model.proto.graph.input] == ["x"]
    assert [tensor.kept for tensor in done.tensors] == [None]


def test_a_tensor_that_is_itself_an_output_is_rebuilt_as_that() -> None:
    values = weights(50, 60)
    proto = network({"w": values})
    del proto.graph.node[1], proto.graph.output[1]
    proto.graph.output.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [50, 60]))
    check_equal(packed(proto).model.proto, [values])


def test_each_tensor_that_is_kept_says_why() -> None:
    large = np.arange(2**24 - 900, 2**24, dtype=np.float32).reshape(30, 30)
    tensors = {
        "packed": weights(50, 60),
        "off": np.full((50, 60), 1e-6 / 3, np.float32),
        "fine": round_to_decimals(np.full((50, 60), 1e-5 / 3, np.float32), 11),
        "far": with_spikes(np.full((50, 60), 2.0**-7, np.float32), 7.8125, 3),
        "wide": large,
        "small": weights(3, 4),
        "empty": np.empty((0, 4), np.float32),
        "half": weights(50, 60).astype(np.float16),
        "double": weights(50, 60).astype(np.float64),
        "whole": np.arange(10),
    }
    done = packed(network(tensors))
    assert {t.name: t.kept for t in done.tensors} == {
        "packed": None,
        "off": "not on a grid of 12 decimals or fewer",
        "fine": "11 decimals: 10^11 is not exact in float32",
        "far": "codes reach 78,125,000, beyond 2^24, which float32 does not hold exactly",
        "wide": "gains nothing: its codes need 32 bits",
        "small": "too small to gain",
        "empty": "too small to gain",
        "half": "FLOAT16 is not packed",
        "double": "DOUBLE is not packed",
    }
    half = next(t for t in done.tensors if t.name == "half")
    assert (half.dtype, half.bits, half.bytes_before, half.bytes_after, half.grid) == ("FLOAT16", 16, 6000, 6000, None)


def test_sparse_initializers_are_listed_as_kept() -> None:
    proto = network({"w": weights(50, 60)})
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [0.5])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [2])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    stored = packed(proto).tensors[-1]
    assert (stored.name, stored.kept, stored.bytes_before) == ("sparse", "sparse initializers are not packed", 12)


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (
            network({"w": np.full((50, 60), 1e-6 / 3, np.float32), "v": np.full((9,), 2e-6 / 3, np.float32)}),
            r"none of the 2 constant floating-point tensors lies on a grid of 12 decimals or fewer\n"
            r"round it first, or to fewer decimals: precbench round MODEL --dp 4",
        ),
        (
            network({"v": np.float32([0.5]), "u": np.float32([1.5])}),
            r'none of the 2 constant floating-point tensors becomes smaller: 2 "too small to gain"\n'
            r"deploy it in another form",
        ),
        (
            network({"w": np.full((50, 60), 1 / 3, np.float32), "v": np.full((9,), 5 / 7, np.float32)}),
            r'becomes smaller: 2 are not rounded, or .*"codes reach 33,333,334, beyond 2\^24, .*"\)\nround it first',
        ),
        (
            network({"w": weights(50, 60)}, opset=10),
            r"the model is of opset 10, packing needs 11 or newer\nexport it again with opset 11 or newer, or convert",
        ),
    ],
    ids=["off the grid", "no gain", "never rounded", "old opset"],
)
def test_refusals_say_the_reason_and_the_remedy(proto: onnx.ModelProto, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        pack(OnnxModel(proto=proto, folder=Path("nowhere")))


def test_a_packed_model_is_not_packed_again() -> None:
    done = packed(network({"w": weights(50, 60)}))
    with pytest.raises(ModelError, match="nothing to pack"):
        pack(done.model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"exceptions": 7}, "7 exceptions among 6 elements"), ({"kept": "small"}, "said to be kept, and to be changed")],
)
def test_an_entry_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    entry: dict[str, Any] = {
        "name": "w", "elements": 6, "dtype": "INT8", "grid": {"decimals": 1}, "bits": 8, "exceptions": 0,
        "bytes_before": 24, "bytes_after": 10, "kept": None,
    }  # fmt: skip
    make: Callable[..., StoredTensor] = StoredTensor
    with pytest.raises(ValueError, match=message):
        make(**entry | changes)
