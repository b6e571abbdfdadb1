"""Bring a graph into the form that integer kernels want: nothing idle, and layers that hold all that they can."""

from precbench.deploy.int8.affine_folding import fold_affines, make_gemms_plain
from precbench.deploy.int8.constant_folding import fold_constants
from precbench.deploy.int8.pad_folding import fold_pads
from precbench.deploy.int8.plain_graph import PlainGraph, has_subgraph, is_standard, read_names


def fold(graph: PlainGraph) -> None:
    """Fold constants, normalisation, added biases and padding into the nodes that they belong to, in place.

    The law: the graph computes what it computed, up to float32's rounding. Folding is done in float64. What nothing
    reads is dropped.
    """
    _drop_unread(graph)
    fold_constants(graph)
    _drop_no_ops(graph)
    make_gemms_plain(graph)
    fold_affines(graph)
    fold_pads(graph)


def _drop_unread(graph: PlainGraph) -> None:
    """Drop the nodes that no output depends on."""
    read, kept = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if not read.isdisjoint(node.output):
            kept.append(node)
            read.update(read_names(node))
    graph.nodes = kept[::-1]


def _drop_no_ops(graph: PlainGraph) -> None:
    """Drop Identity, and Dropout, which does nothing at inference; outputs keep their names."""
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.nodes:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        training = len(node.input) > 2 and node.input[2]
        idle = is_standard(node, "Identity") or (is_standard(node, "Dropout") and not training)
        plain = idle and node.output[0] not in graph.outputs and not _any_subgraph(graph)
        if plain and not any(name in _read(graph) for name in node.output[1:]):
            renamed[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    graph.nodes = kept


def _any_subgraph(graph: PlainGraph) -> bool:
    return any(has_subgraph(node) for node in graph.nodes)


def _read(graph: PlainGraph) -> set[str]:
    return {name for node in graph.nodes for name in node.input}
