"""The embedded data set: 1,797 handwritten digits of 8 x 8 pixels that scikit-learn carries; nothing is downloaded."""

import numpy as np
from numpy.typing import NDArray

from precbench.datasets.dataset import Dataset
from precbench.datasets.resize import resize_bilinear
from precbench.errors import DataError, MissingDependencyError

_GREY_LEVELS = 16  # the values are 0..16: how many of 4 x 4 original pixels were set
_MAX_PIXELS = 512


def load_digits(*, size: int) -> Dataset:
    """Return all 1,797 digits, enlarged to size x size, grey as RGB, in scikit-learn's order.

    The law: 0..16 becomes 0..255, resized before it is rounded, once, to the nearest byte.

    Args:
        size: 8 to 512 pixels.

    Raises:
        DataError: the size is outside its limits.
        MissingDependencyError: scikit-learn is not installed.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998, the test part of it;
        `sklearn.datasets.load_digits`.
    """
    if not 8 <= size <= _MAX_PIXELS:
        raise DataError(
            f"digits of {size} x {size} pixels cannot be made; the side must be 8 to {_MAX_PIXELS}",
            "choose a size in that range; MobileNetV2 takes 32",
        )
    levels, labels = _read_digits()
    grey = resize_bilinear(levels[..., None] * np.float32(255 / _GREY_LEVELS), (size, size))
    pixels = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return Dataset(
        name="digits",
        images=np.repeat(pixels, 3, axis=3),
        labels=labels,
        class_names=tuple(str(digit) for digit in range(10)),
    )


def _read_digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise MissingDependencyError(
            "the digits need scikit-learn, which is not installed", "pip install 'precbench[keras]'"
        ) from error
    bunch = datasets.load_digits()
    return bunch.images.astype(np.float32), bunch.target.astype(np.int64)
