"""Readable names in an ONNX graph: each node under the Keras layer that it came from, each value under its node."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

_NUMBERED = re.compile(r"__\d+$")


def unique_names(taken: Iterable[str]) -> Callable[[str], str]:
    """Return a function that gives back the name asked for, numbered (`_1`, `_2`, …) where it was taken before."""
    used = set(taken)

    def unique(name: str) -> str:
        chosen, number = name, 0
        while chosen in used:
            number += 1
            chosen = f"{name}_{number}"
        used.add(chosen)
        return chosen

    return unique


def name_everything(graph: ir.Graph, *, ports: Sequence[str], variables: Sequence[str]) -> None:
    """Name nodes, values and constants, in place; no name is given twice.

    A node is `<layer path>/<op type>` and its first output likewise; a constant that is no variable is
    `const/<dtype>/<value>` where it is one number, `const/<node>/<input>` where it is an array.

    Args:
        graph: in topological order.
        ports: the names of the graph's inputs, then of its outputs.
        variables: the names of the initializers that are variables, which stay.
    """
    unique = unique_names([*variables, *_inner_names(graph)])
    wanted: list[tuple[ir.Value, str]] = [
        (value, unique(name)) for value, name in zip([*graph.inputs, *graph.outputs], ports, strict=True)
    ]
    given = {id(value) for value, _ in wanted}
    for node, scope in zip(graph, _scopes(graph), strict=True):
        node.name = unique(f"{scope}/{node.op_type}" if scope else node.op_type)
        wanted += [
            (value, node.name if position == 0 else unique(f"{node.name}/{position}"))
            for position, value in enumerate(node.outputs)
            if id(value) not in given
        ]
    wanted += [
        (value, unique(_constant_name(value, first)))
        for value, first in _constants_in_order(graph, set(variables))
        if id(value) not in given
    ]
    _rename(wanted)


def _constants_in_order(graph: ir.Graph, variables: set[str]) -> list[tuple[ir.Value, Any | None]]:
    """Put the constants behind the variables, in the order of their first use, whatever order tf2onnx left them in."""
    places = {id(node): place for place, node in enumerate(graph)}

    def place_of(use: Any) -> tuple[int, int]:
        return places.get(id(use.node), len(places)), use.idx

    constants = [value for name, value in graph.initializers.items() if name not in variables]
    firsts = [(value, min(value.uses(), key=place_of, default=None)) for value in constants]
    firsts.sort(key=lambda pair: (len(places), 0) if pair[1] is None else place_of(pair[1]))
    for value, _ in firsts:
        del graph.initializers[str(value.name)]
    for value, _ in firsts:
        graph.register_initializer(value)
    return firsts


def _rename(wanted: Sequence[tuple[ir.Value, str]]) -> None:
    """Rename in two steps, as the new name of one value may be the old name of another."""
    for position, (value, _) in enumerate(wanted):
        value.name = f"__renamed_{position}"
    for value, name in wanted:
        value.name = name


def _scopes(graph: ir.Graph) -> list[str]:
    """The layer path of each node: its own, else that of a node that uses it, else that of one that feeds it."""
    nodes = list(graph)
    own = {id(node): _NUMBERED.sub("", node.name or "").rpartition("/")[0] for node in nodes}
    for node in reversed(nodes):
        for feeder in _feeders(node):
            if not own.get(id(feeder), "?"):
                own[id(feeder)] = own[id(node)]
    for node in nodes:
        own[id(node)] = own[id(node)] or next((own.get(id(feeder), "") for feeder in _feeders(node)), "")
    return [own[id(node)] for node in nodes]


def _feeders(node: ir.Node) -> list[ir.Node]:
    producers = [value.producer() for value in node.inputs if value is not None]
    return [producer for producer in producers if producer is not None]


def _constant_name(value: ir.Value, first: Any | None) -> str:
    tensor = value.const_value
    if tensor is not None and tensor.size == 1 and tensor.dtype != ir.DataType.STRING:
        number = np.asarray(tensor.numpy()).reshape(())[()]
        text = str(number) if tensor.dtype.is_integer() else f"{float(number):.9g}"
        return f"const/{tensor.dtype.numpy().name}/{text}"
    return "const/unused" if first is None else f"const/{first.node.name}/{_input_name(first.node, first.idx)}"


def _input_name(node: ir.Node, position: int) -> str:
    formal = onnx.defs.get_schema(node.op_type, domain=node.domain).inputs
    return str(formal[position].name) if position < len(formal) else str(position)


def _inner_names(graph: ir.Graph) -> set[str]:
    """The names of values in subgraphs, which see those of the graph around them."""
    outer = set(graph)
    nodes = [node for node in graph.all_nodes() if node not in outer]
    values = [value for node in nodes for value in (*node.outputs, *node.inputs) if value is not None]
    return {value.name for value in values if value.name and value.graph is not graph}
