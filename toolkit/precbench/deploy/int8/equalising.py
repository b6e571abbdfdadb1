"""Range equalisation across layers: give each channel between two layers all of the eight bits that its tensor has."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from precbench.deploy.int8.plain_graph import PlainGraph, attribute, is_standard
from precbench.deploy.int8.planning import Plan
from precbench.deploy.int8.ranges import Calibration
from precbench.runtime.probing import Probe

_LARGEST_FACTOR = 64.0  # beyond it a channel is next to nothing, and its range is noise


def equalise(graph: PlainGraph, plan: Plan, calibration: Calibration) -> int:
    """Scale the channels of activations between convolutions to their tensor's range, in place.

    The law: with a factor f per channel, the kernel and bias before are times f and the kernel behind is divided by
    it, so that the graph computes what it computed, wherever no activation is cut off that was not before. Where a
    limit cuts (ReLU6), only a channel that stayed below it on the calibration data is scaled, up to the limit.

    Returns:
        How many channels were scaled.

    Source: M. Nagel et al., Data-free quantization through weight equalization and bias correction, ICCV 2019, with
    the ranges of the activations in place of those of the weights.
    """
    readers, makers = graph.readers(), graph.makers()
    between = {
        name: (maker, behind)
        for name, (low, _) in plan.limits.items()
        if low == 0.0  # a limit below zero would cut elsewhere after scaling
        and (maker := _maker_of(makers, name)) is not None
        and (behind := _convolutions(graph, readers.get(name, []), name))
    }
    highest = _highest(graph, list(between), calibration)
    scaled = 0
    for name, (maker, behind) in between.items():
        factors = _factors(highest[name], plan.limits[name][1])
        scaled += int(np.count_nonzero(factors != 1.0))
        _scale(graph, maker, behind, factors)
    return scaled


def _maker_of(makers: Mapping[str, NodeProto], name: str) -> NodeProto | None:
    """The convolution before an activation; None where something else is."""
    activation = makers.get(name)
    maker = None if activation is None else makers.get(activation.input[0])
    return maker if maker is not None and is_standard(maker, "Conv") else None


def _convolutions(graph: PlainGraph, behind: list[NodeProto], name: str) -> list[NodeProto]:
    """Those that read a tensor, where nothing else does and each takes one channel a group or all."""
    if name in graph.outputs or not behind:
        return []
    fit = all(
        is_standard(node, "Conv") and node.input[0] == name and _is_dense_or_depthwise(graph, node) for node in behind
    )
    return behind if fit else []


def _is_dense_or_depthwise(graph: PlainGraph, conv: NodeProto) -> bool:
    kernel = graph.constants.get(conv.input[1])
    group = attribute(conv, "group", 1)
    return kernel is not None and (group == 1 or (kernel.shape[1] == 1 and kernel.shape[0] == group))


def _highest(graph: PlainGraph, names: list[str], calibration: Calibration) -> dict[str, NDArray[np.float64]]:
    if not names:
        return {}
    probe = Probe(graph.to_proto(), names)
    found: dict[str, NDArray[np.float64]] = {}
    for feeds in calibration.chunks():
        for name, array in probe.run(feeds).items():
            axes = (0, *range(2, array.ndim))
            top = array.max(axis=axes).astype(np.float64)
            found[name] = np.maximum(found[name], top) if name in found else top
    return found


def _factors(highest: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    target = limit if np.isfinite(limit) else float(highest.max())
    alive = highest > target / _LARGEST_FACTOR / 16  # what hardly ever is above zero keeps its scale
    safe = np.where(alive, highest, 1.0)
    return np.where(alive, np.clip(target / safe, 1.0, _LARGEST_FACTOR), 1.0)


def _scale(graph: PlainGraph, maker: NodeProto, behind: list[NodeProto], factors: NDArray[np.float64]) -> None:
    for index in (1, 2):
        if len(maker.input) > index and maker.input[index]:
            maker.input[index] = _scaled(graph, maker.input[index], factors, axis=0)
    for conv in behind:
        axis = 0 if attribute(conv, "group", 1) > 1 else 1
        conv.input[1] = _scaled(graph, conv.input[1], 1.0 / factors, axis=axis)


def _scaled(graph: PlainGraph, name: str, factors: NDArray[np.float64], *, axis: int) -> str:
    values = graph.constants[name].astype(np.float64)
    shape = [1] * values.ndim
    shape[axis] = -1
    return graph.add_constant(f"{name}/equalised", (values * factors.reshape(shape)).astype(np.float32))
