"""The graph transformer changes the planned values and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from precbench.errors import ModelError, TargetError, UsageError
from precbench.graph import Plan, list_initializers, load_model, round_model, save_model, select
from precbench.grids import DecimalGrid, parse_grid, round_to_decimals

Build = Callable[..., onnx.ModelProto]
Save = Callable[[onnx.ModelProto], Path]


def without(model: onnx.ModelProto, names: set[str]) -> onnx.ModelProto:
    """The model with the values of these initializers blanked: what rounding must leave equal, field by field."""
    blank = onnx.ModelProto()
    blank.CopyFrom(model)
    for tensor in blank.graph.initializer:
        if tensor.name in names:
            for field in ("raw_data", "float_data", "int32_data", "double_data", "external_data"):
                tensor.ClearField(field)
    return blank


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_planned_values_are_rounded_and_all_else_is_equal(build: Build, saved: Save, dtype: type, raw: bool) -> None:
    original = build(dtype=dtype, raw=raw)
    model = load_model(saved(original))
    rounded = round_model(model, select(list_initializers(model), grid=DecimalGrid(2)))
    changed = {"stem/kernel", "head/kernel"}
    assert model.proto == original
    assert without(rounded.model.proto, changed) == without(original, changed)
    for before, after in zip(original.graph.initializer, rounded.model.proto.graph.initializer, strict=True):
        expected = numpy_helper.to_array(before)
        if before.name in changed:
            expected = round_to_decimals(expected, 2)
        np.testing.assert_array_equal(numpy_helper.to_array(after), expected)


def test_there_is_one_outcome_per_initializer(build: Build, saved: Save) -> None:
    model = load_model(saved(build()))
    rounded = round_model(model, Plan.of_decimals({"stem/kernel": 1, "shape": 3}))
    outcomes = {o.initializer: o for o in rounded.outcomes}
    assert list(outcomes) == [t.name for t in build().graph.initializer]
    assert (outcomes["stem/kernel"].decimals, outcomes["stem/kernel"].skipped, outcomes["stem/kernel"].elements) == (
        1,
        None,
        108,
    )
    assert outcomes["shape"].skipped == "INT64 is not rounded; FLOAT16, FLOAT, DOUBLE are"
    assert outcomes["stem/bias"].skipped == "not targeted"
    assert rounded.elements == 108
    assert 0 < rounded.changed <= 108


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 12), st.integers(0, 2**16))
def test_rounding_a_rounded_model_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, decimals: int, seed: int
) -> None:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        net (float[n, 2] x) => (float[n, 2] y) <float[2, 2] w = {1, 2, 3, 4}> { y = MatMul (x, w) }"""
    )
    values = np.random.default_rng(seed).normal(size=(2, 2)).astype(np.float32)
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, "w"))
    path = tmp_path_factory.mktemp("law") / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    once = round_model(load_model(path), Plan.of_decimals({"w": decimals}))
    twice = round_model(once.model, Plan.of_decimals({"w": decimals}))
    assert twice.model.proto == once.model.proto
    assert twice.changed == 0


def test_external_data_is_rounded_into_a_new_data_file(build: Build, saved_external: Save, tmp_path: Path) -> None:
    original = build()
    model = load_model(saved_external(build()))
    rounded = round_model(model, Plan.of_decimals({"head/kernel": 3}))
    again = round_model(rounded.model, Plan.of_decimals({"stem/kernel": 1}))
    save_model(again.model, tmp_path / "out.onnx")
    values = {t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / "out.onnx").graph.initializer}
    for tensor in original.graph.initializer:
        expected = numpy_helper.to_array(tensor)
        decimals = {"head/kernel": 3, "stem/kernel": 1}.get(tensor.name)
        np.testing.assert_array_equal(
            values[tensor.name], expected if decimals is None else round_to_decimals(expected, decimals)
        )


def test_a_weight_in_a_constant_node_is_rounded_there(saved: Save) -> None:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        net (float[n, 1] x) => (float[n, 2] y)
        { w = Constant <value = float[1, 2] {0.126, 2.5}> ()  y = MatMul (x, w) }"""
    )
    rounded = round_model(load_model(saved(proto)), Plan.of_decimals({"w": 1}))
    value = numpy_helper.to_array(rounded.model.proto.graph.node[0].attribute[0].t)
    np.testing.assert_array_equal(value, np.float32([[0.1, 2.5]]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_name_and_count(build: Build, saved: Save, bad: float) -> None:
    proto = build()
    values = numpy_helper.to_array(proto.graph.initializer[0]).copy()
    values[0, 0, 0, :2] = bad
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, "stem/kernel"))
    model = load_model(saved(proto))
    with pytest.raises(ModelError, match=r"'stem/kernel' hold 2 NaN or infinite values of 108\nrepair the model"):
        round_model(model, Plan.of_decimals({"stem/kernel": 4}))
    round_model(model, Plan.of_decimals({"head/kernel": 4}))


def test_a_plan_for_another_model_is_refused(build: Build, saved: Save) -> None:
    with pytest.raises(TargetError, match="the plan names 'other/kernel', which the model has not"):
        round_model(load_model(saved(build())), Plan.of_decimals({"other/kernel": 4}))


def test_bfloat16_is_skipped_with_its_reason(saved: Save) -> None:
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.BFLOAT16, [1, 2], [1.0, 2.0])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.BFLOAT16, [1, 1])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.BFLOAT16, [1, 2])], [tensor],
    )  # fmt: skip
    rounded = round_model(load_model(saved(onnx.helper.make_model(graph))), Plan.of_decimals({"w": 4}))
    assert rounded.outcomes[0].skipped == "BFLOAT16 is not rounded; FLOAT16, FLOAT, DOUBLE are"


def test_sparse_initializers_and_functions_are_said_not_to_be_looked_at(build: Build, saved: Save) -> None:
    model = build()
    values = onnx.helper.make_tensor("sparse", onnx.TensorProto.FLOAT, [1], [0.5])
    indices = onnx.helper.make_tensor("i", onnx.TensorProto.INT64, [1], [2])
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [4]))
    function = onnx.helper.make_function("local", "Block", ["a"], ["b"], [], [onnx.helper.make_opsetid("", 17)])
    model.functions.append(function)
    rounded = round_model(load_model(saved(model)), Plan.of_decimals({"stem/kernel": 2}))
    assert rounded.outcomes[-1].initializer == "sparse"
    assert rounded.outcomes[-1].skipped == "sparse initializers are not rounded"
    assert "1 functions of its own (Block)" in rounded.notes[0]


@pytest.mark.parametrize(
    ("op", "shape", "attributes", "axis"),
    [
        ("Conv", (5, 3, 2, 2), {}, 0),
        ("ConvTranspose", (3, 5, 2, 2), {}, 1),
        ("Gemm", (3, 5), {}, 1),
        ("Gemm", (5, 3), {"transB": 1}, 0),
        ("MatMul", (3, 5), {}, 1),
        ("MatMul", (2, 3, 5), {}, 2),
    ],
)
def test_a_step_per_channel_is_one_per_output_channel(
    saved: Save, op: str, shape: tuple[int, ...], attributes: dict[str, int], axis: int
) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    model = load_model(saved(one_weight(op, values, attributes)))
    (weight,) = list_initializers(model)
    assert weight.channel_axis == axis
    rounded = round_model(model, Plan(grids={"w": parse_grid("int:4:channel")}))
    assert rounded.outcomes[0].grid == "int:4:channel[5]"
    (held,) = rounded.model.tensors()
    found = np.moveaxis(rounded.model.values(held), axis, 0).reshape(5, -1)
    largest = np.abs(np.moveaxis(values, axis, 0).reshape(5, -1)).max(axis=1)
    assert np.abs(found).max(axis=1) == pytest.approx(largest, rel=1e-6)
    assert all(len(np.unique(np.abs(row))) <= 8 for row in found)


def test_a_step_per_channel_of_a_weight_that_is_turned_round_first_is_refused(saved: Save) -> None:
    nodes = [helper.make_node("Transpose", ["w"], ["t"]), helper.make_node("MatMul", ["x", "t"], ["y"])]
    values = np.ones((5, 3), np.float32)
    model = load_model(saved(one_weight("MatMul", values, {}, nodes=nodes)))
    with pytest.raises(UsageError, match="which axis of the tensor these are is not known"):
        round_model(model, Plan(grids={"w": parse_grid("int:4:channel")}))


def one_weight(
    op: str, values: Any, attributes: dict[str, int], *, nodes: list[onnx.NodeProto] | None = None
) -> onnx.ModelProto:
    """A model of one operator with one weight, or of some nodes."""
    made = nodes or [helper.make_node(op, ["x", "w"], ["y"], **attributes)]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("x", "y")]
    graph = helper.make_graph(made, "g", ends[:1], ends[1:], [numpy_helper.from_array(values, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
