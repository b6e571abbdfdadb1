"""Convert a traced model to ONNX with tf2onnx, its variables standing as tags.

What tf2onnx would fold into a kernel it cannot: the variables are inputs while operations are converted, and turn into
tagged constants before its optimizers run (see `optimizers`).
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from precbench.checkpoints.optimizers import optimize
from precbench.checkpoints.tags import TaggedVariable
from precbench.checkpoints.tensorflow_quietly import descriptors_silenced, import_quietly
from precbench.checkpoints.tracing import Port, Trace
from precbench.errors import ModelError

OPSET = 17  # the newest whose reductions tf2onnx, ONNX Runtime's quantizer and older runtimes all know


def convert(trace: Trace, variables: Sequence[TaggedVariable]) -> onnx.ModelProto:
    """Return the ONNX model of a trace in which each variable in use is an initializer that holds its tags.

    Raises:
        ModelError: an operation of the model has no counterpart in ONNX.
    """
    with _tf2onnx_quiet():
        try:
            graph = _to_graph(trace)
        except Exception as error:  # tf2onnx raises whatever its handlers ran into
            raise ModelError(
                f"tf2onnx cannot convert the model ({type(error).__name__}: {error})",
                "replace the layer that it names by one that ONNX has",
            ) from error
        _check_operations(graph)
        _settle_reshapes(graph)
        for port, variable in zip(trace.variables, variables, strict=True):
            if _is_used(graph, port.tensor):
                _check_float32(graph, port)
            _put_constant(graph, port.tensor, variable.values)
        for tensor, value in trace.constants:
            _put_constant(graph, tensor, partial(np.asarray, value))
        model: onnx.ModelProto = optimize(graph, variables).make_model("model")
    return model


def _to_graph(trace: Trace) -> Any:
    tensorflow = import_quietly("tensorflow")
    converter = import_quietly("tf2onnx.tfonnx")
    inputs = [port.tensor for port in trace.inputs] + [port.tensor for port in trace.variables]
    inputs += [name for name, _ in trace.constants]
    outputs = [port.tensor for port in trace.outputs]
    with tensorflow.Graph().as_default(), tensorflow.device("/cpu:0"):
        tensorflow.import_graph_def(trace.graph, name="")
        definition = import_quietly("tf2onnx.tf_loader").tf_optimize(inputs, outputs, trace.graph)
    with tensorflow.Graph().as_default() as inlined:
        tensorflow.import_graph_def(definition, name="")
        return converter.process_tf_graph(inlined, opset=OPSET, input_names=inputs, output_names=outputs)


def _check_operations(graph: Any) -> None:
    known = {"Const", "ConstV2", "Placeholder", "PlaceholderWithDefault", "PlaceholderV2", "NextIteration"}
    unknown = sorted(
        {
            node.type
            for node in graph.get_nodes()
            if node.domain in ("", "ai.onnx") and node.type not in known and not onnx.defs.has(node.type, OPSET, "")
        }
        | {node.type for node in graph.get_nodes() if node.domain not in ("", "ai.onnx")}
    )
    if unknown:
        raise ModelError(
            f"the model uses operations that ONNX does not have: {', '.join(unknown)}",
            "replace the layers that use them, or take them out of the model",
        )


def _settle_reshapes(graph: Any) -> None:
    """Give a Reshape whose shape is computed a constant one where only one of its sizes is unknown (the batch)."""
    for node in [each for each in graph.get_nodes() if each.type == "Reshape" and not each.inputs[1].is_const()]:
        shape = graph.get_shape(node.output[0])
        if shape is not None and shape.count(-1) == 1 and 0 not in shape:
            constant = graph.make_const(f"{node.name}_shape__0", np.array(shape, np.int64))
            graph.replace_input(node, node.input[1], constant.output[0], 1)


def _is_used(graph: Any, tensor: str) -> bool:
    return bool(graph.find_output_consumers(tensor)) or tensor in graph.outputs


def _check_float32(graph: Any, port: Port) -> None:
    dtype = onnx.TensorProto.DataType.Name(graph.get_dtype(port.tensor)).lower()
    if dtype != "float":
        raise ModelError(
            f"variable {port.name!r} is {dtype}; only float32 models are exported",
            "rebuild the model under the float32 policy and load the weights into it",
        )


def _put_constant(graph: Any, tensor: str, values: Callable[[], NDArray[Any]]) -> None:
    """Put a constant in the place of a placeholder; one that nothing uses is left out."""
    name = graph.get_node_by_output(tensor).name
    used = _is_used(graph, tensor)
    graph.remove_node(name)
    if used:
        constant = graph.make_const(name, values())
        graph.replace_all_inputs(tensor, constant.output[0])


@contextlib.contextmanager
def _tf2onnx_quiet() -> Iterator[None]:
    """tf2onnx logs what it could not do; each such case is an error of ours, said once."""
    import_quietly("tf2onnx")
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with descriptors_silenced():
            yield
    finally:
        logger.setLevel(level)
