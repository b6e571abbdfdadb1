"""Change training images at random: shifted, mirrored, a square erased. Bytes in, bytes out, before preprocessing.

The laws: every image draws its own numbers, all from the one generator that is given; a change that is switched off
draws none; the images given are not modified.
"""

import numpy as np
from numpy.typing import NDArray

_ERASED = 128  # the middle of a byte; modes that centre their input make about 0 of it


def shift_images(images: NDArray[np.uint8], pixels: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return each image moved by up to `pixels` each way, independently, with black moving in.

    Args:
        images: uint8, [n, height, width, 3].
        pixels: at least 0; 0 returns the images as they are.
        rng: draws one (down, right) per image, uniformly.
    """
    if pixels == 0:
        return images
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))
    starts = rng.integers(0, 2 * pixels + 1, size=(len(images), 2))
    moved = [image[top : top + height, left : left + width] for image, (top, left) in zip(padded, starts, strict=True)]
    return np.stack(moved)


def flip_images(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return each image mirrored left to right or as it is, each with probability 1/2.

    Args:
        images: uint8, [n, height, width, 3].
        rng: draws one number per image.
    """
    mirrored = rng.random(len(images)) < 0.5
    return np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


def erase_squares(images: NDArray[np.uint8], pixels: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return each image with a grey square somewhere; its centre is any pixel, what lies outside the image is cut off.

    Args:
        images: uint8, [n, height, width, 3].
        pixels: side of the square, at least 0; 0 returns the images as they are.
        rng: draws one (row, column) per image, uniformly.

    Source: T. DeVries, G. W. Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout",
        arXiv:1708.04552, 2017.
    """
    if pixels == 0:
        return images
    height, width = images.shape[1:3]
    centres = rng.integers(0, (height, width), size=(len(images), 2))
    rows = _covered(centres[:, 0], height, pixels)
    columns = _covered(centres[:, 1], width, pixels)
    square = rows[:, :, None] & columns[:, None, :]
    return np.where(square[..., None], np.uint8(_ERASED), images)


def _covered(centres: NDArray[np.int64], length: int, pixels: int) -> NDArray[np.bool_]:
    """Return [n, length]: which places a stretch of `pixels` around each centre covers."""
    firsts = centres[:, None] - pixels // 2
    places = np.arange(length)[None, :]
    return np.logical_and(places >= firsts, places < firsts + pixels)
