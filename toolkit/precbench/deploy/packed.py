"""The packed form: weights on a decimal grid stored as small integers, and rebuilt bit for bit by plain ONNX nodes.

A tensor rounded to N decimals becomes its integer codes, and `Cast` and `Div` by 10^N in front of the graph, which ONNX
Runtime folds away when a session is made. A few large values do not make a whole tensor wide: they are stored apart,
and `ScatterElements` puts them in. A type per output channel (`Concat`, `Gather`) would save next to nothing more.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import helper

from precbench.deploy.stored import StoredTensor
from precbench.errors import ModelError
from precbench.graph import Initializer, OnnxModel, Role, list_initializers
from precbench.graph.model import HeldTensor, graphs, is_external
from precbench.grids import (
    MAX_DECIMALS,
    codes_outside,
    count_outside,
    decimal_codes,
    decimals_needed,
    integer_type_bits,
)

MIN_OPSET = 11
"""The first with `ScatterElements`."""

_OFF_GRID = f"not on a grid of {MAX_DECIMALS} decimals or fewer"
_OVERRIDABLE = "an input may override it"
_SPARSE = "sparse initializers are not packed"
_WIDE = "gains nothing: its codes need 32 bits"
_SMALL = "too small to gain"
_INTEGERS = {4: ir.DataType.INT4, 8: ir.DataType.INT8, 16: ir.DataType.INT16, 32: ir.DataType.INT32}
_INT4_OPSET, _INT4_IR_VERSION = 21, 10
_FREE_IR_VERSION = 4
_MAX_INT32 = 2**31 - 1
_PAGE_BYTES = 4096  # what a tensor of external data takes at least: smaller ones lie in the model's file
_LABELS = ("codes", "exceptions", "indices", "shape", "float", "exceptions_float", "scattered", "quotient")

_Key = tuple[int, str, bool]  # scope, value, in a node: what a tensor is, whatever its position


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A packed model with one entry per constant floating-point tensor, in the model's order, sparse ones last."""

    model: OnnxModel
    tensors: tuple[StoredTensor, ...]


def pack(model: OnnxModel) -> Packed:
    """Store the tensors that lie on a decimal grid as integers; the model given is not modified.

    The law: each value of the packed model equals that of the model given under == and has its name; only the sign of
    a zero may be lost. A tensor is packed where its integers and all that rebuilds them take fewer bytes. All else of
    the model is as it was; external data stays external.

    A session of the packed model runs the nodes that one of the model given runs. Only where ONNX Runtime's
    optimizations are off does the rebuilding stay, and products with rebuilt weights may be summed in another order.

    Why integers and not a compressed file: they are smaller on disk and in the file that is mapped, need no code to
    read, and any compression comes on top.

    Args:
        model: of opset 11 or newer. INT4 is used from opset 21 and IR version 10 on, for tensors inside the file.

    Raises:
        ModelError: no tensor lies on a grid, none becomes smaller, or the opset is too old.
    """
    _check_opset(model.proto)
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    taken = _names_taken(proto)
    rewrites = [_Rewrite(scope=scope, taken=taken) for scope, _ in enumerate(graphs(proto.graph))]
    listed = {i.position: i for i in list_initializers(model) if i.role is not Role.INTEGER}
    overridable = _overridable(model)
    stored = []
    for held in model.tensors():
        if held.position in listed:
            kept = _reason_to_keep(listed[held.position], held, overridable)
            stored.append(_kept(held, kept) if kept else _store(model, held, rewrites[held.scope]))
    stored += _sparse(proto)
    _check_gain(stored)
    return Packed(model=_rewritten(model, proto, rewrites), tensors=tuple(stored))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How the codes of one tensor are stored: in one type, or in a narrow one with exceptions apart."""

    shape: tuple[int, ...]
    decimals: int
    bits: int
    exceptions: int
    exception_bits: int

    @property
    def rank(self) -> int:
        """The number of dimensions of the codes as they are divided, which 10^N shares.

        With a scalar 10^N, ONNX Runtime 1.31 divides kernels of 1x1 one element at a time: to make a session of 20
        such kernels of 320x320 took 36 ms, with [1, 1, 1, 1] 8 to 13.
        """
        return 1 if self.exceptions else len(self.shape)

    def parts(self) -> dict[str, tuple[ir.DataType, tuple[int, ...]]]:
        """Return the type and shape of each initializer that the layout needs."""
        if not self.exceptions:
            return {"codes": (_INTEGERS[self.bits], self.shape)}
        return {
            "codes": (_INTEGERS[self.bits], (prod(self.shape),)),
            "exceptions": (_INTEGERS[self.exception_bits], (self.exceptions,)),
            "indices": (ir.DataType.INT32, (self.exceptions,)),
            "shape": (ir.DataType.INT64, (len(self.shape),)),
        }

    def arrays(self, codes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return the values of those initializers. The codes are consumed: exceptions become 0 in them."""
        flat, narrow = codes.reshape(-1), _INTEGERS[self.bits].numpy()
        if not self.exceptions:
            return {"codes": codes.astype(narrow)}
        indices = codes_outside(codes, self.bits)
        exceptions = flat[indices].astype(_INTEGERS[self.exception_bits].numpy())
        flat[indices] = 0
        return {
            "codes": flat.astype(narrow),
            "exceptions": exceptions,
            "indices": indices.astype(np.int32),
            "shape": np.array(self.shape, np.int64),
        }

    def nodes(self, names: Mapping[str, str], scale: str, value: str) -> list[onnx.NodeProto]:
        """Return the nodes that rebuild `value`; every step but the division is exact, and that is correctly rounded.

        The codes are scattered as floats, so that any two integer types go together; float32 holds them (<= 2^24).
        """
        nodes = [helper.make_node("Cast", [names["codes"]], [names["float"]], to=onnx.TensorProto.FLOAT)]
        if self.exceptions:
            exceptions, scattered = names["exceptions_float"], [names["scattered"]]
            nodes.append(helper.make_node("Cast", [names["exceptions"]], [exceptions], to=onnx.TensorProto.FLOAT))
            inputs = [names["float"], names["indices"], exceptions]
            nodes.append(helper.make_node("ScatterElements", inputs, scattered, axis=0))
        if self.decimals:
            nodes.append(helper.make_node("Div", [nodes[-1].output[0], scale], [names["quotient"]]))
        if self.exceptions:
            nodes.append(helper.make_node("Reshape", [nodes[-1].output[0], names["shape"]], [value]))
        nodes[-1].output[0] = value
        return nodes

    def file_bytes(self, names: Mapping[str, str], value: str) -> int:
        """Return what the tensor takes in a model file: data, names and nodes, with a scale of its own."""
        parts = {names[label]: part for label, part in self.parts().items()}
        scale = _scale_name(self.decimals, self.rank)
        if self.decimals:
            parts[scale] = (ir.DataType.FLOAT, (1,) * self.rank)
        headers = [
            onnx.TensorProto(name=name, data_type=int(dtype), dims=shape) for name, (dtype, shape) in parts.items()
        ]
        graph = onnx.GraphProto(node=self.nodes(names, scale, value), initializer=headers)
        return int(graph.ByteSize()) + sum(_data_bytes(dtype, shape) for dtype, shape in parts.values())


@dataclass(slots=True, kw_only=True)
class _Rewrite:
    """What changes in one graph; made tensor by tensor, and done at the end."""

    scope: int
    taken: set[str]
    gone: set[tuple[str, bool]] = field(default_factory=set)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    external: dict[_Key, NDArray[Any]] = field(default_factory=dict)
    scales: dict[tuple[int, int], str] = field(default_factory=dict)

    def replace(self, held: HeldTensor, layout: _Layout, names: Mapping[str, str], codes: NDArray[np.int64]) -> None:
        """Put codes and the nodes that rebuild the tensor in its place."""
        self.gone.add((held.value, held.in_node))
        self.taken.update(names.values())
        self.nodes += layout.nodes(names, self._scale(layout.decimals, layout.rank), held.value)
        for label, array in layout.arrays(codes).items():
            if is_external(held.proto) and label != "shape" and array.nbytes >= _PAGE_BYTES:
                self.initializers.append(_external(names[label], array))
                self.external[self.scope, names[label], False] = array
            else:
                self.initializers.append(_tensor(names[label], array))

    def _scale(self, decimals: int, rank: int) -> str:
        """Return the name of the graph's 10^N, one for all tensors of a rank; N = 0 needs none."""
        if decimals and (decimals, rank) not in self.scales:
            name = self.scales[decimals, rank] = _unique(_scale_name(decimals, rank), self.taken)
            self.taken.add(name)
            self.initializers.append(_tensor(name, np.full((1,) * rank, 10.0**decimals, np.float32)))
        return self.scales.get((decimals, rank), "")

    def apply(self, graph: onnx.GraphProto) -> None:
        """Change the graph; what stays is not copied."""
        for index in reversed(range(len(graph.initializer))):
            if (graph.initializer[index].name, False) in self.gone:
                del graph.initializer[index]
        for index in reversed(range(len(graph.node))):
            node = graph.node[index]
            if node.op_type == "Constant" and (node.output[0], True) in self.gone:
                del graph.node[index]
        for node in reversed(self.nodes):
            graph.node.insert(0, node)
        graph.initializer.extend(self.initializers)


def _store(model: OnnxModel, held: HeldTensor, rewrite: _Rewrite) -> StoredTensor:
    """Pack a float32 tensor, or say why it stays."""
    values = model.values(held)
    decimals = decimals_needed(values)
    if decimals is None:
        return _kept(held, _OFF_GRID)
    codes = decimal_codes(values, decimals)
    if isinstance(codes, str):
        return _kept(held, codes)
    names = {label: _unique(f"{held.value}/{label}", rewrite.taken) for label in _LABELS}
    layouts = _layouts(codes, decimals, _smallest_bits(model.proto, held))
    sizes = {layout: layout.file_bytes(names, held.value) for layout in layouts}
    best = min(sizes, key=sizes.__getitem__)
    if sizes[best] >= values.nbytes:
        return _kept(held, _WIDE if best.bits == 32 else _SMALL)
    rewrite.replace(held, best, names, codes)
    return _packed(held, best, sizes[best])


def _layouts(codes: NDArray[np.int64], decimals: int, smallest_bits: int) -> list[_Layout]:
    """Return one type for all, and each narrower type with exceptions (at int32 positions) in that one."""
    widest = max(integer_type_bits(codes), smallest_bits)
    narrower = [bits for bits in _INTEGERS if smallest_bits <= bits < widest and codes.size <= _MAX_INT32]
    return [
        _Layout(shape=codes.shape, decimals=decimals, bits=bits, exceptions=exceptions, exception_bits=widest)
        for bits, exceptions in [(widest, 0), *((bits, count_outside(codes, bits)) for bits in narrower)]
    ]


def _smallest_bits(proto: onnx.ModelProto, held: HeldTensor) -> int:
    """INT4 where the model may have it; new external data is handed over as whole bytes per element."""
    may_have = _opset(proto) >= _INT4_OPSET and proto.ir_version >= _INT4_IR_VERSION
    return 4 if may_have and not is_external(held.proto) else 8


def _reason_to_keep(initializer: Initializer, held: HeldTensor, overridable: set[_Key]) -> str | None:
    if initializer.dtype != "FLOAT":
        return f"{initializer.dtype} is not packed"
    return _OVERRIDABLE if _key(held) in overridable else None


def _overridable(model: OnnxModel) -> set[_Key]:
    """Return the tensors that are inputs too; before IR version 4 every initializer was one, a new one as well."""
    if model.proto.ir_version < _FREE_IR_VERSION:
        return {_key(held) for held in model.tensors()}
    inputs = [{value.name for value in graph.input} for graph in graphs(model.proto.graph)]
    return {_key(held) for held in model.tensors() if held.value in inputs[held.scope]}


def _kept(held: HeldTensor, reason: str) -> StoredTensor:
    return _kept_tensor(held.name, held.proto.data_type, tuple(held.proto.dims), reason)


def _kept_tensor(name: str, data_type: int, shape: Sequence[int], reason: str, more_bytes: int = 0) -> StoredTensor:
    dtype = ir.DataType(data_type)
    size = _data_bytes(dtype, shape) + more_bytes
    return StoredTensor(
        name=name,
        elements=prod(shape),
        dtype=dtype.name,
        grid=None,
        bits=dtype.bitwidth,
        exceptions=0,
        bytes_before=size,
        bytes_after=size,
        kept=reason,
    )


def _packed(held: HeldTensor, layout: _Layout, bytes_after: int) -> StoredTensor:
    return StoredTensor(
        name=held.name,
        elements=prod(layout.shape),
        dtype=_INTEGERS[layout.bits].name,
        grid={"decimals": layout.decimals},
        bits=layout.bits,
        exceptions=layout.exceptions,
        bytes_before=_data_bytes(ir.DataType.FLOAT, layout.shape),
        bytes_after=bytes_after,
        kept=None,
    )


def _sparse(proto: onnx.ModelProto) -> list[StoredTensor]:
    return [
        _kept_tensor(
            sparse.values.name,
            sparse.values.data_type,
            sparse.values.dims,
            _SPARSE,
            _data_bytes(ir.DataType(sparse.indices.data_type), sparse.indices.dims),
        )
        for graph in graphs(proto.graph)
        for sparse in graph.sparse_initializer
        if ir.DataType(sparse.values.data_type).is_floating_point()
    ]


def _check_gain(stored: Sequence[StoredTensor]) -> None:
    reasons = [tensor.kept for tensor in stored if tensor.kept is not None]
    if len(reasons) < len(stored):
        return
    nothing = f"nothing to pack: none of the {len(stored):,} constant floating-point tensors"
    if set(reasons) <= {_OFF_GRID}:
        raise ModelError(
            f"{nothing} lies on a grid of {MAX_DECIMALS} decimals or fewer",
            "round it first: precbench round MODEL --dp 4",
        )
    raise ModelError(
        f"{nothing} becomes smaller: {_counted(reasons)}",
        "round it first, or to fewer decimals: precbench round MODEL --dp 4",
    )


def _counted(reasons: Iterable[str]) -> str:
    """Return the reasons with their counts, the most frequent first; those that differ in a number are one."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for reason in reasons:
        kinds[re.sub(r"[0-9.,]+", "", reason)].append(reason)
    return "; ".join(
        f'{len(alike):,} "{alike[0]}"{" and the like" if len(set(alike)) > 1 else ""}'
        for alike in sorted(kinds.values(), key=len, reverse=True)
    )


def _check_opset(proto: onnx.ModelProto) -> None:
    if _opset(proto) < MIN_OPSET:
        raise ModelError(
            f"the model is of opset {_opset(proto)}, packing needs {MIN_OPSET} or newer",
            f"export it again with opset {MIN_OPSET} or newer, or convert it with onnx.version_converter",
        )


def _opset(proto: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators; 0 where the model has none of them."""
    return max((each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")), default=0)


def _rewritten(model: OnnxModel, proto: onnx.ModelProto, rewrites: Sequence[_Rewrite]) -> OnnxModel:
    """Do what was decided, inner graphs first, and find the external arrays' new positions."""
    arrays = {_key(held): model.replaced[held.position] for held in model.tensors() if held.position in model.replaced}
    for graph, rewrite in reversed(list(zip(graphs(proto.graph), rewrites, strict=True))):
        rewrite.apply(graph)
        arrays |= rewrite.external
    held_now = OnnxModel(proto=proto, folder=model.folder).tensors()
    replaced = {held.position: arrays[_key(held)] for held in held_now if _key(held) in arrays}
    return OnnxModel(proto=proto, folder=model.folder, replaced=replaced)


def _key(held: HeldTensor) -> _Key:
    return held.scope, held.value, held.in_node


def _names_taken(proto: onnx.ModelProto) -> set[str]:
    """Return every name of a value in the model, of whatever graph: subgraphs see those around them."""
    taken: set[str] = set()
    for graph in graphs(proto.graph):
        taken |= {value.name for value in (*graph.input, *graph.output, *graph.value_info)}
        taken |= {tensor.name for tensor in graph.initializer}
        taken |= {sparse.values.name for sparse in graph.sparse_initializer}
        taken |= {name for node in graph.node for name in (*node.input, *node.output)}
    return taken


def _unique(name: str, taken: Iterable[str]) -> str:
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    return unique


def _scale_name(decimals: int, rank: int) -> str:
    return f"decimal_scale_{decimals}_{rank}d"


def _data_bytes(dtype: ir.DataType, shape: Sequence[int]) -> int:
    return (prod(shape) * dtype.bitwidth + 7) // 8


def _tensor(name: str, array: NDArray[Any]) -> onnx.TensorProto:
    """Return the array as a tensor with raw data; types under 8 bits are packed into bytes."""
    return ir.serde.serialize_tensor(ir.Tensor(array, name=name))


def _external(name: str, array: NDArray[Any]) -> onnx.TensorProto:
    """Return a tensor whose data is still to be written; saving says where."""
    tensor = onnx.TensorProto(name=name, data_type=int(ir.DataType.from_numpy(array.dtype)), dims=array.shape)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=".")
    return tensor
