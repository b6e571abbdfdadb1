"""Turn what tf2onnx made, with tags for variables, into the model to ship: true values, Keras names, no clutter."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from precbench.checkpoints.naming import name_everything
from precbench.checkpoints.tags import Layout, TaggedVariable, read_layout
from precbench.checkpoints.tracing import Trace
from precbench.checkpoints.variables import NamedVariable


def tidy(
    converted: onnx.ModelProto, trace: Trace, tags: Sequence[TaggedVariable], variables: Sequence[NamedVariable]
) -> tuple[onnx.ModelProto, dict[str, tuple[int, ...]]]:
    """Return a converted model with its variables' values and readable names.

    Every variable that the graph uses is one initializer, named by its path and laid out as its uses need it; where
    they need different layouts it keeps Keras's, and Transpose and Reshape nodes make the others.

    Args:
        converted: as `conversion.convert` made it, tags for values.
        trace: what it was converted from.
        tags: the tags that stand for the variables.
        variables: the variables, in the same order.

    Returns:
        The model, and the permutation of each variable by the name of its initializer.
    """
    model = ir.serde.deserialize_model(converted)
    graph = model.graph
    restored = _restore_variables(graph, tags, variables)
    _order_inputs(graph, trace)
    _drop_rank_changes(graph)
    _drop_detours(graph)
    _keep_zeros_before_pooling(graph)
    RemoveUnusedNodesPass()(model)
    graph.sort()
    permutations = {name: order for name, order in restored.items() if name in graph.initializers}
    _forget_inner_shapes(graph)
    ports = [port.name for port in (*trace.inputs, *trace.outputs)]
    name_everything(graph, ports=ports, variables=list(permutations))
    _name_dimensions(graph)
    graph.doc_string = None
    tidied = ir.serde.serialize_model(model)
    del tidied.graph.value_info[:]  # onnx_ir repeats each initializer's shape there
    for item in [item for item in tidied.opset_import if item.domain not in _domains(model)]:
        tidied.opset_import.remove(item)
    return tidied, permutations


def _domains(model: ir.Model) -> set[str]:
    return {"", *(node.domain for node in model.graph.all_nodes())}


def _restore_variables(
    graph: ir.Graph, tags: Sequence[TaggedVariable], variables: Sequence[NamedVariable]
) -> dict[str, tuple[int, ...]]:
    uses: dict[int, dict[Layout, list[ir.Value]]] = defaultdict(lambda: defaultdict(list))
    for position, value in enumerate(list(graph.initializers.values())):
        layout = None if value.const_value is None else read_layout(value.const_value.numpy(), tags)
        if layout is not None:
            uses[layout.index][layout].append(value)
            del graph.initializers[str(value.name)]
        else:
            value.name = f"__constant_{position}"  # so that no variable's name is taken
    return {variables[index].path: _restore(graph, variables[index], uses[index]) for index in sorted(uses)}


def _restore(graph: ir.Graph, variable: NamedVariable, uses: Mapping[Layout, list[ir.Value]]) -> tuple[int, ...]:
    """Add the variable's initializer and lead its uses to it; return its permutation."""
    keras = Layout(index=-1, permutation=tuple(range(len(variable.shape))), shape=variable.shape)
    main = next(iter(uses)) if len(uses) == 1 else keras
    value = _add_initializer(
        graph, variable.path, np.transpose(variable.values(), main.permutation).reshape(main.shape)
    )
    for layout, stand_ins in uses.items():
        source = value if len(uses) == 1 else _laid_out(graph, variable, value, layout)
        for stand_in in stand_ins:
            ir.convenience.replace_all_uses_with(stand_in, source, replace_graph_outputs=True)
    return main.permutation


def _laid_out(graph: ir.Graph, variable: NamedVariable, value: ir.Value, layout: Layout) -> ir.Value:
    """Add the nodes that make one layout out of Keras's."""
    if not layout.unchanged:
        value = _insert_first(
            graph, variable, ir.Node("", "Transpose", [value], [ir.AttrInt64s("perm", list(layout.permutation))])
        )
    if tuple(variable.shape[axis] for axis in layout.permutation) != layout.shape:
        shape = _add_initializer(graph, f"__shape_{len(graph.initializers)}", np.array(layout.shape, np.int64))
        value = _insert_first(graph, variable, ir.Node("", "Reshape", [value, shape]))
    return value


def _insert_first(graph: ir.Graph, variable: NamedVariable, node: ir.Node) -> ir.Value:
    node.name = f"{variable.layer}/{node.op_type}"
    node.outputs[0].name = f"__laid_out_{variable.path}_{node.op_type}_{id(node)}"
    graph.insert_before(graph[0], node)  # `graph.sort` puts it where it belongs
    return node.outputs[0]


def _add_initializer(graph: ir.Graph, name: str, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> ir.Value:
    tensor = ir.Tensor(np.ascontiguousarray(values), name=name)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def _order_inputs(graph: ir.Graph, trace: Trace) -> None:
    by_name = {value.name: value for value in graph.inputs}
    ordered = [by_name[port.tensor] for port in trace.inputs]
    graph.inputs.clear()
    graph.inputs.extend(ordered)


def _drop_rank_changes(graph: ir.Graph) -> None:
    """Take out Unsqueeze … Squeeze around a BatchNormalization of rows: ONNX normalises [batch, channels] as it is."""
    for node in [each for each in graph if each.op_type == "BatchNormalization"]:
        readers = [use.node for use in node.outputs[0].uses()]
        axes, source = _before_unsqueezes(node.inputs[0])
        if axes == [2, 3] and len(readers) == 1 and _axes(readers[0], "Squeeze") == [2, 3]:
            node.replace_input_with(0, source)
            node.outputs[0].shape = None
            ir.convenience.replace_all_uses_with(readers[0].outputs[0], node.outputs[0], replace_graph_outputs=True)


def _drop_detours(graph: ir.Graph) -> None:
    """Take out Squeeze, Reshape, Transpose after a global pooling where they lead back to [batch, channels, 1, 1]."""
    for node in [each for each in graph if each.op_type == "Transpose"]:
        reshape = _producer(node, "Reshape")
        squeeze = _producer(reshape, "Squeeze")
        pool = _producer(squeeze, "GlobalAveragePool", "GlobalMaxPool")
        if reshape is None or squeeze is None or pool is None:
            continue
        shape = _constant_integers(reshape.inputs[1])
        back = shape is not None and len(shape) == 4 and shape[:3] == [-1, 1, 1]
        if back and _axes(squeeze, "Squeeze") == [2, 3] and node.attributes["perm"].as_ints() == (0, 3, 1, 2):
            ir.convenience.replace_all_uses_with(node.outputs[0], pool.outputs[0], replace_graph_outputs=True)


def _keep_zeros_before_pooling(graph: ir.Graph) -> None:
    """Pad with the smallest normal number before a MaxPool, so that ONNX Runtime does not merge the two.

    Its Pad_Fusion (seen in 1.31, at every optimization level but "disable") makes zero padding part of the MaxPool,
    where padding counts as minus infinity: with negative values around, the maximum is wrong. ResNet50V2 was 0.6 % off.
    """
    for node in [each for each in graph if each.op_type == "Pad"]:
        pooled = any(use.node.op_type == "MaxPool" for use in node.outputs[0].uses())
        positive = _producer(node, "Relu") is not None
        if pooled and not positive and _pads_with_zero(node):
            smallest = np.array(np.finfo(np.float32).tiny, np.float32)
            value = _add_initializer(graph, f"__padding_{len(graph.initializers)}", smallest)
            node.resize_inputs(max(3, len(node.inputs)))
            node.replace_input_with(2, value)


def _pads_with_zero(node: ir.Node) -> bool:
    mode = node.attributes.get("mode")
    value = node.inputs[2] if len(node.inputs) > 2 else None
    tensor = None if value is None else value.const_value
    constant = mode is None or mode.as_string() == "constant"
    return constant and (value is None or (tensor is not None and not tensor.numpy().any()))


def _producer(node: ir.Node | None, *op_types: str) -> ir.Node | None:
    value = None if node is None else node.inputs[0]
    producer = None if value is None else value.producer()
    return producer if producer is not None and producer.op_type in op_types else None


def _before_unsqueezes(value: ir.Value | None) -> tuple[list[int], ir.Value | None]:
    axes: list[int] = []
    while value is not None and (node := value.producer()) is not None:
        added = _axes(node, "Unsqueeze")
        if added is None:
            break
        axes = added + axes
        value = node.inputs[0]
    return axes, value


def _axes(node: ir.Node, op_type: str) -> list[int] | None:
    return _constant_integers(node.inputs[1]) if node.op_type == op_type and len(node.inputs) == 2 else None


def _constant_integers(value: ir.Value | None) -> list[int] | None:
    if value is None or value.const_value is None:
        return None
    return [int(number) for number in np.asarray(value.const_value.numpy()).reshape(-1)]


def _forget_inner_shapes(graph: ir.Graph) -> None:
    """Drop the shapes that tf2onnx guessed inside the graph; whoever needs them infers them."""
    kept = {id(value) for value in graph.outputs}
    for node in graph:
        for value in node.outputs:
            if id(value) not in kept:
                value.shape = None
                value.type = None


def _name_dimensions(graph: ir.Graph) -> None:
    for value in (*graph.inputs, *graph.outputs):
        if value.shape is not None:
            value.shape = ir.Shape(
                [
                    size if isinstance(size, int) else "batch" if axis == 0 else f"{value.name}_{axis}"
                    for axis, size in enumerate(value.shape)
                ]
            )
