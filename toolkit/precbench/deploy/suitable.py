"""Whether samples can be calibrated on: what a range or a fit would take from them must be what the model will meet."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.datasets import Preprocessing
from precbench.errors import DataError

_MOST_OVER_USUAL = 1e4
_SLACK = 0.01


def check_samples(inputs: Mapping[str, NDArray[Any]], preprocessing: Preprocessing | None) -> None:
    """Refuse arrays that are fed as they are and that no model can be calibrated on.

    Args:
        inputs: one array per input, any shape; floats are looked at.
        preprocessing: what the model's metadata says of its images; None where it says nothing.

    Raises:
        DataError: a value is not a number, one sample is larger than the usual by more than 10^4, or values lie outside
            what the preprocessing gives for bytes.
    """
    for name, array in inputs.items():
        if not np.issubdtype(array.dtype, np.floating) or array.ndim == 0 or not array.size:
            continue
        largest = np.abs(array.reshape(len(array), -1)).max(axis=1)
        _check_finite(name, largest)
        _check_outliers(name, largest)
        if preprocessing is not None and array.ndim == 4:
            _check_range(name, array, preprocessing)


def _check_finite(name: str, largest: NDArray[Any]) -> None:
    bad = np.flatnonzero(~np.isfinite(largest))
    if bad.size:
        raise DataError(
            f"{bad.size} of {len(largest)} samples of the input {name!r} hold NaN or infinity, the first at {bad[0]}",
            "leave them out, or mend how they are made",
        )


def _check_outliers(name: str, largest: NDArray[Any]) -> None:
    usual, most = float(np.median(largest)), float(largest.max())
    if most > _MOST_OVER_USUAL * usual:
        raise DataError(
            f"sample {int(largest.argmax())} of the input {name!r} reaches {most:.3g}, the usual one {usual:.3g}",
            "leave it out, or mend how it is made: a range that holds it has no steps left for the others",
        )


def _check_range(name: str, array: NDArray[Any], preprocessing: Preprocessing) -> None:
    ends = [
        float(s * byte + o) for s, o in zip(preprocessing.scale, preprocessing.offset, strict=True) for byte in (0, 255)
    ]
    low, high, slack = min(ends), max(ends), _SLACK * (max(ends) - min(ends))
    least, most = float(array.min()), float(array.max())
    if least < low - slack or most > high + slack:
        raise DataError(
            f"the input {name!r} goes from {least:.4g} to {most:.4g}, the preprocessing in the model's metadata gives "
            f"{low:.4g} to {high:.4g}",
            "store uint8 images under the name images, or preprocess the arrays as the model was trained",
        )
