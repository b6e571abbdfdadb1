"""Centred crops and bilinear resizing of image batches, in NumPy alone so that no image library decides the pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def crop_centred(images: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return the largest centred window with the shape of `size`: for a square size, the centred square.

    The law: nothing is scaled, and where the images have that shape already they are returned as they are.

    Args:
        images: [n, height, width, channels]; a view of it is returned.
        size: (height, width) in pixels; only their ratio matters.
    """
    height, width = images.shape[1:3]
    rows = max(1, min(height, width * size[0] // size[1]))
    columns = max(1, min(width, height * size[1] // size[0]))
    top, left = (height - rows) // 2, (width - columns) // 2
    return images[:, top : top + rows, left : left + columns]


def resize_bilinear(images: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize with a triangle filter: bilinear where it enlarges, antialiased (as wide as the step) where it shrinks.

    The law: pixel centres lie at half pixels, weights are normalised at the border, so a constant image stays
    constant; images of this size already come back with every value exact.

    Args:
        images: any real type, [n, height, width, channels].
        size: (height, width) in pixels.

    Returns:
        float32, [n, size[0], size[1], channels].

    Source: the same filter as Pillow's BILINEAR and `tf.image.resize(antialias=True)`.
    """
    count, height, width, channels = images.shape
    result = images.astype(np.float32)
    if height != size[0]:
        rows = _weights(height, size[0])
        result = (rows @ result.reshape(count, height, width * channels)).reshape(count, size[0], width, channels)
    if width != size[1]:
        result = _weights(width, size[1]) @ result
    return result


def _weights(source: int, target: int) -> NDArray[np.float32]:
    """Return [target, source]: how much of each source pixel goes into each target pixel."""
    step = source / target
    centres = (np.arange(target) + 0.5) * step - 0.5
    distances = np.abs(np.arange(source) - centres[:, None])
    weights = np.maximum(0.0, 1.0 - distances / max(step, 1.0))
    normalised: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalised
