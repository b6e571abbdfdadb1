"""Initializers of old models become constants, and nothing else changes."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from precbench.graph import OnnxModel, with_constant_initializers


def model(ir_version: int) -> OnnxModel:
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in ("x", "w")]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2])
    weights = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", inputs, [output], [weights])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=ir_version)
    return OnnxModel(proto=proto, folder=Path())


def test_an_old_models_initializers_are_inputs_no_longer() -> None:
    old = model(3)
    found = with_constant_initializers(old).proto
    onnx.checker.check_model(found)
    assert found.ir_version == 4
    assert [value.name for value in found.graph.input] == ["x"]
    assert [tensor.name for tensor in found.graph.initializer] == ["w"]
    assert [value.name for value in old.proto.graph.input] == ["x", "w"]


@pytest.mark.parametrize("ir_version", [4, 8])
def test_a_newer_models_defaults_may_be_overridden_still(ir_version: int) -> None:
    newer = model(ir_version)
    assert with_constant_initializers(newer) is newer
