"""A few inputs with the outputs that a deployed model gave for them where it was made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import DataError
from precbench.files import write_atomically
from precbench.runtime import Session, TensorSpec, fixed_batch, read_arrays
from precbench.runtime.batches import batched_names, rows_of

Arrays = Mapping[str, NDArray[Any]]

ROWS = 16
TOLERANCES = {"packed": 1e-3, "fp16": 2e-2, "int8": 0.2}
"""Largest difference of an output over its largest value. float32 sums differ between kernels and machines by rounding
alone, and a GPU may compute in TF32; of int8, whole levels of activations may fall to the other side."""

_INPUT, _OUTPUT = "input/", "output/"
_MOST_BYTES = 2 << 30
_REMEDY = "deploy the model again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How near a model's outputs are to the reference.

    Args:
        difference: of floats, the largest of any output over that output's largest value.
        same: of integers, booleans and text, the smallest share of equal elements of any output, 0 to 1.
        same_top: share of samples with the same top-1 class, 0 to 1; None where no output is scores.
        same_finite: whether NaN and infinities are where the reference has them.
    """

    difference: float
    same: float
    same_top: float | None
    same_finite: bool


def write_reference(path: Path, session: Session, feeds: Arrays) -> None:
    """Run a model on some inputs and write them with the outputs."""
    outputs = session.run(feeds)
    arrays = {f"{_INPUT}{name}": array for name, array in feeds.items()}
    arrays |= {f"{_OUTPUT}{name}": array for name, array in outputs.items()}
    arrays = {name: array.astype(np.str_) if array.dtype.kind == "O" else array for name, array in arrays.items()}
    write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))  # type: ignore[arg-type]


def read_reference(path: Path, inputs: Sequence[TensorSpec]) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return the inputs and the outputs.

    Args:
        path: of the file, at most 2 GiB unpacked.
        inputs: of the model.

    Raises:
        DataError: the file is damaged, too large, holds neither, or more samples than a reference has.
    """
    arrays = read_arrays(path, most_bytes=_MOST_BYTES)
    feeds, outputs = (
        {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        for prefix in (_INPUT, _OUTPUT)
    )
    if not feeds or not outputs:
        raise DataError(f"{path} holds no reference inputs and outputs", _REMEDY)
    rows = rows_of(feeds, batched_names(inputs))
    if rows > max(ROWS, fixed_batch(inputs) or 0):
        raise DataError(f"{path} holds {rows:,} samples, a reference {ROWS}", _REMEDY)
    return feeds, outputs


def agreement(expected: Arrays, found: Arrays) -> Agreement:
    """Compare outputs by name, each by its kind.

    Raises:
        DataError: the outputs have other names, shapes or types.
    """
    difference, same, same_finite = 0.0, 1.0, True
    for name, reference in expected.items():
        value = found.get(name)
        _check_comparable(name, reference, value)
        assert value is not None
        if reference.dtype.kind == "f":
            difference = max(difference, _difference(reference, value))
            same_finite = same_finite and _same_finite(reference, value)
        elif reference.size:
            same = min(same, float(np.mean(reference == value.astype(reference.dtype))))
    return Agreement(difference=difference, same=same, same_top=_same_top(expected, found), same_finite=same_finite)


def _check_comparable(name: str, reference: NDArray[Any], value: NDArray[Any] | None) -> None:
    if value is None or value.shape != reference.shape:
        shape = None if value is None else list(value.shape)
        raise DataError(f"the output {name!r} has the shape {shape}, its reference {list(reference.shape)}", _REMEDY)
    kinds = {kind: kind for kind in "fbiu"} | {"U": "U", "O": "U"}
    if kinds.get(reference.dtype.kind) is None or kinds[reference.dtype.kind] != kinds.get(value.dtype.kind):
        raise DataError(f"the output {name!r} is {value.dtype}, its reference {reference.dtype}", _REMEDY)


def _difference(reference: NDArray[Any], value: NDArray[Any]) -> float:
    """Of what is finite in both; where one alone is, `_same_finite` says so."""
    first, second = reference.astype(np.float64), value.astype(np.float64)
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        return 0.0
    scale = float(np.abs(first[both]).max()) or 1.0
    return float(np.abs(first[both] - second[both]).max()) / scale


def _same_finite(reference: NDArray[Any], value: NDArray[Any]) -> bool:
    odd = ~np.isfinite(reference)
    return bool(np.array_equal(odd, ~np.isfinite(value)) and np.array_equal(reference[odd], value[odd], equal_nan=True))


def _same_top(expected: Arrays, found: Arrays) -> float | None:
    """The least of all outputs that are scores: floats [samples, two or more]."""
    shares = [
        float(np.mean(array.argmax(axis=1) == found[name].argmax(axis=1)))
        for name, array in expected.items()
        if array.dtype.kind == "f" and array.ndim == 2 and array.shape[1] >= 2 and len(array)
    ]
    return min(shares, default=None)
