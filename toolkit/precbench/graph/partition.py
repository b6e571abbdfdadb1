"""Cut a model in two: what some of its tensors can reach has to run again when they change, the rest has not."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from precbench.errors import ModelError, OutputError, TargetError
from precbench.graph.model import HeldTensor, OnnxModel, graphs, is_external, save_model

_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_MAX_BYTES = 2**31 - 1  # protobuf's own limit
_TYPED_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Where a model is cut.

    Attributes:
        nodes: the nodes behind the cut, by their index among the graph's own; in order.
        values: what these read from before the cut, values of other nodes or inputs of the model; inputs first, then
            in the order in which they are made.
        outputs: the model's outputs that are made behind the cut, in the model's order; the others are made before.
    """

    nodes: tuple[int, ...]
    values: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a model as a model of its own.

    Attributes:
        model: the part.
        positions: position in the whole model's `tensors()` -> position in the part's, of each tensor that is in it.
    """

    model: OnnxModel
    positions: Mapping[int, int]


def cut_model(model: OnnxModel, changed: Collection[int]) -> Cut:
    """Cut a model so that behind the cut lies what some tensors can reach on the way to an output, and no more.

    The law: whatever values the tensors take, what lies before the cut computes the same. A runtime may still compute
    a value with other bits where it enters or leaves a model, because it fuses nodes: cut what no longer is fused.

    What is made of constants alone goes with the nodes that read it. A node with subgraphs (If, Loop, Scan) is one
    node, that reads what they read from outside.

    Args:
        model: with its nodes in topological order, as `load_model` checks, and no `obstacle`.
        changed: positions in `OnnxModel.tensors()`. Where they reach no output nothing lies behind the cut.
    """
    flow = _Flow(model)
    behind = flow.reached_from(changed) & flow.needed_for(flow.outputs)
    nodes = behind | flow.folded_for(behind)
    read = {name for index in nodes for name in flow.reads[index]} - flow.constants
    values = {name for name in read if flow.maker.get(name) not in nodes}
    return Cut(
        nodes=tuple(sorted(nodes)),
        values=tuple(sorted(values, key=lambda name: (flow.maker.get(name, -1), name))),
        outputs=tuple(name for name in flow.outputs if flow.maker.get(name) in nodes),
    )


def obstacle(model: OnnxModel, changed: Collection[int]) -> str | None:
    """Say why a model cannot be cut behind some of its tensors; None where it can.

    What a node draws at random depends on what was drawn before; and a tensor that is an output lies behind no node.
    """
    bodies = [*(graph.node for graph in graphs(model.proto.graph)), *(f.node for f in model.proto.functions)]
    drawing = next((node for body in bodies for node in body if _draws_numbers(node)), None)
    if drawing is not None:
        return f"the model draws random numbers ({drawing.op_type})"
    outputs = {value.name for value in model.proto.graph.output}
    direct = (held.name for held in model.tensors() if held.position in changed and held.value in outputs)
    return next((f"the tensor {name!r} is an output of the model" for name in direct), None)


def part_before(model: OnnxModel, values: Collection[str]) -> Part:
    """Return the part of a model that makes some of its values: with the inputs that it reads, and these as outputs.

    The outputs' types are left open, for a runtime to infer.

    Args:
        model: the whole.
        values: of the graph's own nodes, not of a subgraph's.
    """
    flow = _Flow(model)
    nodes = sorted(flow.needed_for(values))
    read = {name for index in nodes for name in flow.reads[index]} - flow.constants
    inputs = [value for value in model.proto.graph.input if value.name in read]
    return _part(flow, nodes, inputs, [_value_info(name) for name in values], set())


def part_behind(model: OnnxModel, cut: Cut, types: Mapping[str, np.dtype[Any]], *, fed: Collection[int] = ()) -> Part:
    """Return the part of a model behind a cut.

    Args:
        model: the whole.
        cut: of it.
        types: of the values that cross the cut; of the model's own inputs its own word is taken.
        fed: positions of initializers that become inputs: a session can then run with any values of them.
    """
    flow = _Flow(model)
    own = {value.name: value for value in model.proto.graph.input}
    weights = {held.value: held.proto for held in model.tensors() if held.position in fed}
    inputs = [own[name] if name in own else _value_info(name, types[name]) for name in cut.values]
    inputs += [helper.make_tensor_value_info(name, held.data_type, held.dims) for name, held in weights.items()]
    outputs = [value for value in model.proto.graph.output if value.name in cut.outputs]
    return _part(flow, cut.nodes, inputs, outputs, set(weights))


def readers(model: OnnxModel, positions: Collection[int]) -> set[str] | None:
    """Return the operators that read some initializers, as `domain:type` or `type`; None where others may read them.

    Others may where a tensor is in a node, in a subgraph, read from within one, or an input of the model as well.
    """
    flow, found = _Flow(model), set[str]()
    inputs = {value.name for value in model.proto.graph.input}
    for held, owner in flow.held(positions):
        nodes = [node for node, reads in zip(flow.nodes, flow.reads, strict=True) if held.value in reads]
        if owner is not None or held.value in inputs or any(held.value not in node.input for node in nodes):
            return None
        found |= {f"{n.domain}:{n.op_type}" if n.domain not in ("", "ai.onnx") else n.op_type for n in nodes}
    return found


def with_values(model: OnnxModel, values: Mapping[int, NDArray[Any]]) -> OnnxModel:
    """Return a model in which some tensors have other values; the model given is not modified.

    Args:
        model: its values inside are copied, external ones are not.
        values: position -> array of the tensor's type and shape.

    Raises:
        TargetError: see `check_replacement`.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    replaced = dict(model.replaced)
    for held in OnnxModel(proto=proto, folder=model.folder).tensors():
        if held.position in values:
            check_replacement(held, values[held.position])
            _replace(held, values[held.position], replaced)
    return OnnxModel(proto=proto, folder=model.folder, replaced=replaced)


def with_data_inside(model: OnnxModel) -> OnnxModel:
    """Return a model that needs no file beside its own: external data is read into it.

    Raises:
        ModelError: it would be larger than protobuf's 2 GiB.
    """
    outside = [held for held in model.tensors() if is_external(held.proto)]
    if not outside:
        return model
    total_bytes = model.proto.ByteSize() + sum(model.values(held).nbytes for held in outside)
    if total_bytes > _MAX_BYTES:
        raise ModelError(
            f"with its external data inside the model would have {total_bytes:,} bytes, more than protobuf's 2 GiB",
            "leave the data outside",
        )
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for held, own in zip(OnnxModel(proto=proto, folder=model.folder).tensors(), model.tensors(), strict=True):
        if is_external(held.proto):
            held.proto.ClearField("external_data")
            held.proto.ClearField("data_location")
            held.proto.raw_data = numpy_helper.from_array(model.values(own)).raw_data
    return OnnxModel(proto=proto, folder=model.folder)


def check_replacement(held: HeldTensor, values: NDArray[Any]) -> None:
    """Refuse values that a tensor cannot take.

    Raises:
        TargetError: they have another type or shape, or the tensor holds strings or numbers of less than a byte.
    """
    kind, shape = held.proto.data_type, tuple(held.proto.dims)
    is_replaced = kind != onnx.TensorProto.STRING and ir.DataType(kind).bitwidth >= 8
    if not is_replaced or values.dtype != helper.tensor_dtype_to_np_dtype(kind) or values.shape != shape:
        raise TargetError(
            f"the values for {held.name!r} are {values.dtype} of shape {list(values.shape)}, the tensor is "
            f"{onnx.TensorProto.DataType.Name(kind)} of shape {list(shape)}",
            "give an array of the tensor's own type and shape; strings and numbers under 8 bits are not replaced",
        )


def write_part(model: OnnxModel, path: Path) -> None:
    """Write a model to a file that is soon read and removed: not atomically, and not flushed to disk.

    Raises:
        OutputError: it cannot be written.
    """
    if any(is_external(held.proto) for held in model.tensors()):
        save_model(model, path)
        return
    try:
        path.write_bytes(model.proto.SerializeToString())
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}",
            "make room there, or name another folder for temporary files with TMPDIR",
        ) from error


def reads_of(node: onnx.NodeProto) -> tuple[str, ...]:
    """Return what a node reads: its inputs, and what its subgraphs take from outside."""
    inner = (name for graph in own_graphs(node) for name in _taken_from_outside(graph))
    return tuple(dict.fromkeys(name for name in (*node.input, *inner) if name))


def own_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs that a node holds itself: the bodies of If, Loop and Scan."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


class _Flow:
    """What the nodes of a model's graph read and make, and what in it is constant."""

    def __init__(self, model: OnnxModel) -> None:
        graph = model.proto.graph
        self.model = model
        self.nodes = list(graph.node)
        self.outputs = [value.name for value in graph.output]
        self.constants = {tensor.name for tensor in graph.initializer}
        self.constants |= {sparse.values.name for sparse in graph.sparse_initializer}
        self.reads = [reads_of(node) for node in self.nodes]
        self.maker = {name: index for index, node in enumerate(self.nodes) for name in node.output if name}

    def held(self, positions: Collection[int]) -> Iterator[tuple[HeldTensor, int | None]]:
        """Yield tensors with the node that holds each, as its value or in a subgraph; None for an initializer."""
        owners: list[int | None] = [None]  # scope -> the node whose subgraph it is
        for index, node in enumerate(self.nodes):
            owners += [index] * sum(1 for graph in own_graphs(node) for _ in graphs(graph))
        for held in self.model.tensors():
            if held.position in positions:
                owner = owners[held.scope]
                yield held, self.maker[held.value] if owner is None and held.in_node else owner

    def reached_from(self, changed: Collection[int]) -> set[int]:
        starts = list(self.held(changed))
        values = {held.value for held, owner in starts if owner is None}
        nodes = {owner for _, owner in starts if owner is not None}
        for index, node in enumerate(self.nodes):
            if index in nodes or not values.isdisjoint(self.reads[index]):
                nodes.add(index)
                values.update(name for name in node.output if name)
        return nodes

    def needed_for(self, values: Iterable[str]) -> set[int]:
        nodes: set[int] = set()
        waiting = [self.maker[value] for value in values if value in self.maker]
        while waiting:
            index = waiting.pop()
            if index not in nodes:
                nodes.add(index)
                waiting += [self.maker[name] for name in self.reads[index] if name in self.maker]
        return nodes

    def folded_for(self, nodes: Collection[int]) -> set[int]:
        """The nodes that make, of constants alone, what some nodes read."""
        known, folds = set(self.constants), set[int]()
        for index, node in enumerate(self.nodes):
            if known.issuperset(self.reads[index]):
                folds.add(index)
                known.update(node.output)
        return self.needed_for(name for index in nodes for name in self.reads[index] if self.maker.get(name) in folds)


def _part(
    flow: _Flow,
    nodes: Collection[int],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    fed: set[str],
) -> Part:
    model, whole, graph = flow.model, flow.model.proto, flow.model.proto.graph
    read = {name for index in nodes for name in flow.reads[index]}
    made = {name for index in nodes for name in flow.nodes[index].output}
    kept = (read & flow.constants) - fed
    part = onnx.ModelProto(ir_version=whole.ir_version, opset_import=whole.opset_import, functions=whole.functions)
    part.graph.name = graph.name or "part"
    part.graph.node.extend(flow.nodes[index] for index in nodes)
    part.graph.initializer.extend(tensor for tensor in graph.initializer if tensor.name in kept)
    part.graph.sparse_initializer.extend(each for each in graph.sparse_initializer if each.values.name in kept)
    # An initializer that is an input too can be overridden, which keeps a runtime from folding it: it stays one.
    part.graph.input.extend([*inputs, *(value for value in graph.input if value.name in kept)])
    part.graph.output.extend(outputs)
    part.graph.value_info.extend(value for value in graph.value_info if value.name in made)
    annotated = (each for each in graph.quantization_annotation if each.tensor_name in read | made)
    part.graph.quantization_annotation.extend(annotated)
    everything = {held.position for held in model.tensors()}
    inside = (
        held.position
        for held, owner in flow.held(everything)
        if (held.value in kept if owner is None else owner in nodes)
    )
    positions = {position: index for index, position in enumerate(inside)}
    replaced = {positions[position]: values for position, values in model.replaced.items() if position in positions}
    return Part(model=OnnxModel(proto=part, folder=model.folder, replaced=replaced), positions=positions)


def _taken_from_outside(graph: onnx.GraphProto) -> Iterator[str]:
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own |= {sparse.values.name for sparse in graph.sparse_initializer}
    for node in graph.node:
        yield from (name for name in reads_of(node) if name not in own)
        own.update(node.output)
    yield from (value.name for value in graph.output if value.name not in own)


def _draws_numbers(node: onnx.NodeProto) -> bool:
    """A Dropout that is told whether it trains may drop; one that is not told passes all on."""
    return node.op_type in _RANDOM or (node.op_type == "Dropout" and len(node.input) > 2 and bool(node.input[2]))


def _value_info(name: str, dtype: np.dtype[Any] | None = None) -> onnx.ValueInfoProto:
    if dtype is None:
        return onnx.ValueInfoProto(name=name)
    kind = onnx.TensorProto.STRING if dtype.kind == "U" else helper.np_dtype_to_tensor_dtype(dtype)
    return helper.make_tensor_value_info(name, kind, None)


def _replace(held: HeldTensor, values: NDArray[Any], replaced: dict[int, NDArray[Any]]) -> None:
    tensor = held.proto
    if is_external(tensor):
        replaced[held.position] = values
        return
    for field in _TYPED_FIELDS:
        tensor.ClearField(field)
    tensor.raw_data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
