"""What a model has to be, before and after: of the kind that is converted, and valid ONNX."""

import onnx
from onnx import helper

from precbench.deploy.int8.plain_graph import has_subgraph, is_standard
from precbench.errors import ModelError
from precbench.graph import OnnxModel, opset_of
from precbench.graph.model import is_external

MIN_OPSET = 11
REMEDY = "deploy it with --form packed, or leave it in float32"

_LARGE_BYTES = 1 << 16  # shapes, axes and scales are smaller, weights may be larger


def check_plain(proto: onnx.ModelProto) -> None:
    """Refuse a model that has what is not converted.

    Raises:
        ModelError: it has subgraphs, functions or sparse initializers, or is of an opset before 11.
    """
    nested = {node.op_type for node in proto.graph.node if has_subgraph(node)}
    if nested or proto.functions:
        what = ", ".join(sorted(nested)) or "functions"
        raise ModelError(f"the model has subgraphs or functions ({what}), which are not converted to float16", REMEDY)
    if proto.graph.sparse_initializer:
        raise ModelError("the model has sparse initializers, which are not converted to float16", REMEDY)
    if opset_of(proto) < MIN_OPSET:
        raise ModelError(
            f"the model is of opset {opset_of(proto)}, the float16 form needs {MIN_OPSET} or newer",
            f"export it again with opset {MIN_OPSET} or newer, or leave it in float32",
        )


def check_valid(model: OnnxModel, what: str) -> None:
    """Check a model with ONNX's checker and strict type inference; `what` it is begins the error.

    Raises:
        ModelError: it is not valid.
    """
    try:
        onnx.checker.check_model(without_large_data(model), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"{what} is not valid ONNX: {error}", REMEDY) from error


def without_large_data(model: OnnxModel) -> onnx.ModelProto:
    """Return a model in which large and external constants are inputs of their type and shape: no data is read."""
    large = {held.value: held.proto for held in model.tensors() if _is_large(held.proto)}
    proto = onnx.ModelProto(ir_version=max(model.proto.ir_version, 4), opset_import=model.proto.opset_import)
    graph, whole = proto.graph, model.proto.graph
    graph.name = whole.name or "graph"
    graph.node.extend(node for node in whole.node if not (is_standard(node, "Constant") and node.output[0] in large))
    graph.input.extend(value for value in whole.input if value.name not in large)
    graph.input.extend(
        helper.make_tensor_value_info(name, tensor.data_type, tensor.dims) for name, tensor in large.items()
    )
    graph.initializer.extend(tensor for tensor in whole.initializer if tensor.name not in large)
    graph.value_info.extend(value for value in whole.value_info if value.name not in large)
    graph.output.extend(whole.output)
    return proto


def _is_large(tensor: onnx.TensorProto) -> bool:
    return is_external(tensor) or tensor.ByteSize() > _LARGE_BYTES
