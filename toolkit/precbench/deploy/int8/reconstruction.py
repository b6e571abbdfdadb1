"""Integer weights, layer after layer: each is fitted to what the layers before it really hand on, then rounded.

Rounding each weight to the nearest step is not enough for depthwise networks: the rounding errors of nine weights do
not cancel, and a first layer's eight-bit activations carry noise that later ones amplify. So the layers are gone
through in order, with the float network and the integer one side by side. Of a layer with float input x, integer input
z and kernel rows W, the rows are moved to where V z is nearest to W x (ridge regression towards W), then rounded to the
grid whose step leaves the least error in the outputs; the bias takes up what is left of the mean, which is the bias
correction of Nagel et al. (ICCV 2019).

Source: the layerwise least squares of Hubara et al., Accurate post training quantization with small calibration sets
(ICML 2021), in closed form.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from precbench.deploy.int8.activation_grid import ActivationGrid
from precbench.deploy.int8.fitting_samples import fitting_samples, last_reads
from precbench.deploy.int8.integer_layer import IntegerLayer, integer_layer, outputs_a_block
from precbench.deploy.int8.layer import Layer, output_axis
from precbench.deploy.int8.plain_graph import PlainGraph
from precbench.deploy.int8.planning import Part, Plan
from precbench.deploy.int8.ranges import Calibration, Feeds, rows_of
from precbench.progress import SILENT, Progress
from precbench.runtime.probing import run_node

_MOST_PATCHES = 1 << 15
_MOST_PATCH_VALUES = 48 << 20

Values = dict[str, list[NDArray[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reconstruction:
    """The integer weights of a graph.

    Args:
        layers: by the name of their node's output.
        samples: that they were fitted on.
    """

    layers: Mapping[str, IntegerLayer]
    samples: int


def reconstruct(
    graph: PlainGraph,
    plan: Plan,
    grids: Mapping[str, ActivationGrid],
    calibration: Calibration,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Reconstruction:
    """Return the integer weights of every weighted node.

    Memory: 1 GiB of tensors that are alive at once, more where one chunk takes more; a layer's patches, at most six
    times 192 MiB with their outputs and copies; and what `integer_layer` takes for its weights.

    Args:
        graph: folded, float32.
        plan: of it.
        grids: of the held tensors.
        calibration: data; of more than fit, samples from all over are used.
        seed: draws the samples and the patches.
    """
    chunks = fitting_samples(graph, calibration, seed=seed)
    walk = _Walk(graph, plan, grids, np.random.default_rng(seed))
    walk.begin(chunks)
    weighted = sum(part is Part.WEIGHTED for part in plan.parts)
    with progress.track("fitting layers", weighted) as step:
        for node, part in zip(graph.nodes, plan.parts, strict=True):
            walk.pass_node(node, part)
            step(int(part is Part.WEIGHTED))
    return Reconstruction(layers=walk.layers, samples=sum(rows_of(chunk) for chunk in chunks))


class _Walk:
    """The float network and the integer one, passed through node by node."""

    def __init__(
        self, graph: PlainGraph, plan: Plan, grids: Mapping[str, ActivationGrid], rng: np.random.Generator
    ) -> None:
        self.layers: dict[str, IntegerLayer] = {}
        self._graph, self._plan, self._grids, self._rng = graph, plan, grids, rng
        self._exact: Values = {}
        self._rounded: Values = {}
        self._leaving = iter(last_reads(graph))

    def begin(self, chunks: list[Feeds]) -> None:
        """Take the inputs in."""
        for name in self._graph.inputs:
            self._exact[name] = [chunk[name] for chunk in chunks]
            self._rounded[name] = [self._held(name, value) for value in self._exact[name]]

    def pass_node(self, node: NodeProto, part: Part) -> None:
        """Compute a node's outputs in both networks; of a weighted one, find the integer weights first."""
        constants: Mapping[str, NDArray[Any]] = self._graph.constants
        exact = self._run(node, self._exact, constants)
        if part is Part.WEIGHTED:
            layer = self._fit(node)
            self.layers[node.output[0]] = layer
            self._run_integer(node, layer)
        elif part is Part.ACTIVATION:  # left to the saturation of what follows
            self._rounded[node.output[0]] = [
                self._held(node.output[0], value) for value in self._rounded[node.input[0]]
            ]
        else:
            self._keep(node, self._run(node, self._rounded, constants))
        for name, values in exact.items():
            self._exact[name] = values
        for name in next(self._leaving):
            self._exact.pop(name, None)
            self._rounded.pop(name, None)

    def _run_integer(self, node: NodeProto, layer: IntegerLayer) -> None:
        constants = dict(self._graph.constants)
        read = NodeProto()
        read.CopyFrom(node)
        kernel, bias = f"{node.output[0]}/fitted", f"{node.output[0]}/fitted_bias"
        constants[kernel], constants[bias] = self._dequantized(node, layer)
        has_bias = node.op_type != "MatMul"
        read.input[:] = [node.input[0], kernel, bias] if has_bias else [node.input[0], kernel]
        self._keep(node, self._run(read, self._rounded, constants))

    def _dequantized(self, node: NodeProto, layer: IntegerLayer) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        shape = [1] * layer.codes.ndim
        shape[output_axis(node)] = -1
        kernel = layer.codes.astype(np.float32) * layer.steps.astype(np.float32).reshape(shape)
        return kernel, layer.bias

    def _run(self, node: NodeProto, values: Values, constants: Mapping[str, NDArray[Any]]) -> Values:
        names = [name for name in node.output if name]
        found: Values = {name: [] for name in names}
        for chunk in range(self._chunks(node, values)):
            inputs = [_input(name, values, constants, chunk) for name in node.input]
            for name, value in zip(names, run_node(node, inputs, self._graph.frame.opset_import), strict=True):
                found[name].append(value)
        return found

    def _chunks(self, node: NodeProto, values: Values) -> int:
        given = [len(values[name]) for name in node.input if name in values]
        return given[0] if given else len(values[self._graph.inputs[0]])

    def _keep(self, node: NodeProto, found: Values) -> None:
        for name in node.output:
            if name:
                self._rounded[name] = [self._held(name, value) for value in found[name]]

    def _held(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        """Round what is held in eight bits."""
        if name not in self._plan.held:
            return value
        return self._grids[self._plan.grid_of(name)].round(value)

    def _fit(self, node: NodeProto) -> IntegerLayer:
        layer = Layer.of(self._graph, node)
        kernel = self._graph.constants[node.input[1]].shape
        patches = list(self._patches(layer, kernel))
        exact, rounded = (np.concatenate([pair[side] for pair in patches], axis=1) for side in (0, 1))
        return integer_layer(layer, kernel, exact, rounded, self._grids[self._plan.grid_of(node.input[0])].scale)

    def _patches(self, layer: Layer, kernel: tuple[int, ...]) -> Iterator[tuple[NDArray[np.float32], ...]]:
        """The same places of both networks' inputs, drawn evenly from the chunks."""
        name = layer.node.input[0]
        chunks = list(zip(self._exact[name], self._rounded[name], strict=True))
        values = layer.rows.shape[0] * max(layer.rows.shape[2], outputs_a_block(layer))
        wanted = -(-min(_MOST_PATCHES, max(1, _MOST_PATCH_VALUES // values)) // len(chunks))
        for exact, rounded in chunks:
            count = layer.positions(exact, kernel)
            chosen = self._rng.choice(count, size=min(wanted, count), replace=False, shuffle=False)
            yield layer.patches(exact, kernel, chosen), layer.patches(rounded, kernel, chosen)


def _input(name: str, values: Values, constants: Mapping[str, NDArray[Any]], chunk: int) -> NDArray[Any] | None:
    if not name:
        return None
    return constants[name] if name in constants else values[name][chunk]
