"""Fold the zeros that a Pad puts around an image into the Conv that reads it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from precbench.deploy.int8.plain_graph import PlainGraph, attribute, is_standard, set_attribute


def fold_pads(graph: PlainGraph) -> None:
    """Put zero padding of height and width into the pads of the one Conv that reads it, in place."""
    readers = graph.readers()
    kept = []
    for node in graph.nodes:
        reader = graph.only_reader(node.output[0], readers) if is_standard(node, "Pad") else None
        pads = None if reader is None else _spatial_pads(graph, node)
        if reader is None or pads is None or not is_standard(reader, "Conv") or not _takes_pads(reader, node):
            kept.append(node)
            continue
        none = [0] * len(pads)
        own = none if attribute(reader, "auto_pad", "NOTSET") == "VALID" else attribute(reader, "pads", none)
        set_attribute(reader, "auto_pad", None)
        set_attribute(reader, "pads", [int(a + b) for a, b in zip(own, pads, strict=True)])
        reader.input[0] = node.input[0]
    graph.nodes = kept


def _takes_pads(conv: NodeProto, pad: NodeProto) -> bool:
    plain = attribute(conv, "auto_pad", "NOTSET") in ("NOTSET", "VALID")
    return plain and conv.input[0] == pad.output[0] and conv.input[0] not in conv.input[1:]


def _spatial_pads(graph: PlainGraph, pad: NodeProto) -> list[int] | None:
    """Return ONNX's pads of a Conv, begins then ends; None where the Pad does more than pad with zeros."""
    rest: list[NDArray[Any] | None] = [graph.constants.get(name) for name in pad.input[1:]]
    unknown = any(name and value is None for name, value in zip(pad.input[1:], rest, strict=True))
    if unknown or not rest or attribute(pad, "mode", "constant") != "constant":
        return None
    value, axes = (rest[1] if len(rest) > 1 else None), (rest[2] if len(rest) > 2 else None)
    if axes is not None or (value is not None and value.size and float(value.reshape(-1)[0]) != 0.0):
        return None
    pads = np.asarray(rest[0], np.int64)
    half = len(pads) // 2
    if (pads < 0).any() or pads[[0, 1, half, half + 1]].any():
        return None
    return [int(n) for n in (*pads[2:half], *pads[half + 2 :])]
