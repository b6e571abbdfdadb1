"""The tensors of a model that can be rounded, each with the part that it plays in the graph."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import onnx
import onnx_ir as ir

from precbench.graph.metadata import InitializerOrigin, read_metadata
from precbench.graph.model import HeldTensor, OnnxModel, graphs

_WEIGHT_INPUTS = {"Conv": (1,), "ConvTranspose": (1,), "Gemm": (0, 1), "MatMul": (0, 1)}
_BIAS_INPUTS = {"Conv": (2,), "ConvTranspose": (2,), "Gemm": (2,)}
_LAYOUT_OPS = frozenset({"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"})
"""Operators that only rearrange values: a weight that passes through one is still a weight."""


class Role(StrEnum):
    """The part a tensor plays in the graph, by the operator inputs that it feeds."""

    WEIGHT = "weight"
    BIAS = "bias"
    BATCH_NORM = "batch-norm"
    INTEGER = "integer"
    OTHER = "other"


_NODE_ROLES = frozenset({Role.WEIGHT, Role.BIAS, Role.BATCH_NORM})


@dataclass(frozen=True, slots=True, kw_only=True)
class Initializer:
    """A constant tensor of a model: an initializer, or the value of a `Constant` node.

    Attributes:
        position: its place in `OnnxModel.tensors()`.
        name: the initializer's name, or the output of the `Constant` node.
        layer: the Keras layer, or what stands for it: the name's folder, its module path, or the consuming node.
        group: the group of layers that it belongs to, where the model's metadata names one.
        role: the part it plays.
        op_types: the operators that use it (after operators that only rearrange), sorted.
        dtype: ONNX's name of its type, `FLOAT`, `INT64`, ….
        shape: in ONNX's order.
        channel_axis: of a weight's output channels; None where it is no weight, or a node between turns it round.
    """

    position: int
    name: str
    layer: str
    group: str | None
    role: Role
    op_types: tuple[str, ...]
    dtype: str
    shape: tuple[int, ...]
    channel_axis: int | None = None

    @property
    def elements(self) -> int:
        """The number of elements, the product of the shape."""
        elements = 1
        for n in self.shape:
            elements *= n
        return elements


@dataclass(frozen=True, slots=True)
class _Use:
    op_type: str
    node: str
    index: int
    channel_axis: int | None


def list_initializers(model: OnnxModel) -> tuple[Initializer, ...]:
    """List the model's constant tensors in the file's order, those of subgraphs included.

    `Constant` nodes are listed only where their value is a weight, a bias or a batch-normalisation variable: the
    others are axes, shapes and other arguments.

    Raises:
        ModelError: the model's precbench metadata is damaged or newer than this version.
    """
    metadata = read_metadata(model.proto)
    origins = metadata.initializers if metadata is not None else {}
    scopes: dict[int, _Uses] = {}
    subgraphs = list(graphs(model.proto.graph))
    listed = []
    for held in model.tensors():
        if held.scope not in scopes:
            scopes[held.scope] = _Uses.of(subgraphs[held.scope])
        uses = scopes[held.scope]
        axes = {use.channel_axis for use in uses.direct.get(held.value, []) if use.channel_axis is not None}
        initializer = _describe(held, uses.reached_from(held.value), origins.get(held.name), axes)
        if not held.in_node or initializer.role in _NODE_ROLES:
            listed.append(initializer)
    return tuple(listed)


def _describe(
    held: HeldTensor, uses: list[_Use], origin: InitializerOrigin | None, channel_axes: set[int]
) -> Initializer:
    return Initializer(
        position=held.position,
        name=held.name,
        layer=origin.layer if origin is not None else _layer(held.name, uses),
        group=origin.group if origin is not None else None,
        role=_role(held.proto, uses, origin),
        op_types=tuple(sorted({use.op_type for use in uses})),
        dtype=onnx.TensorProto.DataType.Name(held.proto.data_type),
        shape=tuple(held.proto.dims),
        channel_axis=_one_axis(channel_axes, len(held.proto.dims)),
    )


def _channel_axis(node: onnx.NodeProto, index: int) -> int | None:
    """Which axis of a node's input are its output channels; None where that is no weight on the right."""
    if index != 1:
        return None
    match node.op_type:
        case "Conv":
            return 0
        case "ConvTranspose":
            grouped = any(one.name == "group" and one.i != 1 for one in node.attribute)
            return None if grouped else 1  # axis 1 holds the channels of one group
        case "MatMul":
            return -1
        case "Gemm":
            return 0 if any(one.name == "transB" and one.i for one in node.attribute) else 1
    return None


def _one_axis(axes: set[int], rank: int) -> int | None:
    """The axis that all users agree on, from the front."""
    found = {axis % rank for axis in axes if -rank <= axis < rank} if rank > 1 else set()
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class _Uses:
    """Who reads what in a graph and the graphs inside it."""

    direct: Mapping[str, list[_Use]]
    passed_to: Mapping[str, list[str]]

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> "_Uses":
        direct: dict[str, list[_Use]] = defaultdict(list)
        passed_to: dict[str, list[str]] = defaultdict(list)
        for node in (node for g in graphs(graph) for node in g.node):
            is_standard = node.domain in ("", "ai.onnx")
            op_type = node.op_type if is_standard else f"{node.domain}:{node.op_type}"
            for index, name in enumerate(node.input):
                if is_standard and op_type in _LAYOUT_OPS and index == 0 and node.output:
                    passed_to[name].append(node.output[0])
                else:
                    direct[name].append(_Use(op_type, node.name, index, _channel_axis(node, index)))
        return cls(direct, passed_to)

    def reached_from(self, name: str) -> list[_Use]:
        """Return the operator inputs that a value feeds, looking through operators that only rearrange."""
        found, seen, waiting = [], set(), [name]
        while waiting:
            current = waiting.pop()
            if current not in seen:
                seen.add(current)
                found += self.direct.get(current, [])
                waiting += self.passed_to.get(current, [])
        return found


def _role(tensor: onnx.TensorProto, uses: list[_Use], origin: InitializerOrigin | None) -> Role:
    if not ir.DataType(tensor.data_type).is_floating_point():
        return Role.INTEGER
    if any(use.index in _WEIGHT_INPUTS.get(use.op_type, ()) for use in uses):
        return Role.WEIGHT
    if any(use.op_type == "BatchNormalization" and use.index > 0 for use in uses):
        return Role.BATCH_NORM
    is_keras_bias = origin is not None and origin.variable == "bias"  # Dense adds its bias with an Add of its own
    if is_keras_bias or any(use.index in _BIAS_INPUTS.get(use.op_type, ()) for use in uses):
        return Role.BIAS
    return Role.OTHER


def _layer(name: str, uses: list[_Use]) -> str:
    for separator in ("/", "."):
        if separator in name:
            return name.rpartition(separator)[0]
    return next((use.node for use in uses if use.node), name)
