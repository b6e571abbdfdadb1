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
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from precbench.deploy.int8.activation_grid import ActivationGrid
from precbench.deploy.int8.layer import Layer, output_axis
from precbench.deploy.int8.plain_graph import PlainGraph, read_names
from precbench.deploy.int8.planning import Part, Plan
from precbench.deploy.int8.ranges import Calibration
from precbench.grids.preferred import preferred_steps
from precbench.progress import SILENT, Progress
from precbench.runtime.probing import Probe, run_node

LARGEST_CODE = 127
_LARGEST_BIAS_CODE = 2.0**30
_RIDGE = 0.01  # of the mean variance of an input; more where there are few patches
_ROWS_A_COLUMN = 8  # patches a weight from which on the ridge is as above
_MOST_PATCHES = 1 << 15
_MOST_PATCH_VALUES = 48 << 20
_MOST_FITTED_COLUMNS = 4096  # a larger layer's Gram matrix would take more than 128 MiB: bias correction alone
_FINER, _COARSER = 2, 2  # steps of R10 that are tried around the first that cuts no weight off
_LEAST_STEP = 1e-9
_MOST_VALUE_BYTES = 1 << 30  # of the tensors alive at once, both networks together

Values = dict[str, list[NDArray[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntegerLayer:
    """A layer's integer weights.

    Args:
        codes: int8, in the kernel's shape, -127..127.
        steps: float64 [outputs], decimals of at most three significant digits: the weights are codes x steps.
        bias: float32 [outputs], whole multiples of input scale x step, so that a runtime that holds it in int32 loses
            nothing.
    """

    codes: NDArray[np.int8]
    steps: NDArray[np.float64]
    bias: NDArray[np.float32]


def reconstruct(
    graph: PlainGraph,
    plan: Plan,
    grids: Mapping[str, ActivationGrid],
    calibration: Calibration,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, IntegerLayer]:
    """Return the integer weights of every weighted node, by the name of its output.

    Memory: the tensors that are alive at once, of as many chunks of data as fit into 1 GiB, and one layer's patches.

    Args:
        graph: folded, float32.
        plan: of it.
        grids: of the held tensors.
        calibration: data; at most what fits is used.
        seed: draws the patches.
    """
    chunks = list(islice(calibration.chunks(), _chunks_that_fit(graph, calibration)))
    walk = _Walk(graph, plan, grids, np.random.default_rng(seed))
    walk.begin(chunks)
    weighted = sum(part is Part.WEIGHTED for part in plan.parts)
    with progress.track("fitting layers", weighted) as step:
        for node, part in zip(graph.nodes, plan.parts, strict=True):
            walk.pass_node(node, part)
            step(int(part is Part.WEIGHTED))
    return walk.layers


def _chunks_that_fit(graph: PlainGraph, calibration: Calibration) -> int:
    """How many chunks' live tensors fit into memory, by the sizes that the first one has; at least one."""
    first = next(iter(calibration.chunks()))
    names = [name for node in graph.nodes for name in node.output if name]
    sizes = {name: array.nbytes for name, array in Probe(graph.to_proto(), names).run(first).items()}
    sizes |= {name: array.nbytes for name, array in first.items()}
    alive, most = 0, 1
    leaving = _last_reads(graph)
    for node, gone in zip(graph.nodes, leaving, strict=True):
        alive += sum(sizes.get(name, 0) for name in node.output)
        most = max(most, alive)
        alive -= sum(sizes.get(name, 0) for name in gone)
    return max(1, _MOST_VALUE_BYTES // (2 * most))


def _last_reads(graph: PlainGraph) -> list[set[str]]:
    """For each node the tensors that nothing after it reads."""
    later = set(graph.outputs)
    gone: list[set[str]] = []
    for node in reversed(graph.nodes):
        read = {name for name in (*read_names(node), *node.output) if name and name not in graph.constants}
        gone.append(read - later)
        later |= read
    return gone[::-1]


class _Walk:
    """The float network and the integer one, passed through node by node."""

    def __init__(
        self, graph: PlainGraph, plan: Plan, grids: Mapping[str, ActivationGrid], rng: np.random.Generator
    ) -> None:
        self.layers: dict[str, IntegerLayer] = {}
        self._graph, self._plan, self._grids, self._rng = graph, plan, grids, rng
        self._exact: Values = {}
        self._rounded: Values = {}
        self._leaving = iter(_last_reads(graph))

    def begin(self, chunks: list[Mapping[str, NDArray[Any]]]) -> None:
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
        return _integer_layer(layer, kernel, exact, rounded, self._grids[self._plan.grid_of(node.input[0])].scale)

    def _patches(self, layer: Layer, kernel: tuple[int, ...]) -> Iterator[tuple[NDArray[np.float32], ...]]:
        """The same places of both networks' inputs, drawn evenly from the chunks."""
        name = layer.node.input[0]
        chunks = list(zip(self._exact[name], self._rounded[name], strict=True))
        columns = layer.rows.shape[0] * layer.rows.shape[2]
        wanted = -(-min(_MOST_PATCHES, max(1, _MOST_PATCH_VALUES // columns)) // len(chunks))
        for exact, rounded in chunks:
            count = layer.positions(exact, kernel)
            chosen = self._rng.choice(count, size=min(wanted, count), replace=False, shuffle=False)
            yield layer.patches(exact, kernel, chosen), layer.patches(rounded, kernel, chosen)


def _input(name: str, values: Values, constants: Mapping[str, NDArray[Any]], chunk: int) -> NDArray[Any] | None:
    if not name:
        return None
    return constants[name] if name in constants else values[name][chunk]


def _integer_layer(
    layer: Layer,
    kernel: tuple[int, ...],
    exact: NDArray[np.float32],
    rounded: NDArray[np.float32],
    input_scale: float,
) -> IntegerLayer:
    """Fit, round and correct one layer.

    Args:
        layer: in float.
        kernel: its shape.
        exact: [groups, patches, K] of the float network.
        rounded: the same places of the integer network.
        input_scale: of the layer's input.
    """
    outputs = exact @ layer.rows.astype(np.float32).transpose(0, 2, 1)  # [groups, patches, outputs a group]
    mean, wanted = (values.mean(axis=1, dtype=np.float64) for values in (rounded, outputs))
    # Centred before they are multiplied: of a nearly constant input the variance is lost in float32 otherwise.
    centred, aim = (
        values - centre[:, None, :].astype(np.float32) for values, centre in ((rounded, mean), (outputs, wanted))
    )
    noise = input_scale**2 / 12  # variance of the inputs' rounding: so much varies in each, whatever the data show
    rows, weight = layer.rows, centred.var(axis=1, dtype=np.float64) + noise
    if rows.shape[2] <= _MOST_FITTED_COLUMNS:
        weight = _products(centred, centred) + noise * np.eye(rows.shape[2])
        rows = _fitted(rows, weight, _products(centred, aim), noise=noise, patches=rounded.shape[1])
    largest = np.abs(rows).max(axis=2).reshape(-1)
    least = np.maximum(largest / LARGEST_CODE, np.abs(layer.bias) / (input_scale * _LARGEST_BIAS_CODE))
    codes, steps = _rounded_rows(rows, np.maximum(least, _LEAST_STEP), weight)
    sums = (codes * steps.reshape(*codes.shape[:2], 1) * mean[:, None, :]).sum(axis=2)
    bias = layer.bias + (wanted - sums).reshape(-1)
    bias_steps = np.float32(input_scale) * steps.astype(np.float32)
    bias_codes = np.rint(bias / bias_steps.astype(np.float64)).astype(np.float32)
    return IntegerLayer(codes=layer.kernel_of(codes.astype(np.int8), kernel), steps=steps, bias=bias_codes * bias_steps)


def _products(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean outer products over patches, [groups, columns of one, columns of other]."""
    means: NDArray[np.float64] = np.matmul(one.transpose(0, 2, 1), other).astype(np.float64) / one.shape[1]
    return means


def _fitted(
    rows: NDArray[np.float64],
    covariance: NDArray[np.float64],
    towards: NDArray[np.float64],
    *,
    noise: float,
    patches: int,
) -> NDArray[np.float64]:
    """Return the rows moved by ridge regression to where they give the float outputs from the integer inputs.

    Args:
        rows: [groups, outputs a group, K].
        covariance: of the integer inputs, [groups, K, K], with `noise` on its diagonal: inputs that vary no more than
            that move nothing.
        towards: of the integer inputs with the float outputs, [groups, K, outputs a group].
        noise: see above.
        patches: that they are from.
    """
    columns = rows.shape[2]
    spread = np.trace(covariance, axis1=1, axis2=2) / columns
    ridge = _RIDGE * max(1.0, _ROWS_A_COLUMN * columns / patches) * spread
    left = covariance + ridge[:, None, None] * np.eye(columns)
    old = rows.transpose(0, 2, 1)
    moved: NDArray[np.float64] = old + np.linalg.solve(left, towards - (covariance @ old - noise * old))
    return np.ascontiguousarray(moved.transpose(0, 2, 1))


def _rounded_rows(
    rows: NDArray[np.float64], least: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return codes [groups, outputs a group, K] and steps [outputs]: of the steps tried, that of the least error.

    Args:
        rows: [groups, outputs a group, K].
        least: [outputs], steps that cut no weight off.
        weight: of errors: the inputs' covariance [groups, K, K], or their variances alone [groups, K].
    """
    best = np.full(rows.shape[:2], np.inf)
    codes, steps = np.zeros_like(rows), np.ones(rows.shape[:2])
    for tried in preferred_steps(least, finer=_FINER, coarser=_COARSER):
        step = tried.reshape(rows.shape[:2])
        found = np.clip(np.rint(rows / step[:, :, None]), -LARGEST_CODE, LARGEST_CODE)
        off = found * step[:, :, None] - rows
        weighed = off @ weight if weight.ndim == 3 else off * weight[:, None, :]
        error = np.einsum("gok,gok->go", weighed, off)
        better = error < best
        best, steps = np.where(better, error, best), np.where(better, step, steps)
        codes = np.where(better[:, :, None], found, codes)
    return codes, steps.reshape(-1)
