"""Fold into a layer what an integer kernel cannot do beside it: batch normalisation, and padding."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto

from precbench.deploy.int8.layer import output_axis
from precbench.deploy.int8.plain_graph import (
    PlainGraph,
    attribute,
    has_subgraph,
    is_standard,
    set_attribute,
)
from precbench.runtime.probing import run_node

_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
_MOST_CONSTANT_BYTES = 1 << 28  # of one folded value: what a shape made large stays a node


def fold(graph: PlainGraph) -> None:
    """Fold constants, batch normalisation and padding into the nodes that they belong to, in place.

    The law: the graph computes what it computed, up to float32's rounding. Folding is done in float64.
    """
    _fold_constants(graph)
    _drop_no_ops(graph)
    _fold_batch_normalization(graph)
    _fold_pads(graph)
    _fold_biases(graph)


def _fold_constants(graph: PlainGraph) -> None:
    """Compute the nodes that read constants alone."""
    kept = []
    for node in graph.nodes:
        known = all(name in graph.constants for name in node.input if name)
        if not known or not node.input or has_subgraph(node) or is_standard(node, *_RANDOM):
            kept.append(node)
            continue
        values = run_node(node, [graph.constants.get(name) for name in node.input], graph.frame.opset_import)
        if any(value.nbytes > _MOST_CONSTANT_BYTES for value in values):
            kept.append(node)
            continue
        graph.constants.update((name, value) for name, value in zip(node.output, values, strict=True) if name)
    graph.nodes = kept


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


def _fold_batch_normalization(graph: PlainGraph) -> None:
    """Put what follows a Conv or a Gemm alone, and normalises with constants, into its kernel and bias."""
    readers, makers = graph.readers(), graph.makers()
    kept = []
    for node in graph.nodes:
        maker = makers.get(node.input[0]) if is_standard(node, "BatchNormalization") else None
        if maker is None or graph.only_reader(node.input[0], readers) is not node or not _folds(graph, maker, node):
            kept.append(node)
            continue
        _scale_kernel(graph, maker, node)
        maker.output[0] = node.output[0]
        makers[node.output[0]] = maker
    graph.nodes = kept


def _folds(graph: PlainGraph, maker: NodeProto, norm: NodeProto) -> bool:
    constant = [*maker.input[1:], *norm.input[1:]]
    if not all(_is_float32(graph, name) for name in constant if name) or attribute(norm, "training_mode", 0):
        return False
    plain_gemm = is_standard(maker, "Gemm") and attribute(maker, "beta", 1.0) == attribute(maker, "alpha", 1.0) == 1.0
    if plain_gemm and len(maker.input) > 2 and maker.input[2]:
        plain_gemm = graph.constants[maker.input[2]].ndim == 1
    return is_standard(maker, "Conv") or plain_gemm


def _is_float32(graph: PlainGraph, name: str) -> bool:
    return name in graph.constants and graph.constants[name].dtype == np.float32


def _scale_kernel(graph: PlainGraph, maker: NodeProto, norm: NodeProto) -> None:
    gamma, beta, mean, variance = (graph.constants[name].astype(np.float64) for name in norm.input[1:5])
    factor = gamma / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
    kernel = graph.constants[maker.input[1]].astype(np.float64)
    bias: NDArray[np.float64] = np.zeros(1)
    if len(maker.input) > 2 and maker.input[2]:
        bias = graph.constants[maker.input[2]].astype(np.float64)
    axis = output_axis(maker)
    shape = [1] * kernel.ndim
    shape[axis] = -1
    folded = {"kernel": kernel * factor.reshape(shape), "bias": (bias - mean) * factor + beta}
    names = [graph.add_constant(f"{norm.output[0]}/{what}", v.astype(np.float32)) for what, v in folded.items()]
    maker.input[:] = [maker.input[0], *names]


def _fold_pads(graph: PlainGraph) -> None:
    """Put zero padding of height and width into the pads of the one Conv that reads it."""
    readers = graph.readers()
    kept = []
    for node in graph.nodes:
        reader = graph.only_reader(node.output[0], readers) if is_standard(node, "Pad") else None
        pads = None if reader is None else _spatial_pads(graph, node)
        if reader is None or pads is None or not is_standard(reader, "Conv") or not _takes_pads(reader, node):
            kept.append(node)
            continue
        own = attribute(reader, "pads", [0] * len(pads))
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


def _fold_biases(graph: PlainGraph) -> None:
    """Make a MatMul of a matrix and the bias added to it one Gemm, which has an integer form with a bias."""
    readers, ranks = graph.readers(), _ranks(graph)
    gone: set[int] = set()
    for node in graph.nodes:
        if not is_standard(node, "MatMul") or ranks.get(node.input[0]) != 2:
            continue
        kernel, reader = graph.constants.get(node.input[1]), graph.only_reader(node.output[0], readers)
        if kernel is None or kernel.ndim != 2 or reader is None or not is_standard(reader, "Add"):
            continue
        bias = next(name for name in reader.input if name != node.output[0])
        if bias in graph.constants and graph.constants[bias].shape == (kernel.shape[1],):
            node.op_type = "Gemm"
            node.input.append(bias)
            node.output[0] = reader.output[0]
            gone.add(id(reader))
    graph.nodes = [node for node in graph.nodes if id(node) not in gone]


def _ranks(graph: PlainGraph) -> dict[str, int]:
    """Return how many dimensions tensors have, where ONNX's shape inference knows."""
    inferred = onnx.shape_inference.infer_shapes(graph.to_proto()).graph
    values = [*inferred.value_info, *inferred.input]
    return {value.name: len(value.type.tensor_type.shape.dim) for value in values if _has_shape(value)}


def _has_shape(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.HasField("shape"))
