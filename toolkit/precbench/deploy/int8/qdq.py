"""The integer model in QDQ form: integer weights behind DequantizeLinear, activations between Quantize and Dequantize.

Runtimes fuse DequantizeLinear, operator, QuantizeLinear into the integer operator (ONNX Runtime: QLinearConv and its
like; OpenVINO, TensorRT likewise), and one that does not computes the same in float32. Biases stay float32, as TensorRT
wants them and as ONNX Runtime's CUDA provider needs them, which has no DequantizeLinear of int32; ONNX Runtime's CPU
provider turns them into int32 itself (its WeightBiasQuantization), with the same outputs bit for bit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper

from precbench.deploy.int8.activation_grid import ActivationGrid
from precbench.deploy.int8.layer import Layer
from precbench.deploy.int8.plain_graph import PlainGraph
from precbench.deploy.int8.planning import Part, Plan
from precbench.deploy.int8.reconstruction import IntegerLayer


def to_qdq(
    graph: PlainGraph, plan: Plan, grids: Mapping[str, ActivationGrid], layers: Mapping[str, IntegerLayer]
) -> onnx.ModelProto:
    """Return the integer model.

    Args:
        graph: folded; not modified.
        plan: of it.
        grids: of the held tensors.
        layers: integer weights by the output of their node.
    """
    writer = _Writer(graph.copy(), plan, grids)
    for name in graph.inputs:
        writer.hold(name, name)
    for node, part in zip(writer.graph.nodes, plan.parts, strict=True):
        writer.write(node, part, layers)
    return writer.graph.to_proto(writer.nodes)


class _Writer:
    def __init__(self, graph: PlainGraph, plan: Plan, grids: Mapping[str, ActivationGrid]) -> None:
        self.graph = graph
        self.nodes: list[NodeProto] = []
        self._plan, self._grids = plan, grids
        self._read_as: dict[str, str] = {}
        self._raw: dict[str, str] = {}

    def write(self, node: NodeProto, part: Part, layers: Mapping[str, IntegerLayer]) -> None:
        """Write a node with what has to stand around it."""
        if part is Part.ACTIVATION:  # eight bits saturate at its limits
            raw = self._raw.pop(node.input[0], node.input[0])
            self.hold(node.output[0], raw)
            return
        node.input[:] = [self._read_as.get(name, name) for name in node.input]
        if part is Part.WEIGHTED:
            self._write_weights(node, layers[node.output[0]])
        self.nodes.append(node)
        for name in node.output:
            if name:
                self.hold(name, name)

    def hold(self, name: str, raw: str) -> None:
        """Put Quantize and Dequantize behind a tensor that is held in eight bits."""
        if name not in self._plan.held:
            return
        scale, zero = self._grid(self._plan.grid_of(name))
        codes, back = self.graph.free_name(f"{name}/q"), self.graph.free_name(f"{name}/dq")
        self._add("QuantizeLinear", [raw, scale, zero], codes)
        self._add("DequantizeLinear", [codes, scale, zero], back)
        self._read_as[name] = back

    def _grid(self, name: str) -> tuple[str, str]:
        grid = self._grids[name]
        scale, zero = f"{name}/scale", f"{name}/zero_point"
        if scale not in self.graph.constants:
            self.graph.constants[scale] = np.asarray(grid.scale, np.float32)
            self.graph.constants[zero] = np.asarray(grid.zero_point, np.uint8)
        return scale, zero

    def _write_weights(self, node: NodeProto, layer: IntegerLayer) -> None:
        name, axis = node.output[0], Layer.of(self.graph, node).axis
        steps = layer.steps.astype(np.float32)
        kernel = self._dequantized(f"{name}/kernel", layer.codes, steps, axis)
        if node.op_type == "MatMul":
            node.input[1] = kernel
            return
        bias = self.graph.free_name(f"{name}/bias")
        self.graph.constants[bias] = layer.bias
        node.input[:] = [node.input[0], kernel, bias]

    def _dequantized(self, name: str, codes: NDArray[Any], steps: NDArray[np.float32], axis: int) -> str:
        made = [self.graph.free_name(f"{name}/{what}") for what in ("codes", "step", "zero_point", "dq")]
        values = (codes, steps, np.zeros(len(steps), codes.dtype))
        for constant, value in zip(made[:3], values, strict=True):
            self.graph.constants[constant] = value
        self._add("DequantizeLinear", made[:3], made[3], axis=axis)
        return made[3]

    def _add(self, op_type: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=output, **attributes))
