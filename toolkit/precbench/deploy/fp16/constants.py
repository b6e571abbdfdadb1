"""The constant tensors of the float16 form."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from precbench.deploy.fp16.values import Values
from precbench.deploy.fp16.working_copy import arrays_of
from precbench.deploy.stored import StoredTensor
from precbench.graph import OnnxModel
from precbench.graph.model import HeldTensor, is_external

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
_GRID = {"format": "float16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """What became of the constants.

    Attributes:
        stored: one entry per floating-point tensor.
        arrays: the values of external tensors that are not those in their file, by name.
        flushed: elements converted that were not zero and are now.
        subnormal: elements converted that are subnormal float16 numbers.
    """

    stored: tuple[StoredTensor, ...]
    arrays: Mapping[str, NDArray[Any]]
    flushed: int
    subnormal: int


def convert_constants(working: OnnxModel, values: Values) -> Constants:
    """Convert in place the constants that are read as float16; what is read as float32 too gets an initializer more."""
    stored, arrays = [], arrays_of(working)
    flushed = subnormal = 0
    for held in [held for held in working.tensors() if held.proto.data_type in _FLOATS]:
        kept = _reason_to_keep(held, values)
        if kept is not None:
            stored.append(_kept(held, kept))
            continue
        both, before = held.value in values.read_single, working.values(held)
        after = _halved(before)
        flushed += int(np.count_nonzero((before != 0) & (after == 0)))
        subnormal += int(np.count_nonzero((after != 0) & (np.abs(after) < np.finfo(np.float16).tiny)))
        stored.append(_converted(held, both=both))
        if is_external(held.proto):
            arrays[values.half[held.value]] = after
        if both:
            working.proto.graph.initializer.append(_half_of(held.proto, values.half[held.value], after))
        else:
            held.proto.CopyFrom(_half_of(held.proto, held.proto.name, after))
    return Constants(stored=tuple(stored), arrays=arrays, flushed=flushed, subnormal=subnormal)


def _reason_to_keep(held: HeldTensor, values: Values) -> str | None:
    if held.proto.data_type != TensorProto.FLOAT:
        return f"{_type_name(held)} is not converted"
    if held.value in values.inputs:
        return "an input may override it"
    if held.value in values.read_half:
        return None
    return "it is read in float32 only" if held.value in values.read_single else "no node reads it"


def _halved(values: NDArray[Any]) -> NDArray[np.float16]:
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(np.float16)


def _half_of(tensor: TensorProto, name: str, values: NDArray[np.float16]) -> TensorProto:
    """Return a tensor with these values; where the one given is external it is so too, and saving says where."""
    if not is_external(tensor):
        return numpy_helper.from_array(values, name)
    half = TensorProto(name=name, dims=tensor.dims, data_type=TensorProto.FLOAT16)
    half.data_location = TensorProto.EXTERNAL
    half.external_data.add(key="location", value=".")
    return half


def _converted(held: HeldTensor, *, both: bool) -> StoredTensor:
    elements = prod(held.proto.dims)
    return StoredTensor(
        name=held.name,
        elements=elements,
        dtype="FLOAT16",
        grid=_GRID,
        bits=16,
        exceptions=0,
        bytes_before=elements * 4,
        bytes_after=elements * (6 if both else 2),
        kept=None,
    )


def _kept(held: HeldTensor, reason: str) -> StoredTensor:
    elements = prod(held.proto.dims)
    item_bytes = helper.tensor_dtype_to_np_dtype(held.proto.data_type).itemsize
    return StoredTensor(
        name=held.name,
        elements=elements,
        dtype=_type_name(held),
        grid=None,
        bits=item_bytes * 8,
        exceptions=0,
        bytes_before=elements * item_bytes,
        bytes_after=elements * item_bytes,
        kept=reason,
    )


def _type_name(held: HeldTensor) -> str:
    return str(TensorProto.DataType.Name(held.proto.data_type))
