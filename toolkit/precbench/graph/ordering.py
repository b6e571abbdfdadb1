"""One order for the nodes and initializers of a graph, whoever wrote it."""

import heapq
from collections import defaultdict
from collections.abc import Sequence

import onnx

from precbench.graph.model import OnnxModel
from precbench.graph.partition import own_graphs, reads_of


def in_order(model: OnnxModel) -> OnnxModel:
    """Return a model with the nodes and initializers of each of its graphs in an order that their names alone give.

    The law: two models that hold the same nodes and initializers, each in an order of its own, come out the same; and
    nodes stay after those whose values they read. ONNX Runtime orders what it writes by chance: of a graph with
    branches no two files need be the same.

    Args:
        model: not modified. Without replaced external data, whose positions would be others.
    """
    if model.replaced:
        raise ValueError("the positions of replaced tensors would be others")
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    _order(proto.graph)
    return OnnxModel(proto=proto, folder=model.folder)


def _order(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for inner in own_graphs(node):
            _order(inner)
    place = {name: index for index, name in enumerate(_order_of(graph.node))}
    graph.node.sort(key=lambda node: place[_name(node)])
    graph.initializer.sort(key=lambda tensor: tensor.name)


def _order_of(nodes: Sequence[onnx.NodeProto]) -> list[tuple[str, ...]]:
    """Topological order, by what the nodes make; of those that can come next, the one with the first names comes."""
    maker = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    before = [{maker[name] for name in reads_of(node) if name in maker} for node in nodes]
    after: dict[int, list[int]] = defaultdict(list)
    for index, makers in enumerate(before):
        for made in makers:
            after[made].append(index)
    missing = [len(makers) for makers in before]
    ready = [(_name(node), index) for index, node in enumerate(nodes) if not missing[index]]
    heapq.heapify(ready)
    ordered = []
    while ready:
        name, index = heapq.heappop(ready)
        ordered.append(name)
        for later in after[index]:
            missing[later] -= 1
            if not missing[later]:
                heapq.heappush(ready, (_name(nodes[later]), later))
    return ordered


def _name(node: onnx.NodeProto) -> tuple[str, ...]:
    """Names of values are unique in a graph, so these tell all nodes apart that make any."""
    return tuple(node.output)
