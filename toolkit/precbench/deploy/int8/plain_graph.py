"""A model's graph as a list of nodes and a dictionary of constants: what folding and quantizing work on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import onnx
from google.protobuf.message import EncodeError
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, helper, numpy_helper, version_converter

from precbench.errors import ModelError
from precbench.graph import OnnxModel, opset_of
from precbench.graph.model import graphs

PER_CHANNEL_OPSET = 13
"""From this opset on DequantizeLinear takes a scale per channel."""
REFERENCE_OPSET = 19
"""From this opset on ONNX's reference implementation has QuantizeLinear and DequantizeLinear."""

_STANDARD = ("", "ai.onnx")


@dataclass(slots=True, kw_only=True)
class PlainGraph:
    """The top graph of a model, its weights in memory; changed in place by those who own it.

    Args:
        nodes: in topological order.
        constants: initializers and the values of `Constant` nodes, by name.
        frame: the model without nodes and initializers: inputs, outputs, opsets, metadata.
    """

    nodes: list[NodeProto]
    constants: dict[str, NDArray[Any]]
    frame: onnx.ModelProto
    _taken: set[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Note the names that are taken."""
        made = (name for node in self.nodes for name in node.output)
        self._taken = {*self.constants, *self.inputs, *self.outputs, *made}

    @classmethod
    def of(cls, model: OnnxModel) -> Self:
        """Return a model's graph, at opset 19 or newer where it can be converted, at least at 13.

        Raises:
            ModelError: its opset is older and cannot be converted, or an initializer is sparse.
        """
        if model.proto.graph.sparse_initializer or model.proto.functions:
            raise ModelError(
                "the model has sparse initializers or functions of its own, which are not taken apart here",
                "export it without them, or deploy it in another form",
            )
        proto = with_data(model)
        if opset_of(proto) < REFERENCE_OPSET:
            proto = _converted(proto)
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        nodes = []
        for node in proto.graph.node:
            value = _value_of(node)
            if value is None:
                nodes.append(node)
            else:
                constants[node.output[0]] = value
        frame = onnx.ModelProto()
        frame.CopyFrom(proto)
        del frame.graph.node[:], frame.graph.initializer[:], frame.graph.value_info[:]
        kept = [value for value in frame.graph.input if value.name not in constants]
        del frame.graph.input[:]
        frame.graph.input.extend(kept)
        return cls(nodes=nodes, constants=constants, frame=frame)

    @property
    def opset(self) -> int:
        """The opset of ONNX's own operators."""
        return opset_of(self.frame)

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs."""
        return [value.name for value in self.frame.graph.input]

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs."""
        return [value.name for value in self.frame.graph.output]

    def readers(self) -> dict[str, list[NodeProto]]:
        """Return who reads each tensor, subgraphs counted for their node; a node that reads it twice comes twice."""
        found: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in read_names(node):
                found.setdefault(name, []).append(node)
        return found

    def makers(self) -> dict[str, NodeProto]:
        """Return which node makes each tensor."""
        return {name: node for node in self.nodes for name in node.output if name}

    def only_reader(self, name: str, readers: dict[str, list[NodeProto]]) -> NodeProto | None:
        """Return the one node that reads a tensor; None where there are several, or it is an output."""
        found = readers.get(name, [])
        return found[0] if len(found) == 1 and name not in self.outputs else None

    def free_name(self, name: str) -> str:
        """Return a tensor name that nothing has or was given before, beginning with `name`."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def add_constant(self, name: str, value: NDArray[Any]) -> str:
        """Take a constant in and return the name that it got, which begins with `name`."""
        free = self.free_name(name)
        self.constants[free] = value
        return free

    def copy(self) -> Self:
        """Return a graph of its own; the arrays are shared and never written to."""
        nodes = []
        for node in self.nodes:
            nodes.append(NodeProto())
            nodes[-1].CopyFrom(node)
        copied = type(self)(nodes=nodes, constants=dict(self.constants), frame=self.frame)
        copied._taken |= self._taken
        return copied

    def to_proto(self, nodes: Iterable[NodeProto] | None = None) -> onnx.ModelProto:
        """Return the model, with the constants that its nodes read."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self.frame)
        proto.graph.node.extend(self.nodes if nodes is None else nodes)
        used = {name for node in proto.graph.node for name in read_names(node)} | set(self.outputs)
        proto.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(array, order="C"), name)
            for name, array in self.constants.items()
            if name in used
        )
        return proto


def is_standard(node: NodeProto, *op_types: str) -> bool:
    """Whether a node is one of ONNX's own operators of these types."""
    return node.domain in _STANDARD and node.op_type in op_types


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """Return an attribute's value, text as `str`; the default where it is not given."""
    for each in node.attribute:
        if each.name == name:
            value = helper.get_attribute_value(each)
            return value.decode() if isinstance(value, bytes) else value
    return default


def set_attribute(node: NodeProto, name: str, value: Any) -> None:
    """Give a node an attribute in place of the one it has; None takes it away."""
    kept = [each for each in node.attribute if each.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
    if value is not None:
        node.attribute.append(helper.make_attribute(name, value))


def has_subgraph(node: NodeProto) -> bool:
    """Whether a node holds graphs of its own (If, Loop, Scan)."""
    return any(each.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for each in node.attribute)


def read_names(node: NodeProto) -> Iterator[str]:
    """Yield each tensor that a node reads, those that its subgraphs read from outside among them."""
    yield from (name for name in node.input if name)
    for each in node.attribute:
        for subgraph in [*([each.g] if each.type == AttributeProto.GRAPH else []), *each.graphs]:
            for inner in graphs(subgraph):
                yield from (name for reader in inner.node for name in reader.input if name)


def _value_of(node: NodeProto) -> NDArray[Any] | None:
    if not is_standard(node, "Constant") or len(node.attribute) != 1:
        return None
    held = node.attribute[0]
    if held.name == "value":
        return numpy_helper.to_array(held.t)
    numbers = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    return np.asarray(helper.get_attribute_value(held), numbers[held.name]) if held.name in numbers else None


def with_data(model: OnnxModel) -> onnx.ModelProto:
    """Return a copy of a model that holds its external data itself."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for held, own in zip(OnnxModel(proto=proto, folder=model.folder).tensors(), model.tensors(), strict=True):
        if own.proto.data_location == onnx.TensorProto.EXTERNAL:
            held.proto.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(model.values(own)), held.proto.name))
    return proto


def _converted(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Raise the opset; a model that cannot be converted keeps its own where that will do."""
    foreign = sorted({entry.domain for entry in proto.opset_import if entry.domain not in _STANDARD})
    try:
        if foreign:
            raise RuntimeError(f"it uses operators of {', '.join(foreign)}")
        return version_converter.convert_version(proto, REFERENCE_OPSET)
    except (RuntimeError, ValueError, EncodeError) as error:
        if opset_of(proto) >= PER_CHANNEL_OPSET:
            return proto
        raise ModelError(
            f"the model has opset {opset_of(proto)}, int8 needs {PER_CHANNEL_OPSET}, and it is not converted: {error}",
            f"export it with opset {PER_CHANNEL_OPSET} or newer",
        ) from error
