"""What a user types selects the initializers that it should."""

import itertools
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from precbench.errors import ModelError, TargetError, UsageError
from precbench.graph import (
    InitializerOrigin,
    ModelMetadata,
    Plan,
    Role,
    Selector,
    assign_groups,
    list_initializers,
    load_model,
    parse_selector,
    read_metadata,
    select,
    write_metadata,
)
from precbench.graph.targets import SelectorKind
from precbench.grids import DecimalGrid

Build = Callable[..., onnx.ModelProto]
Save = Callable[[onnx.ModelProto], Path]


def with_metadata(model: onnx.ModelProto) -> onnx.ModelProto:
    origins = {
        tensor.name: InitializerOrigin(
            layer=tensor.name.split("/")[0],
            variable=tensor.name.split("/")[-1],
            keras_shape=tuple(tensor.dims),
            permutation=tuple(range(len(tensor.dims))),
            group={"stem/kernel": "conv1"}.get(tensor.name),
        )
        for tensor in model.graph.initializer
    }
    metadata = ModelMetadata(
        versions={"keras": "3"},
        source={},
        preprocessing=None,
        class_names=("a", "b"),
        groups={"conv1": ("stem/kernel",)},
        initializers=origins,
    )
    write_metadata(model, metadata)
    return model


def plan(path: Path, *texts: tuple[SelectorKind, str], decimals: int | None = 4) -> dict[str, int]:
    selectors = [parse_selector(kind, text) for kind, text in texts]
    grid = None if decimals is None else DecimalGrid(decimals)
    grids = select(list_initializers(load_model(path)), selectors, grid=grid).grids
    return {name: one.decimals for name, one in grids.items() if isinstance(one, DecimalGrid)}


def test_each_initializer_has_the_role_its_operators_give_it(build: Build, saved: Save) -> None:
    roles = {i.name: i.role for i in list_initializers(load_model(saved(with_metadata(build()))))}
    assert roles == {
        "stem/kernel": Role.WEIGHT, "stem/bias": Role.BIAS,
        "bn/gamma": Role.BATCH_NORM, "bn/beta": Role.BATCH_NORM, "bn/mean": Role.BATCH_NORM, "bn/var": Role.BATCH_NORM,
        "head/kernel": Role.WEIGHT, "head/bias": Role.BIAS, "shape": Role.INTEGER,
    }  # fmt: skip


def test_without_groups_the_default_is_the_weights(build: Build, saved: Save) -> None:
    assert plan(saved(build())) == {"stem/kernel": 4, "head/kernel": 4}


def test_with_groups_the_default_is_the_groups(build: Build, saved: Save) -> None:
    assert plan(saved(with_metadata(build()))) == {"stem/kernel": 4}


def test_a_weight_behind_a_transpose_is_a_weight(saved: Save) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        net (float[n, 2] x) => (float[n, 3] y) <float[3, 2] w = {1, 2, 3, 4, 5, 6}>
        { t = Transpose <perm = [1, 0]> (w)  y = MatMul (x, t) }"""
    )
    assert plan(saved(model)) == {"w": 4}


def test_a_weight_in_a_constant_node_is_a_weight_and_an_axis_is_not_listed(saved: Save) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        net (float[n, 2] x) => (float[n] z)
        { w = Constant <value = float[2, 2] {1, 2, 3, 4}> ()  a = Constant <value = int64[1] {1}> ()
          y = MatMul (x, w)  z = ReduceSum <keepdims = 0> (y, a) }"""
    )
    assert [i.name for i in list_initializers(load_model(saved(model)))] == ["w"]
    assert plan(saved(model)) == {"w": 4}


@pytest.mark.parametrize(
    ("kind", "text", "names"),
    [
        (SelectorKind.TARGET, "stem", ["stem/kernel"]),
        (SelectorKind.TARGET, "head/bias", ["head/bias"]),
        (SelectorKind.TARGET, "*/kernel", ["stem/kernel", "head/kernel"]),
        (SelectorKind.REGEX, r"bn/(gamma|beta)", ["bn/gamma", "bn/beta"]),
        (SelectorKind.OP_TYPE, "Conv", ["stem/kernel"]),
        (SelectorKind.OP_TYPE, "MatMul", ["head/kernel"]),
        (SelectorKind.GROUP, "conv1", ["stem/kernel"]),
    ],
)
def test_a_selector_selects(build: Build, saved: Save, kind: SelectorKind, text: str, names: list[str]) -> None:
    assert plan(saved(with_metadata(build())), (kind, text)) == dict.fromkeys(names, 4)


def test_several_selectors_add_up_each_with_its_own_decimals_and_the_more_specific_decides(
    build: Build, saved: Save
) -> None:
    wanted = [
        (SelectorKind.TARGET, "stem/kernel=2"),
        (SelectorKind.REGEX, ".*/kernel=5"),
        (SelectorKind.OP_TYPE, "MatMul"),
        (SelectorKind.TARGET, "head/bias"),
    ]
    assert plan(saved(build()), *wanted, decimals=7) == {"stem/kernel": 2, "head/kernel": 5, "head/bias": 7}


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (SelectorKind.TARGET, "stem/kernal", "matches nothing in the model\nthe nearest are stem/kernel"),
        (SelectorKind.TARGET, "block_*_expand/kernel", "matches nothing.*\n.*kernel"),
        (SelectorKind.REGEX, "conv.*", "matches nothing"),
        (SelectorKind.OP_TYPE, "conv", "matches nothing in the model\nthe nearest is Conv"),
        (SelectorKind.GROUP, "conv2", "matches nothing in the model\nthe nearest is conv1"),
    ],
)
def test_a_selector_that_matches_nothing_is_refused_with_the_nearest(
    build: Build, saved: Save, kind: SelectorKind, text: str, message: str
) -> None:
    with pytest.raises(TargetError, match=message):
        plan(saved(with_metadata(build())), (kind, text))


def test_a_group_of_a_model_without_groups_is_refused(build: Build, saved: Save) -> None:
    with pytest.raises(TargetError, match="there is none to choose from"):
        plan(saved(build()), (SelectorKind.GROUP, "conv1"))


def test_a_model_without_weights_is_refused(saved: Save) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        net (float[n, 2] x) => (float[n, 2] y) <float[2] w = {1, 2}> { y = Mul (x, w) }"""
    )
    with pytest.raises(TargetError, match="no kernel matched"):
        plan(saved(model))


def test_no_decimals_are_refused_with_both_ways_to_give_them(build: Build, saved: Save) -> None:
    with pytest.raises(
        UsageError, match="no number of decimals is given\nadd --dp N or --grid GRID, or write PATTERN=N"
    ):
        plan(saved(build()), (SelectorKind.TARGET, "stem"), decimals=None)


@pytest.mark.parametrize("text", ["stem=13", "stem=-1"])
def test_decimals_of_a_pattern_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="outside 0 to 12"):
        parse_selector(SelectorKind.TARGET, text)


def test_an_empty_pattern_is_refused() -> None:
    with pytest.raises(UsageError, match="empty pattern"):
        parse_selector(SelectorKind.TARGET, "=3")


def test_a_broken_regular_expression_is_refused() -> None:
    with pytest.raises(UsageError, match="no regular expression"):
        parse_selector(SelectorKind.REGEX, "(")


def test_an_equals_sign_that_no_number_follows_belongs_to_the_pattern() -> None:
    assert parse_selector(SelectorKind.TARGET, "a=b") == Selector(kind=SelectorKind.TARGET, pattern="a=b")


def test_metadata_comes_back_as_it_was_written(build: Build) -> None:
    model = with_metadata(build())
    metadata = read_metadata(model)
    assert metadata is not None
    assert metadata.initializers["stem/kernel"].group == "conv1"
    write_metadata(model, metadata)
    assert read_metadata(model) == metadata
    assert [entry.key for entry in model.metadata_props] == ["author", "precbench.metadata"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"schema_version": 1}', "damaged"),
        ('{"schema_version": 99}', "schema version 99"),
    ],
)
def test_metadata_that_cannot_be_read_is_refused(build: Build, value: str, message: str) -> None:
    model = build()
    model.metadata_props.add(key="precbench.metadata", value=value)
    with pytest.raises(ModelError, match=message):
        read_metadata(model)


def test_groups_are_assigned_by_globs() -> None:
    names = ["block_1_expand/kernel", "block_2_expand/kernel", "Conv1/kernel"]
    assert assign_groups(names, {"expand": ["block_*_expand/kernel"]}) == {
        "block_1_expand/kernel": "expand", "block_2_expand/kernel": "expand", "Conv1/kernel": None,
    }  # fmt: skip


def test_a_group_pattern_that_matches_nothing_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        TargetError, match="'conv1/kernel' of group 'c' matches no initializer\nthe nearest is Conv1/kernel"
    ):
        assign_groups(["Conv1/kernel"], {"c": ["conv1/kernel"]})


def test_groups_that_overlap_are_refused() -> None:
    with pytest.raises(TargetError, match="a/kernel falls into two groups, 'one' and 'two'"):
        assign_groups(["a/kernel"], {"one": ["a/*"], "two": ["*/kernel"]})


def test_op_type_weights_in_subgraphs_are_found(saved: Save) -> None:
    value = helper.make_tensor_value_info("y1", TensorProto.FLOAT, [1, 1])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1, 1], [0.123456])
    branch = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y1"])], "b", [], [value], [weight])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    inputs = [
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1]),
    ]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])])
    assert plan(saved(helper.make_model(graph)), (SelectorKind.OP_TYPE, "MatMul=2")) == {"w": 2, "w#2": 2}


def test_a_plan_says_itself_as_json() -> None:
    assert Plan.of_decimals({"w": 3}).to_json() == {"grids": {"w": "decimal:3"}}


def branch(op_type: str, name: str) -> onnx.GraphProto:
    weight = helper.make_tensor("Z", TensorProto.FLOAT, [2, 2], [0.123456, 1, 2, 3])
    value = helper.make_tensor_value_info(f"y_{name}", TensorProto.FLOAT, [2, 2])
    return helper.make_graph([helper.make_node(op_type, ["x", "Z"], [f"y_{name}"])], name, [], [value], [weight])


def test_two_branches_may_give_one_name_to_different_tensors(saved: Save) -> None:
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("MatMul", "then"), else_branch=branch("Add", "else"))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2])
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("c", TensorProto.BOOL, []), x], [y])
    path = saved(helper.make_model(graph))
    assert {i.name: i.role for i in list_initializers(load_model(path))} == {"Z": Role.OTHER, "Z#2": Role.WEIGHT}
    assert plan(path) == {"Z#2": 4}


def test_an_operator_of_another_domain_is_not_the_standard_one(build: Build, saved: Save) -> None:
    model = build()
    model.graph.node[0].domain = "com.acme"
    model.opset_import.append(helper.make_opsetid("com.acme", 1))
    path = saved(model)
    assert plan(path) == {"head/kernel": 4}
    assert list_initializers(load_model(path))[0].op_types == ("com.acme:Conv",)


def test_a_long_chain_of_identities_takes_no_time_to_see_through(saved: Save) -> None:
    names = ["w", *(f"i{n}" for n in range(5000))]
    nodes = [helper.make_node("Identity", [a], [b]) for a, b in itertools.pairwise(names)]
    nodes.append(helper.make_node("MatMul", ["x", names[-1]], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1, 1], [0.5])
    assert plan(saved(helper.make_model(helper.make_graph(nodes, "g", [x], [y], [weight])))) == {"w": 4}
