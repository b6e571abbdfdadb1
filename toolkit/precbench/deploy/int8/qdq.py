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
from precbench.deploy.int8.integer_layer import IntegerLayer
from precbench.deploy.int8.layer import output_axis
from precbench.deploy.int8.plain_graph import PlainGraph
from precbench.deploy.int8.planning import Part, Plan


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
        self._readers = graph.readers()
        self._read_as: dict[str, str] = {}
        self._scales: dict[str, tuple[str, str]] = {}

    def write(self, node: NodeProto, part: Part, layers: Mapping[str, IntegerLayer]) -> None:
        """Write a node with what has to stand around it."""
        if part is Part.ACTIVATION:  # eight bits saturate at its limits
            self.hold(node.output[0], node.input[0])
            return
        node.input[:] = [self._read_as.get(name, name) for name in node.input]
        if part is Part.WEIGHTED:
            self._write_layer(node, layers[node.output[0]])
        else:
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
        """Return the names of a grid's scale and zero point."""
        if name not in self._scales:
            grid = self._grids[name]
            scale, zero = np.asarray(grid.scale, np.float32), np.asarray(grid.zero_point, np.uint8)
            add = self.graph.add_constant
            self._scales[name] = add(f"{name}/scale", scale), add(f"{name}/zero_point", zero)
        return self._scales[name]

    def _write_layer(self, node: NodeProto, layer: IntegerLayer) -> None:
        name, axis = node.output[0], output_axis(node)
        steps = layer.steps.astype(np.float32)
        if node.op_type == "Gemm" and self._is_read_as_float(name):
            self._write_product(node, layer.codes if axis == 1 else layer.codes.T, steps, layer.bias)
            return
        node.input[1] = self._dequantized(f"{name}/kernel", layer.codes, steps, axis)
        if node.op_type != "MatMul":
            node.input[:] = [*node.input[:2], self.graph.add_constant(f"{name}/bias", layer.bias)]
        self.nodes.append(node)

    def _is_read_as_float(self, name: str) -> bool:
        """Whether a tensor is an output, or neither it nor an activation of it is held in eight bits."""
        if name in self.graph.outputs:
            return True
        behind = [out for reader in self._readers.get(name, []) for out in reader.output]
        return name not in self._plan.held and not any(out in self._plan.limits for out in behind)

    def _write_product(
        self, node: NodeProto, codes: NDArray[np.int8], steps: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> None:
        """Write a Gemm with a float output as MatMul and Sub.

        ONNX Runtime has an integer MatMul with a float output and no such Gemm; a bias that were added, it would make
        one of, and dequantize the weights in every call.
        """
        name = node.output[0]
        kernel, product = self._dequantized(f"{name}/kernel", codes, steps, 1), self.graph.free_name(f"{name}/product")
        self._add("MatMul", [node.input[0], kernel], product)
        self._add("Sub", [product, self.graph.add_constant(f"{name}/negative_bias", -bias)], name)

    def _dequantized(self, name: str, codes: NDArray[Any], steps: NDArray[np.float32], axis: int) -> str:
        values = {"codes": codes, "step": steps, "zero_point": np.zeros(len(steps), codes.dtype)}
        read = [self.graph.add_constant(f"{name}/{what}", value) for what, value in values.items()]
        back = self.graph.free_name(f"{name}/dq")
        self._add("DequantizeLinear", read, back, axis=axis)
        return back

    def _add(self, op_type: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=output, **attributes))
