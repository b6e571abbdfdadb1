"""The gate: the provider asked for is the one that runs the model.

The rule. Every node must be on the provider asked for, with one exception: ONNX Runtime deliberately runs shape
computations on the CPU, because their values are there already (`GetCpuPreferredNodes` in its source). A node on the
CPU counts as one if its values cannot depend on the data in the model's inputs, only on their shapes: each of its
inputs is the output of Shape or Size, of another such node, a Constant or a small initializer (at most 100 elements,
ONNX Runtime's own limit), or a graph input of integers of rank 0 or 1. Such nodes are allowed and recorded. Copies
between the devices (Memcpy) are no nodes of the model; ONNX Runtime adds them afterwards and they are counted apart.

A node is looked up by its name; one without a name, or that an optimizer made, is allowed only if every node of its
type in the model is a shape computation. In doubt the answer is no.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from precbench.errors import ProviderError
from precbench.runtime.settings import PROVIDERS

CPU = PROVIDERS["cpu"]
SMALL_INITIALIZER_ELEMENTS = 100
_CUTS = ("Shape", "Size", "Constant")
_MEMCPY = re.compile(r"(\d+) Memcpy nodes are added")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedNode:
    """One node and the provider that runs it."""

    name: str
    op_type: str
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphNode:
    """One node of the model's graph: what it reads and what it makes."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    has_subgraph: bool = False


def placed_nodes(session: Any) -> list[PlacedNode]:
    """Read back from ONNX Runtime where each node runs (needs `session.record_ep_graph_assignment_info`)."""
    return [
        PlacedNode(
            name=node.name,
            op_type=f"{node.domain}:{node.op_type}" if node.domain else node.op_type,
            provider=subgraph.ep_name,
        )
        for subgraph in session.get_provider_graph_assignment_info()
        for node in subgraph.get_nodes()
    ]


def count_by_provider(nodes: Iterable[PlacedNode]) -> dict[str, int]:
    """Return provider -> how many nodes it runs, in the order of the names."""
    return dict(sorted(Counter(node.provider for node in nodes).items()))


def count_memcpy(noise: str) -> int | None:
    """Return how many copies between devices ONNX Runtime said it added; None where it said nothing."""
    found = [int(count) for count in _MEMCPY.findall(noise)]
    return sum(found) if found else None


def check_placement(provider: str, nodes: Sequence[PlacedNode], model: Path) -> tuple[PlacedNode, ...]:
    """Refuse a placement that breaks the rule above.

    Args:
        provider: short name of the one asked for.
        nodes: where each node runs.
        model: read for the shape computations, and only if a node runs on the CPU that should not.

    Returns:
        The shape computations that run on the CPU.

    Raises:
        ProviderError: compute nodes run elsewhere, or none where they should.
    """
    wanted = PROVIDERS[provider]
    elsewhere = [node for node in nodes if node.provider != wanted]
    if not elsewhere:
        return ()
    shape_nodes = shape_computations(*read_graph(model))
    strays = [node for node in elsewhere if node.provider != CPU or not _is_shape_node(node, shape_nodes)]
    if strays:
        raise ProviderError(
            f"the {provider} provider does not run the whole model: {len(strays)} of {len(nodes)} nodes are elsewhere, "
            f"among them {_describe(strays)}",
            f"use --ep cpu, or a model of operators that {wanted} has",
        )
    if len(elsewhere) == len(nodes):
        raise ProviderError(
            f"the {provider} provider runs no node of the model, all {len(nodes)} are shape computations on the CPU",
            "use --ep cpu for this model",
        )
    return tuple(elsewhere)


def shape_computations(nodes: Sequence[GraphNode], known: Iterable[str]) -> Mapping[tuple[str, str], bool]:
    """Say of each (name, op type) whether every node that bears it is a shape computation.

    Nodes are keyed by name and type, and once more under the empty name for the whole type.

    Args:
        nodes: in topological order, those of subgraphs included.
        known: names of values that are no input data: small initializers, integer inputs of rank 0 or 1.
    """
    harmless, verdicts = {"", *known}, dict[tuple[str, str], bool]()
    for node in nodes:
        only_shapes = not node.has_subgraph and (node.op_type in _CUTS or all(n in harmless for n in node.inputs))
        if only_shapes:
            harmless.update(node.outputs)
        for key in {(node.name, node.op_type), ("", node.op_type)}:
            verdicts[key] = verdicts.get(key, True) and only_shapes
    return verdicts


def read_graph(model: Path) -> tuple[list[GraphNode], set[str]]:
    """Read the nodes of a model (subgraphs too), and the names of values that carry no input data."""
    import onnx

    graph = onnx.load(str(model), load_external_data=False).graph
    small = {tensor.name for tensor in graph.initializer if prod(tensor.dims) <= SMALL_INITIALIZER_ELEMENTS}
    whole = {onnx.TensorProto.INT32, onnx.TensorProto.INT64}
    for value in graph.input:
        kind = value.type.tensor_type
        if kind.elem_type in whole and kind.HasField("shape") and len(kind.shape.dim) <= 1:
            small.add(value.name)
    return list(_walk(graph.node)), small


def _walk(nodes: Iterable[Any]) -> Iterator[GraphNode]:
    for node in nodes:
        subgraphs = [graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs) if graph.node]
        op_type = f"{node.domain}:{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
        yield GraphNode(
            name=node.name,
            op_type=op_type,
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            has_subgraph=bool(subgraphs),
        )
        for graph in subgraphs:
            yield from _walk(graph.node)


def _is_shape_node(node: PlacedNode, verdicts: Mapping[tuple[str, str], bool]) -> bool:
    by_type = verdicts.get(("", node.op_type), False)
    return verdicts.get((node.name, node.op_type), by_type) if node.name else by_type


def _describe(nodes: Sequence[PlacedNode]) -> str:
    shown = [f"{node.op_type} {node.name!r} on {node.provider}" for node in nodes[:3]]
    return ", ".join(shown) + (", …" if len(nodes) > 3 else "")
