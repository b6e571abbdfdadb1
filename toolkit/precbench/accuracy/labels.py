"""Class indices: what may stand in an array of labels or of predictions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import DataError


def check_classes(values: NDArray[Any], classes: int | None = None, *, what: str = "labels") -> NDArray[np.int64]:
    """Return the values as int64, all of them class indices: integers, one per image, in 0..classes-1.

    Args:
        values: [images], any integer dtype, at least one.
        classes: how many classes there are; None checks the lower end alone.
        what: how an error names the array.

    Returns:
        int64 [images].

    Raises:
        DataError: not one-dimensional, empty, not integers, or a value outside the classes (the first one is named).
    """
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise DataError(
            f"the {what} have the shape {list(array.shape)}, not one value per image",
            "give a one-dimensional array of class indices, at least one",
        )
    if array.dtype.kind not in "iu":
        raise DataError(f"the {what} are {array.dtype}, not integers", "give class indices, 0 for the first class")
    _check_range(array, classes, what)
    return array.astype(np.int64)


def check_paired(first: NDArray[Any], second: NDArray[Any], *, names: tuple[str, str]) -> None:
    """Refuse two arrays that do not hold one value each for the same images.

    Raises:
        DataError: the lengths differ.
    """
    if len(first) != len(second):
        raise DataError(
            f"there are {len(first)} {names[0]} and {len(second)} {names[1]}",
            "give both for the same images, in the same order",
        )


def top_classes(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Return the class with the highest score in each row; of equal scores the first.

    Args:
        scores: [images, classes], any real dtype, at least one class.

    Returns:
        int64 [images].

    Raises:
        DataError: not two-dimensional, no class, or NaN in a row (the first one is named): NaN has no rank.
    """
    array = np.asarray(scores)
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "fiub":
        raise DataError(
            f"scores of shape {list(array.shape)} and type {array.dtype} are no classifier's",
            "give one row per image and one column per class, or compare outputs by fidelity",
        )
    broken = np.flatnonzero(np.isnan(array).any(axis=1)) if array.dtype.kind == "f" else np.empty(0)
    if broken.size:
        raise DataError(
            f"{broken.size} of {len(array)} images have NaN scores, the first is image {broken[0]}",
            "the model computes no class there: look at its weights with precbench inspect",
        )
    top: NDArray[np.int64] = array.argmax(axis=1).astype(np.int64)
    return top


def _check_range(array: NDArray[Any], classes: int | None, what: str) -> None:
    outside = array < 0 if classes is None else (array < 0) | (array >= classes)
    if not outside.any():
        return
    index = int(np.argmax(outside))
    limit = "negative" if classes is None else f"outside the classes 0..{classes - 1}"
    raise DataError(
        f"the {what} hold {array[index]} at index {index}, which is {limit}",
        "number the classes from 0, as the model's outputs are numbered",
    )
