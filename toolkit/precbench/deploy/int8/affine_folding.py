"""Fold into a layer what scales and shifts its outputs by constants: normalisation, and biases that are added."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto

from precbench.deploy.int8.layer import output_axis
from precbench.deploy.int8.plain_graph import PlainGraph, attribute, is_standard, set_attribute


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Affine:
    """What a node does to each output channel.

    Args:
        factor: that it is multiplied by, float64 [channels]; None for one.
        shift: that is added then, float64 [channels].
    """

    factor: NDArray[np.float64] | None
    shift: NDArray[np.float64]


def make_gemms_plain(graph: PlainGraph) -> None:
    """Put alpha and beta of each Gemm into its float32 weights and write its bias as [outputs], in place.

    One whose bias differs from row to row stays as it is.
    """
    for node in graph.nodes:
        if not is_standard(node, "Gemm") or not _is_float32(graph, *node.input[1:]):
            continue
        outputs = graph.constants[node.input[1]].shape[output_axis(node)]
        bias = graph.constants[node.input[2]] if _has_bias(node) else np.zeros(outputs, np.float32)
        vector = _channels(bias, outputs, rank=2)
        if vector is None:
            continue
        alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
        if alpha != 1.0:
            kernel = (graph.constants[node.input[1]] * np.float64(alpha)).astype(np.float32)
            node.input[1] = graph.add_constant(f"{node.output[0]}/kernel", kernel)
        if _has_bias(node) and (beta != 1.0 or bias.shape != vector.shape):
            node.input[2] = graph.add_constant(f"{node.output[0]}/bias", (vector * beta).astype(np.float32))
        for name in ("alpha", "beta"):
            set_attribute(node, name, None)


def fold_affines(graph: PlainGraph) -> None:
    """Put each BatchNormalization, Add and Sub of constants behind a layer into it, in place.

    A layer is a Conv, a plain Gemm or a MatMul of a matrix, which becomes a Gemm; all in float32, and read by that
    node alone.
    """
    readers, makers, ranks = graph.readers(), graph.makers(), _ranks(graph)
    kept = []
    for node in graph.nodes:
        layer = _layer_before(graph, node, readers, makers, ranks)
        affine = None if layer is None else _affine_of(graph, node, layer)
        if layer is None or affine is None:
            kept.append(node)
            continue
        _apply(graph, layer, affine, node.output[0])
        makers[node.output[0]] = layer
    graph.nodes = kept


def _layer_before(
    graph: PlainGraph,
    node: NodeProto,
    readers: dict[str, list[NodeProto]],
    makers: dict[str, NodeProto],
    ranks: dict[str, int],
) -> NodeProto | None:
    variable = [name for name in node.input if name and name not in graph.constants]
    if len(variable) != 1 or graph.only_reader(variable[0], readers) is not node:
        return None
    maker = makers.get(variable[0])
    return maker if maker is not None and _is_layer(graph, maker, ranks) else None


def _is_layer(graph: PlainGraph, node: NodeProto, ranks: dict[str, int]) -> bool:
    if not is_standard(node, "Conv", "Gemm", "MatMul") or not _is_float32(graph, *node.input[1:]):
        return False
    if is_standard(node, "MatMul"):
        return graph.constants[node.input[1]].ndim == 2 and ranks.get(node.input[0]) == 2
    plain = attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1.0
    return plain and (not _has_bias(node) or graph.constants[node.input[2]].ndim == 1)


def _affine_of(graph: PlainGraph, node: NodeProto, layer: NodeProto) -> _Affine | None:
    """Return what a node does to the outputs of a layer; None where it is something else."""
    if is_standard(node, "BatchNormalization"):
        return _normalisation(graph, node)
    return _addition(graph, node, layer) if is_standard(node, "Add", "Sub") else None


def _normalisation(graph: PlainGraph, node: NodeProto) -> _Affine | None:
    if not _is_float32(graph, *node.input[1:]) or attribute(node, "training_mode", 0) or any(node.output[1:]):
        return None
    gamma, beta, mean, variance = (graph.constants[name].astype(np.float64) for name in node.input[1:5])
    factor = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    return _Affine(factor=factor, shift=beta - mean * factor)


def _addition(graph: PlainGraph, node: NodeProto, layer: NodeProto) -> _Affine | None:
    at = list(node.input).index(layer.output[0])
    added = node.input[1 - at]
    if not _is_float32(graph, added) or (is_standard(node, "Sub") and at == 1):
        return None
    kernel = graph.constants[layer.input[1]]
    rank = kernel.ndim if is_standard(layer, "Conv") else 2
    vector = _channels(graph.constants[added], kernel.shape[output_axis(layer)], rank=rank)
    if vector is None:
        return None
    return _Affine(factor=None, shift=vector.astype(np.float64) * (-1 if is_standard(node, "Sub") else 1))


def _channels(value: NDArray[Any], outputs: int, *, rank: int) -> NDArray[Any] | None:
    """Return what is broadcast to a tensor of a rank as one number per channel (axis 1); None where it is more."""
    if value.ndim > rank:
        return None
    shape = (1,) * (rank - value.ndim) + value.shape
    if shape[1] not in (1, outputs) or any(size != 1 for axis, size in enumerate(shape) if axis != 1):
        return None
    return np.broadcast_to(value.reshape(-1), (outputs,))


def _apply(graph: PlainGraph, layer: NodeProto, affine: _Affine, output: str) -> None:
    kernel_name, axis = layer.input[1], output_axis(layer)
    bias = graph.constants[layer.input[2]].astype(np.float64) if _has_bias(layer) else np.zeros(len(affine.shift))
    if affine.factor is not None:
        kernel = graph.constants[kernel_name].astype(np.float64)
        shape = [1] * kernel.ndim
        shape[axis] = -1
        scaled = (kernel * affine.factor.reshape(shape)).astype(np.float32)
        kernel_name, bias = graph.add_constant(f"{output}/kernel", scaled), bias * affine.factor
    bias_name = graph.add_constant(f"{output}/bias", (bias + affine.shift).astype(np.float32))
    layer.op_type = "Gemm" if layer.op_type == "MatMul" else layer.op_type
    layer.input[:] = [layer.input[0], kernel_name, bias_name]
    layer.output[0] = output


def _has_bias(layer: NodeProto) -> bool:
    return len(layer.input) > 2 and bool(layer.input[2])


def _is_float32(graph: PlainGraph, *names: str) -> bool:
    return all(name in graph.constants and graph.constants[name].dtype == np.float32 for name in names if name)


def _ranks(graph: PlainGraph) -> dict[str, int]:
    """Return how many dimensions tensors have, where ONNX's shape inference knows."""
    inferred = onnx.shape_inference.infer_shapes(graph.to_proto()).graph
    types = {value.name: value.type.tensor_type for value in (*inferred.value_info, *inferred.input)}
    return {name: len(tensor.shape.dim) for name, tensor in types.items() if tensor.HasField("shape")}
