"""How close a variant's outputs are to the reference's, where there are no labels or no classes."""

from dataclasses import dataclass
from math import inf, isinf, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import DataError

_WITHOUT_LABELS = "compare outputs of the same model family for the same inputs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Closeness of two arrays of one shape. A figure that has no meaning is None, and `note` says why.

    Args:
        elements: compared elements.
        excluded: elements left out because both sides hold the same NaN or infinity.
        sqnr_db: 10 log10 of the reference's energy over the error's, in decibels; inf where both are equal.
        max_abs_error: largest |variant - reference|, in the output's unit.
        cosine: of the two as vectors, -1..1; None where one of them is all zero.
        top1_agreement: share of rows with the same largest column, 0..1; None unless both are floats [n, k >= 2].
        note: words for what the numbers cannot say.
    """

    elements: int
    excluded: int
    sqnr_db: float | None
    max_abs_error: float | None
    cosine: float | None
    top1_agreement: float | None
    note: str | None

    def to_json(self) -> dict[str, Any]:
        """Return strict JSON: an infinite `sqnr_db` is the string "inf" or "-inf", a missing figure null."""
        sqnr = str(self.sqnr_db) if self.sqnr_db is not None and isinf(self.sqnr_db) else self.sqnr_db
        return {
            "elements": self.elements,
            "excluded": self.excluded,
            "sqnr_db": sqnr,
            "max_abs_error": self.max_abs_error,
            "cosine": self.cosine,
            "top1_agreement": self.top1_agreement,
            "note": self.note,
        }


def fidelity(reference: NDArray[Any], variant: NDArray[Any]) -> Fidelity:
    """Compare two outputs in float64. Equal arrays have sqnr_db inf, error 0 and agreement 1.

    NaN and infinities are not averaged in: where both sides hold the same one the element is excluded and counted;
    where they differ no figure is given and the note says how many elements disagree.

    Args:
        reference: any shape, real dtype, at least one element.
        variant: the same shape.

    Raises:
        DataError: the shapes differ, there is no element, or the elements are no real numbers.
    """
    before, after = _as_float64(reference, "reference"), _as_float64(variant, "variant")
    if before.shape != after.shape:
        raise DataError(f"the outputs have the shapes {list(before.shape)} and {list(after.shape)}", _WITHOUT_LABELS)
    finite = np.isfinite(before) & np.isfinite(after)
    same = _same_nonfinite(before, after)
    differing = int((~finite & ~same).sum())
    agreement = _top1_agreement(reference, variant)
    if differing or not finite.any():
        return _without_figures(before.size, int(same.sum()), differing)
    excluded = int(before.size - finite.sum())
    note = f"{excluded} of {before.size} elements are the same NaN or infinity on both sides" if excluded else None
    before, after = before[finite], after[finite]
    if np.asarray(reference).dtype.kind in "iub" and np.asarray(variant).dtype.kind in "iub":
        return _of_whole_numbers(before, after)
    if max(np.abs(before).max(), np.abs(after).max()) > _LARGEST:
        return _without_figures(before.size, excluded, before.size, why="are too large to subtract in float64")
    return Fidelity(
        elements=before.size,
        excluded=excluded,
        sqnr_db=_sqnr_db(before, after),
        max_abs_error=float(np.abs(after - before).max()),
        cosine=_cosine(before, after),
        top1_agreement=agreement,
        note=note,
    )


_LARGEST = 1e307


def _of_whole_numbers(before: NDArray[np.float64], after: NDArray[np.float64]) -> Fidelity:
    """Classes, indices and counts are equal or not; a noise ratio of them means nothing."""
    equal = int((before == after).sum())
    return Fidelity(
        elements=before.size,
        excluded=0,
        sqnr_db=None,
        max_abs_error=None,
        cosine=None,
        top1_agreement=None,
        note=f"whole numbers: {equal} of {before.size} elements are equal",
    )


def _without_figures(
    elements: int, same: int, differing: int, *, why: str = "are NaN or infinite on one side, or differently on the two"
) -> Fidelity:
    note = (
        f"{differing} of {elements} elements {why}"
        if differing
        else f"all {elements} elements are the same NaN or infinity on both sides"
    )
    return Fidelity(
        elements=elements - same,
        excluded=same,
        sqnr_db=None,
        max_abs_error=None,
        cosine=None,
        top1_agreement=None,
        note=note,
    )


def _as_float64(values: NDArray[Any], what: str) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise DataError(f"the {what} output is {array.dtype}, not real numbers", _WITHOUT_LABELS)
    if array.size == 0:
        raise DataError(f"the {what} output of shape {list(array.shape)} has no elements", _WITHOUT_LABELS)
    return array.astype(np.float64)


def _same_nonfinite(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (np.isnan(before) & np.isnan(after)) | (np.isinf(before) & (before == after))
    return same


def _scaled(values: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    return values / scale if scale > 0 else values


def _sqnr_db(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    error = after - before
    largest, largest_error = float(np.abs(before).max()), float(np.abs(error).max())
    if largest_error == 0:
        return inf
    if largest == 0:
        return -inf
    signal = float(np.square(_scaled(before, largest)).sum())
    noise = float(np.square(_scaled(error, largest_error)).sum())
    return 10 * (log10(signal) - log10(noise)) + 20 * (log10(largest) - log10(largest_error))


def _cosine(before: NDArray[np.float64], after: NDArray[np.float64]) -> float | None:
    first, second = (_scaled(side, float(np.abs(side).max())).ravel() for side in (before, after))
    norms = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    if norms == 0:
        return None
    return max(-1.0, min(1.0, float(first @ second) / norms))


def _top1_agreement(reference: NDArray[Any], variant: NDArray[Any]) -> float | None:
    before, after = np.asarray(reference), np.asarray(variant)
    if before.ndim != 2 or before.shape[1] < 2 or before.dtype.kind != "f" or after.dtype.kind != "f":
        return None
    if np.isnan(before).any() or np.isnan(after).any():
        return None
    return float((before.argmax(axis=1) == after.argmax(axis=1)).mean())
