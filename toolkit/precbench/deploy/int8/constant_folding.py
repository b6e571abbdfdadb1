"""Compute what depends on constants alone, where the result is small."""

from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from precbench.deploy.int8.plain_graph import PlainGraph, has_subgraph, is_standard
from precbench.runtime.probing import run_node

_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
_MOST_VALUE_BYTES = 1 << 28  # of one folded value: what a shape makes large stays a node
_MOST_BYTES = 1 << 31  # of all: protobuf holds no more
_MOST_GIVEN = 1024  # elements of an input that shape inference is given: shapes, axes, repeats


def fold_constants(graph: PlainGraph) -> None:
    """Compute the nodes that read constants alone, in place.

    A result is at most 256 MiB, all together are at most 2 GiB, by shape inference before anything is computed: a few
    bytes in a stranger's file (Expand) can stand for more than the memory holds. A node whose sizes shape inference
    does not tell stays.
    """
    left = _MOST_BYTES
    kept = []
    for node in graph.nodes:
        known = all(name in graph.constants for name in node.input if name)
        if not known or not node.input or has_subgraph(node) or is_standard(node, *_RANDOM):
            kept.append(node)
            continue
        sizes = _result_bytes(graph, node)
        if sizes is None or max(sizes, default=0) > _MOST_VALUE_BYTES or sum(sizes) > left:
            kept.append(node)
            continue
        left -= sum(sizes)
        values = run_node(node, [graph.constants.get(name) for name in node.input], graph.frame.opset_import)
        graph.constants.update(zip([name for name in node.output if name], values, strict=True))
    graph.nodes = kept


def _result_bytes(graph: PlainGraph, node: NodeProto) -> list[int] | None:
    """Return how large each output of a node of constants will be; None where that cannot be told."""
    given = {name: graph.constants[name] for name in node.input if name}
    alone = helper.make_graph(
        [node],
        "node",
        [helper.make_tensor_value_info(name, _type_of(value), value.shape) for name, value in given.items()],
        [onnx.ValueInfoProto(name=name) for name in node.output if name],
        [numpy_helper.from_array(value, name) for name, value in given.items() if value.size <= _MOST_GIVEN],
    )
    try:
        made = onnx.shape_inference.infer_shapes(helper.make_model(alone, opset_imports=graph.frame.opset_import))
    except onnx.shape_inference.InferenceError:
        return None
    sizes = [_bytes_of(value.type.tensor_type) for value in made.graph.output]
    return None if None in sizes else [size for size in sizes if size is not None]


def _type_of(value: NDArray[Any]) -> int:
    return int(helper.np_dtype_to_tensor_dtype(value.dtype))


def _bytes_of(tensor: onnx.TypeProto.Tensor) -> int | None:
    dims = tensor.shape.dim
    if not tensor.HasField("shape") or not all(dim.HasField("dim_value") for dim in dims):
        return None
    size = int(helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize)
    for dim in dims:
        size *= dim.dim_value
    return size
