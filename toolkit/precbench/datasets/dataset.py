"""Images with their labels, the two parts that a source may bring, and the three that a study keeps apart."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from precbench.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Images as a camera gives them; the law: an inconsistent one cannot be built.

    Args:
        name: what the images are, for records and messages.
        images: uint8, [n, height, width, 3], RGB, n at least 1.
        labels: int64, [n], each in 0..len(class_names)-1; None where there are none.
        class_names: one name per class, in the order of the labels.

    Raises:
        DataError: the images are no such array, the labels are of another length or outside the classes.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the law."""
        _check_images(self.name, self.images)
        if self.labels is not None:
            _check_labels(self.name, self.labels, images=len(self.images), classes=len(self.class_names))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def take(self, indices: NDArray[np.intp]) -> Self:
        """Return the images at `indices` (int, [m], m at least 1), in that order, with their labels."""
        labels = None if self.labels is None else self.labels[indices]
        return type(self)(name=self.name, images=self.images[indices], labels=labels, class_names=self.class_names)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Splits:
    """Three disjoint parts of one data set: to fit, to choose, and to report. `seed` drew them."""

    train: Dataset
    validation: Dataset
    test: Dataset
    seed: int

    def __iter__(self) -> Iterator[tuple[str, Dataset]]:
        """Yield each part with its name, in the order train, validation, test."""
        yield from (("train", self.train), ("validation", self.validation), ("test", self.test))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainAndTest:
    """The two parts that a source brings as its authors divided it, of the same classes.

    Raises:
        DataError: the parts name other classes.
    """

    train: Dataset
    test: Dataset

    def __post_init__(self) -> None:
        """Check that one model can be trained on the one part and tested on the other."""
        if self.train.class_names != self.test.class_names:
            raise DataError(
                f"the training and the test part of {self.train.name} have other classes", "give both the same classes"
            )


def _check_images(name: str, images: NDArray[np.uint8]) -> None:
    remedy = "give uint8 images as [n, height, width, 3], at least one"
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise DataError(f"the images of {name} are {images.dtype} of shape {images.shape}", remedy)
    if images.size == 0:
        raise DataError(f"{name} holds no image: its shape is {images.shape}", remedy)


def _check_labels(name: str, labels: NDArray[np.int64], *, images: int, classes: int) -> None:
    if labels.dtype != np.int64 or labels.ndim != 1:
        raise DataError(
            f"the labels of {name} are {labels.dtype} of shape {labels.shape}",
            "give one whole number per image: int64, [n]",
        )
    if len(labels) != images:
        raise DataError(f"{name} has {len(labels)} labels for {images} images", "give one label per image")
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if outside.size:
        first = int(outside[0])
        raise DataError(
            f"{outside.size} labels of {name} are outside its {classes} classes, the first {labels[first]} "
            f"(image {first})",
            f"number the classes from 0 to {classes - 1}, or name every class",
        )
