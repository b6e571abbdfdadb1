"""Two models are one graph, or a sentence says where they part."""

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from precbench.graph import OnnxModel, graph_difference, list_initializers, load_model, round_model, save_model, select
from precbench.grids import DecimalGrid

Build = Callable[..., onnx.ModelProto]
Save = Callable[[onnx.ModelProto], Path]
Change = Callable[[onnx.ModelProto], None]


def rich() -> onnx.ModelProto:
    """A model with everything that can differ: subgraphs, constants of each kind, sparse ones, a function."""
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 17, "local" : 1], producer_name: "someone">
        net (float[batch, 2] x, bool c) => (float[batch, 2] y, float[4, 4] z) <float[2, 2] w = {1, 2, 3, 4}>
        {
            k = Constant <value = float[2] {0.126, 2.5}> ()
            scalar = Constant <value_float = 0.5> ()
            several = Constant <value_ints = [1, 2]> ()
            a = MatMul (x, w)
            b = LeakyRelu <alpha = 0.1> (a)
            shape = ConstantOfShape <value = int64[1] {7}> (several)
            d = If (c) <
                then_branch = then () => (float[batch, 2] t) <float[2] inner = {5, 6}> { t = Add (b, inner) },
                else_branch = else () => (float[batch, 2] e) { e = Transpose <perm = [0, 1]> (b) }
            >
            y = local.Block <gain = 2> (d, k)
            z = Identity (sparse)
        }
        <domain: "local", opset_import: ["" : 17]> Block <gain> (p, q) => (r)
        { g = Constant <value_int: int = @gain> ()  h = Cast <to = 1> (g)  r = Mul (p, q) }"""
    )
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [2], [0.5, 1.5])
    indices = helper.make_tensor("", TensorProto.INT64, [2], [2, 3])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4, 4]))
    add_what_is_ignored(model)
    return model


def add_what_is_ignored(model: onnx.ModelProto) -> None:
    model.domain, model.model_version, model.graph.doc_string = "org.example", 3, "words"
    model.metadata_props.add(key="author", value="someone")
    model.training_info.add().algorithm.name = "training"
    node = model.graph.node[5]
    node.name, node.doc_string = "fill", "words"
    node.metadata_props.add(key="k", value="v")
    node.device_configurations.add(configuration_id="two", pipeline_stage=1)
    model.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, ["batch", 2]))
    model.graph.quantization_annotation.add(tensor_name="a")
    model.graph.input[0].type.denotation = "IMAGE"
    model.graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"


def loaded(proto: onnx.ModelProto) -> OnnxModel:
    return OnnxModel(proto=proto, folder=Path())


def copied(proto: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(proto.SerializeToString())


def difference(change: Change) -> str | None:
    one, other = rich(), rich()
    change(other)
    found = graph_difference(loaded(one), loaded(other))
    assert (found is None) == (graph_difference(loaded(other), loaded(one)) is None)
    return found


@pytest.mark.parametrize("decimals", [0, 2, 6])
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_model_and_its_rounded_self_are_one_graph(
    build: Build, saved: Save, dtype: type, raw: bool, decimals: int
) -> None:
    model = load_model(saved(build(dtype=dtype, raw=raw)))
    rounded = round_model(model, select(list_initializers(model), grid=DecimalGrid(decimals))).model
    assert graph_difference(model, model) is None
    assert graph_difference(model, rounded) is None
    assert graph_difference(rounded, model) is None


def test_where_the_weights_lie_is_no_difference(
    build: Build, saved: Save, saved_external: Save, tmp_path: Path
) -> None:
    inside, outside = load_model(saved(build())), load_model(saved_external(build()))
    rounded = round_model(outside, select(list_initializers(outside), grid=DecimalGrid(1))).model
    save_model(rounded, tmp_path / "rounded.onnx")
    typed = loaded(build(raw=False))
    for other in (outside, rounded, load_model(tmp_path / "rounded.onnx"), typed):
        assert graph_difference(inside, other) is None


def test_external_data_is_not_read(build: Build, saved_external: Save) -> None:
    model = load_model(saved_external(build()))
    (model.folder / "weights.bin").unlink()
    assert graph_difference(model, model) is None


def test_no_weight_is_copied() -> None:
    proto = rich()
    heavy = np.zeros(25_000_000, np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(heavy, "heavy"))
    proto.graph.node[0].attribute[0].t.CopyFrom(numpy_helper.from_array(heavy))
    model = loaded(proto)
    tracemalloc.start()
    assert graph_difference(model, model) is None
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


IGNORED = {
    "doc_string", "producer_name", "producer_version", "metadata_props", "value_info", "model_version", "ir_version",
    "training_info", "quantization_annotation", "configuration", "device_configurations", "denotation",
}  # fmt: skip
STORED = {"raw_data", "float_data", "int32_data", "int64_data", "double_data", "string_data"}
"""What the issue calls values, and what does not change the computation."""

Leaf = tuple[tuple[str, ...], Message, str, int | None]


def leaves(message: Message, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every number and text in a message: where it is, what holds it, its field and its index."""
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        for index, each in enumerate(values):
            if field.message_type is not None:
                yield from leaves(each, (*path, message.DESCRIPTOR.name, field.name))
            else:
                where = (*path, message.DESCRIPTOR.name, field.name)
                yield where, message, field.name, index if field.is_repeated else None


def changed(value: Any, field: str) -> Any:
    if field in ("data_type", "elem_type"):
        return 11 if value != 11 else 1
    if field == "type":
        return 2 if value != 2 else 1
    return value + {str: "x", bytes: b"x", int: 1, float: 1.0}[type(value)]


def is_of_no_consequence(leaf: Leaf, model: onnx.ModelProto) -> bool:
    """Whether changing this leaf leaves the graph what it is, said again from the names of the fields alone."""
    path, holder, field, _ = leaf
    in_constant = any(holder is part for part in constant_parts(model))
    is_name_of_a_value = field == "name" and path[-2] == "TensorProto" and path[-3] in ("t", "indices")
    return (
        bool(IGNORED & set(path))
        or path == ("ModelProto", "domain")
        or (field == "name" and path[-2] in ("NodeProto", "GraphProto"))
        or is_name_of_a_value
        or (field in STORED and (bool({"initializer", "sparse_initializer"} & set(path)) or in_constant))
        or (in_constant and field in ("f", "i", "s", "floats", "ints", "strings"))
    )


def constant_parts(model: onnx.ModelProto) -> list[Message]:
    nodes = [*model.graph.node, *model.functions[0].node]
    attributes = [a for node in nodes if node.op_type == "Constant" for a in node.attribute]
    return [part for a in attributes for part in (a, a.t)]


def test_every_single_leaf_of_a_model_is_told_apart_or_of_no_consequence() -> None:
    one = rich()
    count = len(list(leaves(one)))
    assert count > 150
    for number in range(count):
        other = copied(one)
        leaf = list(leaves(other))[number]
        path, holder, field, index = leaf
        if index is None:
            setattr(holder, field, changed(getattr(holder, field), field))
        else:
            getattr(holder, field)[index] = changed(getattr(holder, field)[index], field)
        found = graph_difference(loaded(one), loaded(other))
        assert (found is None) == is_of_no_consequence(leaf, other), (path, index, found)
        assert found is None or found.isprintable()


def repeated(message: Message, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Message, str, int]]:
    for field, value in message.ListFields():
        where = (*path, message.DESCRIPTOR.name, field.name)
        if field.is_repeated:
            yield from ((where, message, field.name, index) for index in range(len(value)))
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                yield from repeated(each, where)


def test_whatever_is_left_out_of_a_model_is_told_apart_or_of_no_consequence() -> None:
    one = rich()
    for number in range(len(list(repeated(one)))):
        other = copied(one)
        path, holder, field, index = list(repeated(other))[number]
        shortens_a_constant = field in ("floats", "ints", "strings")
        without_consequence = is_of_no_consequence((path, holder, field, index), other) and not shortens_a_constant
        del getattr(holder, field)[index]
        found = graph_difference(loaded(one), loaded(other))
        assert (found is None) == without_consequence, (path, index, found)


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(["attribute", "initializer", "functions", "opset_import"]))
def test_order_counts_for_nodes_and_inputs_only(random: Any, kind: str) -> None:
    one, other = rich(), rich()
    one.graph.node[4].attribute.append(helper.make_attribute("more", 1))
    other.graph.node[4].attribute.append(helper.make_attribute("more", 1))
    for model in (one, other):
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(3), "v"))
        model.functions.add(name="Another", domain="local").opset_import.add(domain="", version=17)
    holder = {"attribute": other.graph.node[4], "initializer": other.graph}.get(kind, other)
    items = [type(item).FromString(item.SerializeToString()) for item in getattr(holder, kind)]
    random.shuffle(items)
    holder.ClearField(kind)
    getattr(holder, kind).extend(items)
    assert graph_difference(loaded(one), loaded(other)) is None


def nodes_reversed(model: onnx.ModelProto) -> None:
    first, second = copied(model).graph.node[:2]
    model.graph.node[0].CopyFrom(second)
    model.graph.node[1].CopyFrom(first)


def rename_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].name = model.graph.node[3].input[1] = "v"


def as_int8(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((2, 2), np.int8), "w"))


def as_dense(model: onnx.ModelProto) -> None:
    del model.graph.sparse_initializer[:]
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((4, 4), np.float32), "sparse"))


def branch_of(model: onnx.ModelProto) -> onnx.GraphProto:
    return next(a.g for a in model.graph.node[6].attribute if a.name == "then_branch")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: setattr(m.graph.node[3], "op_type", "QLinearMatMul"),
         "node 3 is MatMul in one and QLinearMatMul in the other"),
        (lambda m: setattr(m.graph.node[3], "domain", "com.microsoft"),
         "the domain of node 3 (MatMul) is ai.onnx in one and com.microsoft in the other"),
        (lambda m: setattr(m.graph.node[4].attribute[0], "f", 0.25),
         "the attribute 'alpha' of node 4 (LeakyRelu) is 0.1 in one and 0.25 in the other"),
        (lambda m: setattr(m.graph.node[4].attribute[0], "f", 0.1 + 1e-8),
         "the attribute 'alpha' of node 4 (LeakyRelu) differs"),
        (lambda m: m.graph.node[4].attribute.pop(),
         "node 4 (LeakyRelu) has the attribute 'alpha' in one only"),
        (lambda m: m.graph.node[3].input.reverse(),
         "input 0 of node 3 (MatMul) is 'x' in one and 'w' in the other"),
        (lambda m: m.graph.node[3].input.append("x"),
         "the number of inputs of node 3 (MatMul) is 2 in one and 3 in the other"),
        (lambda m: m.graph.node.pop(),
         "the number of nodes of the graph is 9 in one and 8 in the other"),
        (nodes_reversed,
         "output 0 of node 0 (Constant) is 'k' in one and 'scalar' in the other"),
        (as_int8, "the initializer 'w' is float32 in one and int8 in the other"),
        (lambda m: m.graph.initializer[0].dims.append(1),
         "the shape of the initializer 'w' is 2x2 in one and 2x2x1 in the other"),
        (rename_weight, "input 1 of node 3 (MatMul) is 'w' in one and 'v' in the other"),
        (as_dense, "the initializer 'sparse' is sparse float32 in one and float32 in the other"),
        (lambda m: m.graph.initializer.add(name="more", data_type=1, dims=[0]),
         "the graph has the initializer 'more' in one only"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 10),
         "the input 'x' is float32[batch,2] in one and float16[batch,2] in the other"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_param", "2"),
         "the input 'x' is float32[batch,2] in one and float32[batch,'2'] in the other"),
        (lambda m: m.graph.output[0].type.tensor_type.ClearField("shape"),
         "the output 'y' is float32[batch,2] in one and float32 of any shape in the other"),
        (lambda m: setattr(m.opset_import[0], "version", 18),
         "the opset 'ai.onnx' of the model is 17 in one and 18 in the other"),
        (lambda m: m.opset_import.add(domain="com.microsoft", version=1),
         "the model has the opset 'com.microsoft' in one only"),
        (lambda m: setattr(branch_of(m).node[0], "op_type", "Sub"),
         "node 0 in the attribute 'then_branch' of node 6 (If) is Add in one and Sub in the other"),
        (lambda m: setattr(m.functions[0].node[2], "op_type", "Add"),
         "node 2 in the function 'Block' is Mul in one and Add in the other"),
        (lambda m: setattr(m.functions[0], "domain", "elsewhere"),
         "the model has the function 'elsewhere::Block' in one only"),
        (lambda m: m.graph.node[0].attribute[0].t.CopyFrom(numpy_helper.from_array(np.zeros(3, np.float32))),
         "the shape of the attribute 'value' of node 0 (Constant) is 2 in one and 3 in the other"),
        (lambda m: m.graph.node[2].attribute[0].ints.append(3),
         "the length of the attribute 'value_ints' of node 2 (Constant) is 2 in one and 3 in the other"),
        (lambda m: m.graph.node[5].attribute[0].t.CopyFrom(numpy_helper.from_array(np.array([8]))),
         "the attribute 'value' of node 5 (ConstantOfShape) holds other values in one than in the other"),
    ],
)  # fmt: skip
def test_the_first_difference_is_named(change: Change, sentence: str) -> None:
    assert difference(change) == sentence


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m, "producer_name", "another"),
        lambda m: setattr(m, "ir_version", 9),
        lambda m: setattr(m, "model_version", 3),
        lambda m: setattr(m.graph, "name", "other"),
        lambda m: setattr(m.graph.node[3], "name", "other"),
        lambda m: setattr(m.graph.node[3], "domain", "ai.onnx"),
        lambda m: setattr(m.opset_import[0], "domain", "ai.onnx"),
        lambda m: m.graph.value_info.add(name="a"),
        lambda m: m.metadata_props.add(key="k", value="v"),
        lambda m: m.graph.node[1].attribute[0].__setattr__("f", 0.75),
        lambda m: m.graph.node[5].attribute[0].t.CopyFrom(numpy_helper.from_array(np.array([7]), "renamed")),
        lambda m: m.graph.node[5].attribute[0].t.CopyFrom(helper.make_tensor("typed", TensorProto.INT64, [1], [7])),
    ],
)
def test_what_does_not_change_the_computation_is_no_difference(change: Change) -> None:
    assert difference(change) is None


def test_an_attribute_that_is_not_a_number_equals_itself() -> None:
    def to_nan(model: onnx.ModelProto) -> None:
        model.graph.node[4].attribute[0].f = np.nan

    one, other = rich(), rich()
    to_nan(one)
    to_nan(other)
    assert graph_difference(loaded(one), loaded(other)) is None
    assert difference(to_nan) == "the attribute 'alpha' of node 4 (LeakyRelu) is 0.1 in one and nan in the other"


def test_an_attribute_in_external_data_is_compared_by_its_place_alone() -> None:
    def elsewhere(model: onnx.ModelProto) -> None:
        tensor = model.graph.node[5].attribute[0].t
        tensor.ClearField("raw_data")
        tensor.ClearField("int64_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="missing.bin")

    one, other = rich(), rich()
    elsewhere(one)
    elsewhere(other)
    assert graph_difference(loaded(one), loaded(other)) is None
    assert "holds other values" in str(difference(elsewhere))


def test_a_damaged_attribute_is_a_difference_and_no_crash() -> None:
    def damage(model: onnx.ModelProto) -> None:
        model.graph.node[5].attribute[0].t.raw_data = b"123"

    assert "holds other values" in str(difference(damage))


def test_types_that_are_no_tensors_are_told_apart() -> None:
    def sequence(of: int) -> onnx.ModelProto:
        model = rich()
        model.graph.input[0].type.CopyFrom(
            helper.make_optional_type_proto(helper.make_sequence_type_proto(helper.make_tensor_type_proto(of, [None])))
        )
        return model

    assert graph_difference(loaded(sequence(1)), loaded(sequence(1))) is None
    assert graph_difference(loaded(sequence(1)), loaded(sequence(6))) == (
        "the input 'x' is optional of (sequence of (float32[?])) in one and "
        "optional of (sequence of (int32[?])) in the other"
    )


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=300))
def test_names_of_strangers_steer_no_terminal(name: str) -> None:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.node[3].output[0] = f"{name}\x1b[2J"

    found = difference(rename)
    assert found is not None
    assert found.isprintable()
    assert len(found) < 200


def test_names_that_are_no_text_are_compared(build: Build, saved: Save) -> None:
    data = build().SerializeToString()
    assert b"batch" in data
    odd = onnx.ModelProto.FromString(data.replace(b"batch", b"b\xfftch"))
    assert graph_difference(loaded(odd), loaded(odd)) is None
    assert graph_difference(loaded(build()), loaded(odd)) == (
        r"the input 'x' is float32[batch,3,8,8] in one and float32['b\\xfftch',3,8,8] in the other"
    )
