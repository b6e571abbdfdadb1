"""Pack a model: which tensors, and why the others stay."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import gcd, prod
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from precbench.deploy.packed.layout import INTEGERS, LABELS, Layout, candidates, data_bytes
from precbench.deploy.packed.rewriting import Key, Rewrite, key, names_taken, rewritten, unique
from precbench.deploy.stored import StoredTensor
from precbench.errors import ModelError
from precbench.graph import Initializer, OnnxModel, Role, list_initializers, opset_of, with_constant_initializers
from precbench.graph.model import HeldTensor, graphs, is_external
from precbench.grids import MAX_DECIMALS, decimal_codes, decimals_needed

MIN_OPSET = 11
"""The first with `ScatterElements`."""

_OFF_GRID = f"not on a grid of {MAX_DECIMALS} decimals or fewer"
_OVERRIDABLE = "an input may override it"
_SPARSE = "sparse initializers are not packed"
_WIDE = "gains nothing: its codes need 32 bits"
_SMALL = "too small to gain"
_ROUND = "round it first, or to fewer decimals: precbench round MODEL --dp 4"
_INT4_OPSET, _INT4_IR_VERSION = 21, 10


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
    model = with_constant_initializers(model)
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    taken = names_taken(proto)
    rewrites = [Rewrite(scope=scope, taken=taken) for scope, _ in enumerate(graphs(proto.graph))]
    listed = {i.position: i for i in list_initializers(model) if i.role is not Role.INTEGER}
    overridable = _overridable(model)
    stored = []
    for held in model.tensors():
        if held.position in listed:
            kept = _reason_to_keep(listed[held.position], held, overridable)
            stored.append(_kept(held, kept) if kept else _store(model, held, rewrites[held.scope]))
    stored += _sparse(proto)
    _check_gain(stored)
    return Packed(model=rewritten(model, proto, rewrites), tensors=tuple(stored))


def _store(model: OnnxModel, held: HeldTensor, rewrite: Rewrite) -> StoredTensor:
    """Pack a float32 tensor, or say why it stays."""
    values = model.values(held)
    decimals = decimals_needed(values)
    if decimals is None:
        return _kept(held, _OFF_GRID)
    codes = decimal_codes(values, decimals)
    if isinstance(codes, str):
        return _kept(held, codes)
    every = _every(codes, decimals)
    codes //= every
    names = {label: unique(f"{held.value}/{label}", rewrite.taken) for label in LABELS}
    layouts = candidates(codes, 10**decimals // every, _smallest_bits(model.proto, held))
    sizes = {layout: layout.file_bytes(names, held.value) for layout in layouts}
    best = min(sizes, key=sizes.__getitem__)
    if sizes[best] >= values.nbytes:
        return _kept(held, _WIDE if best.bits == 32 else _SMALL)
    rewrite.replace(held, best, names, codes)
    return _packed(held, best, sizes[best], _grid(decimals, every))


def _every(codes: NDArray[np.int64], decimals: int) -> int:
    """Return of how many codes only one is in use, as on steps between two decimals; it divides 10^N."""
    return gcd(10**decimals, int(np.gcd.reduce(codes, axis=None)))


def _grid(decimals: int, every: int) -> dict[str, Any]:
    return {"decimals": decimals} if every == 1 else {"step": f"{Decimal(every).scaleb(-decimals).normalize():f}"}


def _smallest_bits(proto: onnx.ModelProto, held: HeldTensor) -> int:
    """INT4 where the model may have it; new external data is handed over as whole bytes per element."""
    may_have = opset_of(proto) >= _INT4_OPSET and proto.ir_version >= _INT4_IR_VERSION
    return 4 if may_have and not is_external(held.proto) else 8


def _reason_to_keep(initializer: Initializer, held: HeldTensor, overridable: set[Key]) -> str | None:
    if initializer.dtype != "FLOAT":
        return f"{initializer.dtype} is not packed"
    return _OVERRIDABLE if key(held) in overridable else None


def _overridable(model: OnnxModel) -> set[Key]:
    """Return the tensors that are inputs too."""
    inputs = [{value.name for value in graph.input} for graph in graphs(model.proto.graph)]
    return {key(held) for held in model.tensors() if held.value in inputs[held.scope]}


def _kept(held: HeldTensor, reason: str) -> StoredTensor:
    return _kept_tensor(held.name, held.proto.data_type, tuple(held.proto.dims), reason)


def _kept_tensor(name: str, data_type: int, shape: Sequence[int], reason: str, more_bytes: int = 0) -> StoredTensor:
    dtype = ir.DataType(data_type)
    size = data_bytes(dtype, shape) + more_bytes
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


def _packed(held: HeldTensor, layout: Layout, bytes_after: int, grid: Mapping[str, Any]) -> StoredTensor:
    return StoredTensor(
        name=held.name,
        elements=prod(layout.shape),
        dtype=INTEGERS[layout.bits].name,
        grid=grid,
        bits=layout.bits,
        exceptions=layout.exceptions,
        bytes_before=data_bytes(ir.DataType.FLOAT, layout.shape),
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
            data_bytes(ir.DataType(sparse.indices.data_type), sparse.indices.dims),
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
        raise ModelError(f"{nothing} lies on a grid of {MAX_DECIMALS} decimals or fewer", _ROUND)
    by_values = [t for t in stored if t.dtype == "FLOAT" and t.kept not in (_OVERRIDABLE, _SPARSE, _SMALL)]
    if by_values:
        raise ModelError(
            f"{nothing} becomes smaller: {len(by_values):,} are not rounded, or have so many decimals that their "
            f'integers take 32 bits or more ("{by_values[0].kept}")',
            _ROUND,
        )
    raise ModelError(f"{nothing} becomes smaller: {_counted(reasons)}", "deploy it in another form")


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
    if opset_of(proto) < MIN_OPSET:
        raise ModelError(
            f"the model is of opset {opset_of(proto)}, packing needs {MIN_OPSET} or newer",
            f"export it again with opset {MIN_OPSET} or newer, or convert it with onnx.version_converter",
        )
