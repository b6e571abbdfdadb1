"""Look into a graph: run a model that is in memory for any of its tensors, or one node alone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from precbench.errors import ModelError
from precbench.runtime.failures import onnxruntime_errors
from precbench.runtime.providers import import_onnxruntime

_FATAL = 4


class Probe:
    """A model in memory, run on the CPU for the tensors that are asked for."""

    def __init__(self, model: onnx.ModelProto, outputs: Sequence[str], *, threads: int = 0) -> None:
        """Make the session.

        Args:
            model: below protobuf's 2 GiB.
            outputs: names of any tensors in its graph.
            threads: intra-op threads; 0 lets ONNX Runtime take all cores.

        Raises:
            ModelError: ONNX Runtime cannot run it.
        """
        probed = onnx.ModelProto()
        probed.CopyFrom(model)
        del probed.graph.output[:]
        probed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
        self.outputs = tuple(outputs)
        self._session = _session(probed, threads)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the tensors asked for.

        Raises:
            ModelError: ONNX Runtime fails.
        """
        return dict(zip(self.outputs, _run(self._session, list(self.outputs), feeds), strict=True))


def run_node(
    node: onnx.NodeProto, values: Sequence[NDArray[Any] | None], opsets: Iterable[onnx.OperatorSetIdProto]
) -> list[NDArray[Any]]:
    """Run one node alone and return its outputs.

    Args:
        node: without subgraphs.
        values: one array per input, None for one that is left out.
        opsets: that the node is written for.

    Raises:
        ModelError: ONNX Runtime cannot run it.
    """
    alone = onnx.NodeProto()
    alone.CopyFrom(node)
    alone.input[:] = [f"in{index}" if value is not None else "" for index, value in enumerate(values)]
    names = [name for name in alone.output if name]
    given = {name: value for name, value in zip(alone.input, values, strict=True) if value is not None}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), [None] * value.ndim)
        for name, value in given.items()
    ]
    graph = helper.make_graph([alone], "node", inputs, [onnx.ValueInfoProto(name=name) for name in names])
    model = helper.make_model(graph, opset_imports=list(opsets), ir_version=_IR_VERSION)
    found = dict(zip(names, _run(_session(model, 0), names, given), strict=True))
    return [found[name] for name in names]


_IR_VERSION = 10  # of opset 21, and read by every ONNX Runtime that is new enough


def _session(model: onnx.ModelProto, threads: int) -> Any:
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _FATAL
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except onnxruntime_errors() as error:
        raise ModelError(f"ONNX Runtime cannot run a part of the model: {error}", "check the model") from error


def _run(session: Any, names: list[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    try:
        return [np.asarray(value) for value in session.run(names, dict(feeds))]
    except onnxruntime_errors() as error:
        raise ModelError(
            f"ONNX Runtime fails on a part of the model: {error}", "check the model and the data"
        ) from error
