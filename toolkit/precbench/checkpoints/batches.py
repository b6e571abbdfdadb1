"""The batches of a training: drawn in random order, changed at random, preprocessed.

They are made between the steps: 64 images from 32x32 to 96x96 take 13 ms, a step of MobileNetV2 on them 340 ms on two
cores, which it keeps busy.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.checkpoints.augmentation import erase_squares, flip_images, shift_images
from precbench.checkpoints.training_settings import Training
from precbench.datasets import Dataset, Preprocessing
from precbench.errors import DataError

Batch = tuple[NDArray[np.float32], NDArray[Any]]
"""Network inputs, and labels: whole numbers, or one row of probabilities each where they are smoothed."""


def training_batches(
    part: Dataset, training: Training, preprocessing: Preprocessing, rng: np.random.Generator
) -> Iterator[Batch]:
    """Yield whole batches of one epoch, in random order, changed at random, as the network takes them.

    The law: the same generator state gives the same batches, and only the generator that is given is drawn from.

    Args:
        part: with labels.
        training: the batch size, the changes and the smoothing are used.
        preprocessing: from these images to the network's input.
        rng: draws the order of the epoch first, then for each batch what changes it.
    """
    labels, batch = labels_of(part), batch_size(part, training)
    order = rng.permutation(len(part))
    for start in range(0, len(order) - batch + 1, batch):
        chosen = order[start : start + batch]
        images = _change(part.images[chosen], training, rng)
        yield preprocessing.apply(images), _targets(labels[chosen], len(part.class_names), training.label_smoothing)


def batch_size(part: Dataset, training: Training) -> int:
    """Return the images per step: all of them where they are fewer than the training asks for."""
    return min(training.batch_size, len(part))


def _change(images: NDArray[np.uint8], training: Training, rng: np.random.Generator) -> NDArray[np.uint8]:
    moved = shift_images(images, training.shift_pixels, rng)
    mirrored = flip_images(moved, rng) if training.flip else moved
    return erase_squares(mirrored, training.erase_pixels, rng)


def _targets(labels: NDArray[np.int64], classes: int, smoothing: float) -> NDArray[Any]:
    if smoothing == 0:
        return labels
    return ((1 - smoothing) * np.eye(classes, dtype=np.float32)[labels] + smoothing / classes).astype(np.float32)


def labels_of(part: Dataset) -> NDArray[np.int64]:
    """Return the labels.

    Raises:
        DataError: there are none.
    """
    if part.labels is None:
        raise DataError(f"{part.name} has no labels to train on", "give a data set with labels")
    return part.labels
