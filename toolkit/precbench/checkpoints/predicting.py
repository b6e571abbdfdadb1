"""What a Keras classifier says of images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.datasets import Preprocessing

_BATCH = 256


def predict_classes(model: Any, preprocessing: Preprocessing, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return int64 [n], the class with the highest score of each image.

    Args:
        model: a `keras.Model` with one image input and one output of [n, classes].
        preprocessing: from the images to its input.
        images: uint8 [n, height, width, 3], at least one.
    """
    parts = [
        np.asarray(model.predict_on_batch(preprocessing.apply(images[start : start + _BATCH]))).argmax(axis=1)
        for start in range(0, len(images), _BATCH)
    ]
    return np.concatenate(parts).astype(np.int64)
