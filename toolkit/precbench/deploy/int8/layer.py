"""A layer with weights as a matrix product: its kernel as rows, and the patches that the rows are multiplied with."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from precbench.deploy.int8.plain_graph import PlainGraph, attribute, is_standard


def output_axis(node: NodeProto) -> int:
    """Return which axis of a kernel counts the outputs: of Conv the first, of Gemm by transB, of MatMul the last."""
    if is_standard(node, "Conv"):
        return 0
    return 0 if is_standard(node, "Gemm") and attribute(node, "transB", 0) else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The kernel of a Conv, Gemm or MatMul as [groups, outputs a group, K] and its bias as [outputs].

    Args:
        node: the node.
        rows: the kernel's rows, in its own type.
        bias: float64; zeros where the node has none.
        axis: of the kernel, which counts the outputs.
    """

    node: NodeProto
    rows: NDArray[np.float32]
    bias: NDArray[np.float64]
    axis: int

    @classmethod
    def of(cls, graph: PlainGraph, node: NodeProto) -> "Layer":
        """Return a node's layer; its weights are constant (`planning.Part.WEIGHTED`)."""
        kernel, axis = graph.constants[node.input[1]], output_axis(node)
        groups = attribute(node, "group", 1) if is_standard(node, "Conv") else 1
        flat = np.moveaxis(kernel, axis, 0)
        rows = flat.reshape(groups, flat.shape[0] // groups, -1)
        named = node.input[2] if len(node.input) > 2 else ""
        bias = graph.constants[named].astype(np.float64) if named else np.zeros(flat.shape[0])
        return cls(node=node, rows=rows, bias=np.broadcast_to(bias, flat.shape[:1]), axis=axis)

    @property
    def outputs(self) -> int:
        """Output channels."""
        return int(self.rows.shape[0] * self.rows.shape[1])

    def kernel_of(self, rows: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
        """Return rows as a kernel of the given shape, in their own type."""
        turned = (shape[self.axis], *(size for axis, size in enumerate(shape) if axis != self.axis))
        return np.ascontiguousarray(np.moveaxis(rows.reshape(turned), 0, self.axis))

    def positions(self, values: NDArray[Any], kernel: Sequence[int]) -> int:
        """Return how many patches an input has."""
        if not is_standard(self.node, "Conv"):
            return int(values.size // values.shape[-1])
        return len(values) * int(np.prod(_Window.of(self.node, kernel, values.shape).sizes))

    def patches(self, values: NDArray[Any], kernel: Sequence[int], chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return what the rows are multiplied with at chosen places.

        Args:
            values: an input, [n, channels, …] of a Conv, […, K] of a Gemm or MatMul.
            kernel: the kernel's shape.
            chosen: of `positions`, each below it.

        Returns:
            float32 [groups, chosen, K].
        """
        if not is_standard(self.node, "Conv"):
            return np.asarray(values.reshape(-1, values.shape[-1])[chosen][None], np.float32)
        window = _Window.of(self.node, kernel, values.shape)
        padded = np.pad(values, ((0, 0), (0, 0), *zip(window.begins, window.ends, strict=True)))
        image, *place = np.unravel_index(chosen, (len(values), *window.sizes))
        taps = [padded[_index(image, window.at(place, tap))] for tap in product(*(range(n) for n in kernel[2:]))]
        stacked = np.stack(taps, axis=-1)  # [chosen, channels, taps]
        groups = self.rows.shape[0]
        return np.asarray(stacked.reshape(len(chosen), groups, -1).transpose(1, 0, 2), np.float32)


def _index(image: NDArray[np.int64], place: tuple[NDArray[np.int64], ...]) -> tuple[Any, ...]:
    """All channels at some places of some images."""
    return (image, slice(None), *place)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """Where a Conv's kernel is put: output sizes, strides, dilations, padding at the beginning and the end."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, node: NodeProto, kernel: Sequence[int], shape: Sequence[int]) -> "_Window":
        spatial, taps = tuple(shape[2:]), tuple(kernel[2:])
        ones = [1] * len(taps)
        strides, dilations = attribute(node, "strides", ones), attribute(node, "dilations", ones)
        reach = [d * (n - 1) + 1 for d, n in zip(dilations, taps, strict=True)]
        begins, ends = _padding(node, spatial, strides, reach)
        padded = [size + a + b for size, a, b in zip(spatial, begins, ends, strict=True)]
        sizes = [(size - r) // s + 1 for size, r, s in zip(padded, reach, strides, strict=True)]
        return cls(
            sizes=tuple(sizes),
            strides=tuple(strides),
            dilations=tuple(dilations),
            begins=tuple(begins),
            ends=tuple(ends),
        )

    def at(self, place: Sequence[NDArray[np.int64]], tap: Sequence[int]) -> tuple[NDArray[np.int64], ...]:
        """Return where in the padded input a tap lies at some output places."""
        axes = zip(place, self.strides, tap, self.dilations, strict=True)
        return tuple(p * stride + n * dilation for p, stride, n, dilation in axes)


def _padding(
    node: NodeProto, spatial: Sequence[int], strides: Sequence[int], reach: Sequence[int]
) -> tuple[list[int], list[int]]:
    auto = attribute(node, "auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID"):
        pads = attribute(node, "pads", [0] * (2 * len(spatial))) if auto == "NOTSET" else [0] * (2 * len(spatial))
        return list(pads[: len(spatial)]), list(pads[len(spatial) :])
    begins, ends = [], []
    for size, stride, need in zip(spatial, strides, reach, strict=True):
        total = max((-(-size // stride) - 1) * stride + need - size, 0)
        less, more = total // 2, total - total // 2
        begins.append(less if auto == "SAME_UPPER" else more)
        ends.append(more if auto == "SAME_UPPER" else less)
    return begins, ends
