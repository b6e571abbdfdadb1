"""Which tensors of a graph are held in eight bits, and what becomes of each node."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from onnx import NodeProto

from precbench.deploy.int8.plain_graph import PlainGraph, attribute, is_standard

_MOVES = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "MaxPool")
"""They hand on the numbers that they get: codes in, codes out, on the same grid."""
_JOINS = ("Add", "Concat", "GlobalAveragePool", "AveragePool")
"""ONNX Runtime computes them in integers from eight-bit inputs."""


class Part(StrEnum):
    """What a node is in the integer model."""

    WEIGHTED = "weighted"
    ACTIVATION = "activation"
    MOVE = "move"
    JOIN = "join"
    FLOAT = "float"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a graph is to run in integers.

    Args:
        parts: of each node, in order.
        held: tensors held in eight bits.
        origin: of those that a node only moves: the tensor whose grid they have.
        limits: of those behind an activation that is left to saturation: its lowest and highest value.
    """

    parts: tuple[Part, ...]
    held: frozenset[str]
    origin: Mapping[str, str]
    limits: Mapping[str, tuple[float, float]]

    def grid_of(self, name: str) -> str:
        """Return the tensor whose grid a tensor has."""
        while name in self.origin:
            name = self.origin[name]
        return name


def plan(graph: PlainGraph) -> Plan:
    """Choose what runs in integers: Conv, Gemm and MatMul with constant weights, and what lies between them.

    An activation behind one of them that only cuts off (Relu, Clip around zero) costs nothing: eight bits saturate at
    its limits. Outputs of the model stay float32; one that is read again is held in eight bits for its readers alone.
    """
    readers, makers = graph.readers(), graph.makers()
    outputs = set(graph.outputs)
    wanted: set[str] = set()
    parts: dict[int, Part] = {}
    limits: dict[str, tuple[float, float]] = {}
    for node in reversed(graph.nodes):
        name = node.output[0] if node.output else ""
        part = _part(graph, node)
        if part is Part.ACTIVATION:
            cut = _limits(graph, node)
            maker = makers.get(node.input[0])
            alone = graph.only_reader(node.input[0], readers) is node
            absorbed = cut is not None and alone and maker is not None and name not in outputs
            if absorbed and maker is not None and (name in wanted or is_standard(maker, "Conv")):
                if _part(graph, maker) in (Part.WEIGHTED, Part.JOIN) and cut is not None:
                    limits[name] = cut
                    wanted.add(name)
                else:
                    part = Part.FLOAT
            else:
                part = Part.FLOAT
        elif part is Part.WEIGHTED:
            wanted.add(node.input[0])
            if is_standard(node, "Conv") and name not in outputs and not _is_cut(name, readers, limits):
                wanted.add(name)
        elif part in (Part.MOVE, Part.JOIN):
            behind_cut = _is_cut(name, readers, limits)
            if (name in wanted or behind_cut) and name not in outputs:
                wanted.update(_activations(node, part))
            else:
                part = Part.FLOAT
        parts[id(node)] = part
    held = frozenset(wanted - graph.constants.keys())
    origin = {
        node.output[0]: node.input[0] for node in graph.nodes if parts[id(node)] is Part.MOVE and node.output[0] in held
    }
    return Plan(parts=tuple(parts[id(node)] for node in graph.nodes), held=held, origin=origin, limits=limits)


def _is_cut(name: str, readers: Mapping[str, list[NodeProto]], limits: Mapping[str, object]) -> bool:
    """Whether a tensor is read by an activation alone that is left to saturation: then only what follows is held."""
    return any(reader.output[0] in limits for reader in readers.get(name, []) if is_standard(reader, "Relu", "Clip"))


def _activations(node: NodeProto, part: Part) -> list[str]:
    return [node.input[0]] if part is Part.MOVE else [name for name in node.input if name]


def _part(graph: PlainGraph, node: NodeProto) -> Part:
    if _is_weighted(graph, node):
        return Part.WEIGHTED
    if is_standard(node, "Relu", "Clip"):
        return Part.ACTIVATION
    moved = is_standard(node, *_MOVES) and all(name in graph.constants for name in node.input[1:] if name)
    if moved and len([name for name in node.output if name]) == 1 and node.input[0] not in graph.constants:
        return Part.MOVE
    if is_standard(node, *_JOINS) and not any(name in graph.constants for name in node.input):
        return Part.JOIN
    return Part.FLOAT


def _is_weighted(graph: PlainGraph, node: NodeProto) -> bool:
    if not is_standard(node, "Conv", "Gemm", "MatMul") or node.input[0] in graph.constants:
        return False
    if not all(name in graph.constants for name in node.input[1:] if name):
        return False
    weights = graph.constants[node.input[1]]
    if weights.dtype != np.float32:
        return False
    if is_standard(node, "Conv"):
        return weights.ndim >= 3
    if is_standard(node, "MatMul"):
        return weights.ndim == 2
    bias_fits = len(node.input) < 3 or not node.input[2] or graph.constants[node.input[2]].ndim == 1
    scaled = attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0
    return bias_fits and not scaled and not attribute(node, "transA", 0)


def _limits(graph: PlainGraph, node: NodeProto) -> tuple[float, float] | None:
    """Return what an activation cuts off at; None where zero lies outside or a limit is not constant."""
    if is_standard(node, "Relu"):
        return (0.0, np.inf)
    bounds = [graph.constants.get(name) if name else None for name in (*node.input[1:], "", "")][:2]
    given = [bool(name) for name in (*node.input[1:], "", "")][:2]
    if any(name and (bound is None or bound.size != 1) for name, bound in zip(given, bounds, strict=True)):
        return None
    ends = zip(bounds, (-np.inf, np.inf), strict=True)
    low, high = (edge if bound is None else float(bound.reshape(-1)[0]) for bound, edge in ends)
    return (low, high) if low <= 0.0 < high else None
