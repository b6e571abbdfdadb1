"""What changes in a model's graphs: initializers go, codes and the nodes that rebuild the values come."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from precbench.deploy.packed.layout import Layout, divisor_name
from precbench.graph import OnnxModel
from precbench.graph.model import HeldTensor, graphs, is_external

_PAGE_BYTES = 4096  # what a tensor of external data takes at least: smaller ones lie in the model's file

Key = tuple[int, str, bool]
"""Scope, value, in a node: what a tensor is, whatever its position."""


@dataclass(slots=True, kw_only=True)
class Rewrite:
    """What changes in one graph; made tensor by tensor, and done at the end."""

    scope: int
    taken: set[str]
    gone: set[tuple[str, bool]] = field(default_factory=set)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    external: dict[Key, NDArray[Any]] = field(default_factory=dict)
    divisors: dict[tuple[int, int], str] = field(default_factory=dict)

    def replace(self, held: HeldTensor, layout: Layout, names: Mapping[str, str], codes: NDArray[np.int64]) -> None:
        """Put codes and the nodes that rebuild the tensor in its place."""
        self.gone.add((held.value, held.in_node))
        self.taken.update(names.values())
        self.nodes += layout.nodes(names, self._divisor(layout.divisor, layout.rank), held.value)
        for label, array in layout.arrays(codes).items():
            if is_external(held.proto) and label != "shape" and array.nbytes >= _PAGE_BYTES:
                self.initializers.append(_external(names[label], array))
                self.external[self.scope, names[label], False] = array
            else:
                self.initializers.append(_tensor(names[label], array))

    def _divisor(self, divisor: int, rank: int) -> str:
        """Return the name of a divisor in the graph, one for all tensors of a rank; 1 needs none."""
        if divisor != 1 and (divisor, rank) not in self.divisors:
            name = self.divisors[divisor, rank] = unique(divisor_name(divisor, rank), self.taken)
            self.taken.add(name)
            self.initializers.append(_tensor(name, np.full((1,) * rank, divisor, np.float32)))
        return self.divisors.get((divisor, rank), "")

    def apply(self, graph: onnx.GraphProto) -> None:
        """Change the graph; what stays is not copied."""
        for index in reversed(range(len(graph.initializer))):
            if (graph.initializer[index].name, False) in self.gone:
                del graph.initializer[index]
        for index in reversed(range(len(graph.node))):
            node = graph.node[index]
            if node.op_type == "Constant" and (node.output[0], True) in self.gone:
                del graph.node[index]
        for node in reversed(self.nodes):
            graph.node.insert(0, node)
        graph.initializer.extend(self.initializers)


def rewritten(model: OnnxModel, proto: onnx.ModelProto, rewrites: Sequence[Rewrite]) -> OnnxModel:
    """Do what was decided, inner graphs first, and find the external arrays' new positions."""
    arrays = {key(held): model.replaced[held.position] for held in model.tensors() if held.position in model.replaced}
    for graph, rewrite in reversed(list(zip(graphs(proto.graph), rewrites, strict=True))):
        rewrite.apply(graph)
        arrays |= rewrite.external
    held_now = OnnxModel(proto=proto, folder=model.folder).tensors()
    replaced = {held.position: arrays[key(held)] for held in held_now if key(held) in arrays}
    return OnnxModel(proto=proto, folder=model.folder, replaced=replaced)


def key(held: HeldTensor) -> Key:
    """Return what a tensor is, whatever its position."""
    return held.scope, held.value, held.in_node


def names_taken(proto: onnx.ModelProto) -> set[str]:
    """Return every name of a value in the model, of whatever graph: subgraphs see those around them."""
    taken: set[str] = set()
    for graph in graphs(proto.graph):
        taken |= {value.name for value in (*graph.input, *graph.output, *graph.value_info)}
        taken |= {tensor.name for tensor in graph.initializer}
        taken |= {sparse.values.name for sparse in graph.sparse_initializer}
        taken |= {name for node in graph.node for name in (*node.input, *node.output)}
    return taken


def unique(name: str, taken: Iterable[str]) -> str:
    """Return the name, with a number where it is taken."""
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    return unique


def _tensor(name: str, array: NDArray[Any]) -> onnx.TensorProto:
    """Return the array as a tensor with raw data; types under 8 bits are packed into bytes."""
    return ir.serde.serialize_tensor(ir.Tensor(array, name=name))


def _external(name: str, array: NDArray[Any]) -> onnx.TensorProto:
    """Return a tensor whose data is still to be written; saving says where."""
    tensor = onnx.TensorProto(name=name, data_type=int(ir.DataType.from_numpy(array.dtype)), dims=array.shape)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=".")
    return tensor
