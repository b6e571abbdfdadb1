"""The copy of a model that becomes its float16 form."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper

from precbench.deploy.int8.plain_graph import attribute, is_standard, set_attribute
from precbench.graph import OnnxModel, with_constant_initializers


def working_copy(model: OnnxModel) -> OnnxModel:
    """Return a copy to change, in which each `Constant` with floats holds a tensor, and only inputs are inputs."""
    model = with_constant_initializers(model)
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for node in proto.graph.node:
        if is_standard(node, "Constant"):
            _hold_tensor(node)
    return with_arrays(proto, model.folder, arrays_of(model))


def arrays_of(model: OnnxModel) -> dict[str, NDArray[Any]]:
    """Return the replaced values of a model by name, which stays when a tensor's position does not."""
    return {held.name: model.replaced[held.position] for held in model.tensors() if held.position in model.replaced}


def with_arrays(proto: onnx.ModelProto, folder: Path, arrays: Mapping[str, NDArray[Any]]) -> OnnxModel:
    """Return a model with replaced values, given by name."""
    there = OnnxModel(proto=proto, folder=folder).tensors()
    replaced = {held.position: arrays[held.name] for held in there if held.name in arrays}
    return OnnxModel(proto=proto, folder=folder, replaced=replaced)


def _hold_tensor(node: NodeProto) -> None:
    for name in ("value_float", "value_floats"):
        numbers = attribute(node, name, None)
        if numbers is not None:
            set_attribute(node, name, None)
            set_attribute(node, "value", numpy_helper.from_array(np.asarray(numbers, np.float32)))
