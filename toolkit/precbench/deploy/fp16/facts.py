"""What is known of a model's values before a node is decided: types, magnitudes, ranges, what comes of shapes."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Self

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper

from precbench.deploy.fp16.validity import REMEDY, without_large_data
from precbench.deploy.int8.plain_graph import attribute, is_standard, read_names
from precbench.errors import ModelError
from precbench.graph import OnnxModel

LOOKS_AT_SHAPE = ("Shape", "Size")
REARRANGES = ("Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a model's values.

    Attributes:
        opsets: domain -> version; ONNX's own domain is "".
        types: value -> element type by ONNX's type inference.
        largest: float constant -> its largest finite magnitude; what only rearranges one is constant too.
        small: the float constants of one element, and the variances of BatchNormalization -> their values.
        ranges: value -> lowest and highest observed.
        from_shapes: values that depend on the shapes of inputs and not on what is in them.
    """

    opsets: Mapping[str, int]
    types: Mapping[str, int]
    largest: Mapping[str, float]
    small: Mapping[str, NDArray[Any]]
    ranges: Mapping[str, tuple[float, float]]
    from_shapes: Collection[str]

    @classmethod
    def of(cls, model: OnnxModel, ranges: Mapping[str, tuple[float, float]]) -> Self:
        """Return what is known of a plain and valid model.

        Raises:
            ModelError: a type is not known, or a range is of another model.
        """
        graph, types = model.proto.graph, _types(model)
        unknown = next((name for name in ranges if name not in types), None)
        if unknown is not None:
            raise ModelError(
                f"a range is given for {unknown!r}, which the model has not",
                "observe the ranges on the model to convert",
            )
        constant = {tensor.name for tensor in graph.initializer} - {value.name for value in graph.input}
        return cls(
            opsets={_domain(each.domain): each.version for each in model.proto.opset_import},
            types=types,
            largest=_magnitudes(model),
            small=_small(model),
            ranges=ranges,
            from_shapes=_from_shapes(graph.node, constant),
        )

    def is_float(self, name: str) -> bool:
        """Whether a value is float32."""
        return self.types.get(name) == TensorProto.FLOAT

    def schema(self, node: NodeProto) -> onnx.defs.OpSchema | None:
        """Return what ONNX says of a node's operator, None where it does not know it."""
        domain = _domain(node.domain)
        try:
            return onnx.defs.get_schema(node.op_type, self.opsets[domain], domain)
        except (onnx.defs.SchemaError, KeyError):
            return None


def fill_of(node: NodeProto) -> float:
    """Return the number that a ConstantOfShape repeats."""
    tensor = attribute(node, "value", None)
    return 0.0 if tensor is None else float(numpy_helper.to_array(tensor).flat[0])


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _types(model: OnnxModel) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(without_large_data(model)).graph
    types = {tensor.name: int(tensor.data_type) for tensor in graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        if info.type.tensor_type.elem_type:
            types[info.name] = int(info.type.tensor_type.elem_type)
    for node in graph.node:
        unknown = next((name for name in node.output if name and name not in types), None)
        if unknown is not None:
            raise ModelError(f"the type of {unknown!r}, which {node.op_type} makes, is not known", REMEDY)
    return types


def _magnitudes(model: OnnxModel) -> dict[str, float]:
    tensors = (held for held in model.tensors() if held.proto.data_type == TensorProto.FLOAT)
    largest = {held.value: _largest(model.values(held)) for held in tensors}
    for node in model.proto.graph.node:
        if is_standard(node, "ConstantOfShape"):
            largest[node.output[0]] = abs(fill_of(node))
        elif is_standard(node, *REARRANGES) and node.input[0] in largest:
            largest[node.output[0]] = largest[node.input[0]]
    return largest


def _small(model: OnnxModel) -> dict[str, NDArray[Any]]:
    variances = {node.input[4] for node in model.proto.graph.node if is_standard(node, "BatchNormalization")}
    floats = (held for held in model.tensors() if held.proto.data_type == TensorProto.FLOAT)
    return {held.value: model.values(held) for held in floats if prod(held.proto.dims) == 1 or held.value in variances}


def _largest(values: NDArray[Any]) -> float:
    """Return the largest finite magnitude: masks and limits may be infinite."""
    return float(np.max(np.abs(values), where=np.isfinite(values), initial=0.0))


def _from_shapes(nodes: Iterable[NodeProto], constants: Collection[str]) -> set[str]:
    known, found = set(constants), set[str]()
    for node in nodes:
        read = set(read_names(node)) - known
        if is_standard(node, "Constant"):
            known.update(node.output)
        elif is_standard(node, *LOOKS_AT_SHAPE) or (read and read <= found):
            found.update(node.output)
    return found
