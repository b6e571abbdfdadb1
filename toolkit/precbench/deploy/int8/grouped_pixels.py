"""Give the first convolution channels enough for the integer kernels: neighbouring pixels of a row become channels.

ONNX Runtime's fast integer convolution takes input channels by fours (`MlasConvSym`, KernelInputChannelAlignment), and
an image has three: such a stem is slower in int8 than in float32. In channels-last order, g pixels of a row with C
channels are one pixel with g x C: a reshape, which copies nothing. The kernel is spread out accordingly and gives r
outputs side by side as r x O channels, which a reshape turns back. The products with the zeros that the spread kernel
has too many cost less than what the fast kernel saves: at batch 32 MobileNetV2's stem takes 2.2 times less time than
in ONNX Runtime's own int8 form (benchmarks/results/int8.md).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from precbench.deploy.int8.plain_graph import PlainGraph, attribute, is_standard, set_attribute

_ALIGNED_CHANNELS = 4
_MOST_MORE_PRODUCTS = 3.0  # times those of the plain kernel
_MOST_PIXELS = 16
_TO_NHWC, _TO_NCHW = [0, 2, 3, 1], [0, 3, 1, 2]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stem:
    """A first convolution that can be regrouped.

    Args:
        conv: the node.
        before: the Transpose from a channels-last input, if there is one.
        height, width, channels: of the image.
        stride: in both directions.
        outputs_a_group: r.
    """

    conv: NodeProto
    before: NodeProto | None
    source: str
    height: int
    width: int
    channels: int
    stride: int
    outputs_a_group: int

    @property
    def pixels(self) -> int:
        """Input pixels that become one."""
        return self.stride * self.outputs_a_group


def group_pixels(graph: PlainGraph) -> bool:
    """Regroup the first convolution in place where that pays; return whether it was done.

    The law: the graph computes what it computed, product by product.
    """
    stem = _find_stem(graph)
    if stem is None:
        return False
    kernel = graph.constants[stem.conv.input[1]]
    spread, first = _spread(kernel, stem, attribute(stem.conv, "pads", [0, 0, 0, 0])[1])
    if spread.shape[3] * stem.pixels > _MOST_MORE_PRODUCTS * kernel.shape[3]:
        return False
    _replace(graph, stem, spread, first)
    return True


def _find_stem(graph: PlainGraph) -> _Stem | None:
    if len(graph.inputs) != 1:
        return None
    readers = graph.readers()
    node = graph.only_reader(graph.inputs[0], readers)
    before = None
    if node is not None and is_standard(node, "Transpose") and attribute(node, "perm", []) == _TO_NCHW:
        before, node = node, graph.only_reader(node.output[0], readers)
    if node is None or not is_standard(node, "Conv") or not _is_plain(graph, node):
        return None
    return _stem_of(graph, node, before)


def _is_plain(graph: PlainGraph, conv: NodeProto) -> bool:
    strides, pads = attribute(conv, "strides", [1, 1]), attribute(conv, "pads", [0, 0, 0, 0])
    return (
        all(name in graph.constants for name in conv.input[1:] if name)
        and graph.constants[conv.input[1]].ndim == 4
        and attribute(conv, "group", 1) == 1
        and attribute(conv, "auto_pad", "NOTSET") in ("NOTSET", "VALID")
        and attribute(conv, "dilations", [1, 1]) == [1, 1]
        and strides[0] == strides[1]
        and len(pads) == 4
        and conv.output[0] not in graph.outputs
    )


def _stem_of(graph: PlainGraph, conv: NodeProto, before: NodeProto | None) -> _Stem | None:
    dims = [dim.dim_value for dim in graph.frame.graph.input[0].type.tensor_type.shape.dim]
    if len(dims) != 4:
        return None
    height, width, channels = dims[1:] if before is not None else (dims[2], dims[3], dims[1])
    stride, (_, left, _, right) = attribute(conv, "strides", [1, 1])[0], attribute(conv, "pads", [0, 0, 0, 0])
    reach = graph.constants[conv.input[1]].shape[3]
    if not height or not width or channels % _ALIGNED_CHANNELS == 0 or channels > _ALIGNED_CHANNELS:
        return None
    outputs = (width + left + right - reach) // stride + 1
    count = next(n for n in range(1, _ALIGNED_CHANNELS + 1) if stride * n * channels % _ALIGNED_CHANNELS == 0)
    if outputs * stride != width or outputs % count or stride * count > _MOST_PIXELS:
        return None
    return _Stem(
        conv=conv,
        before=before,
        source=graph.inputs[0],
        height=height,
        width=width,
        channels=channels,
        stride=stride,
        outputs_a_group=count,
    )


def _spread(kernel: NDArray[Any], stem: _Stem, left: int) -> tuple[NDArray[np.float32], int]:
    """Return the kernel over groups of pixels, [r O, g C, height, groups], and the first group's offset, 0 or below."""
    outputs, channels, height, reach = kernel.shape
    many, pixels = stem.outputs_a_group, stem.pixels
    first, last = -left // pixels, (stem.stride * (many - 1) - left + reach - 1) // pixels
    spread = np.zeros((many * outputs, pixels * channels, height, last - first + 1), np.float32)
    for place in range(many):
        for tap in range(reach):
            group, pixel = divmod(stem.stride * place - left + tap, pixels)
            rows = slice(place * outputs, (place + 1) * outputs)
            columns = slice(pixel * channels, (pixel + 1) * channels)
            spread[rows, columns, :, group - first] = kernel[:, :, :, tap]
    return spread, first


def _replace(graph: PlainGraph, stem: _Stem, spread: NDArray[np.float32], first: int) -> None:
    conv, many = stem.conv, stem.outputs_a_group
    last = spread.shape[3] - 1 + first
    top, _, bottom, _ = attribute(conv, "pads", [0, 0, 0, 0])
    kernel_height = spread.shape[2]
    rows = (stem.height + top + bottom - kernel_height) // stem.stride + 1
    outputs = spread.shape[0] // many
    before = _to_groups(graph, stem)
    conv.input[0] = before[-1].output[0]
    conv.input[1] = graph.add_constant(f"{conv.input[1]}/grouped", spread)
    if len(conv.input) > 2 and conv.input[2]:
        conv.input[2] = graph.add_constant(f"{conv.input[2]}/grouped", np.tile(graph.constants[conv.input[2]], many))
    set_attribute(conv, "auto_pad", None)
    set_attribute(conv, "kernel_shape", [kernel_height, spread.shape[3]])
    set_attribute(conv, "strides", [stem.stride, 1])
    set_attribute(conv, "pads", [top, -first, bottom, last])
    end = _end_of_activation(graph, conv)
    after = _from_groups(graph, end, rows, stem.width // stem.stride, outputs)
    kept = [node for node in graph.nodes if node is not stem.before]
    at = kept.index(conv)
    kept[at:at] = before
    at = kept.index(end) + 1
    kept[at:at] = after
    graph.nodes = kept


def _to_groups(graph: PlainGraph, stem: _Stem) -> list[NodeProto]:
    name = stem.conv.output[0]
    shape = np.array([0, stem.height, stem.width // stem.pixels, stem.pixels * stem.channels], np.int64)
    shape_name = graph.add_constant(f"{name}/grouped_shape", shape)
    grouped, ordered = (graph.free_name(f"{name}/{what}") for what in ("pixels_grouped", "grouped_nchw"))
    nodes, source = [], stem.source
    if stem.before is None:
        source = graph.free_name(f"{name}/nhwc")
        nodes.append(helper.make_node("Transpose", [stem.source], [source], name=source, perm=_TO_NHWC))
    nodes.append(helper.make_node("Reshape", [source, shape_name], [grouped], name=grouped))
    nodes.append(helper.make_node("Transpose", [grouped], [ordered], name=ordered, perm=_TO_NCHW))
    return nodes


def _end_of_activation(graph: PlainGraph, conv: NodeProto) -> NodeProto:
    """The activation right behind the convolution, which then runs on the grouped outputs; else the convolution."""
    reader = graph.only_reader(conv.output[0], graph.readers())
    alone = reader is not None and reader.output[0] not in graph.outputs
    return reader if reader is not None and alone and is_standard(reader, "Relu", "Clip") else conv


def _from_groups(graph: PlainGraph, end: NodeProto, rows: int, columns: int, outputs: int) -> list[NodeProto]:
    """Turn the groups of outputs back into pixels, under the name that the tensor had."""
    old = end.output[0]
    new, ordered, pixels = (graph.free_name(f"{old}/{what}") for what in ("grouped", "grouped_nhwc", "pixels_nhwc"))
    shape = graph.add_constant(f"{old}/pixels_shape", np.array([0, rows, columns, outputs], np.int64))
    end.output[0] = new
    return [
        helper.make_node("Transpose", [new], [ordered], name=ordered, perm=_TO_NHWC),
        helper.make_node("Reshape", [ordered, shape], [pixels], name=pixels),
        helper.make_node("Transpose", [pixels], [old], name=f"{old}/nchw", perm=_TO_NCHW),
    ]
