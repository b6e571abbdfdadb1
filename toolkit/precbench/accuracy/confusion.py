"""The confusion matrix, and what it says of each class."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.accuracy.labels import check_classes, check_paired


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """One class: how many images it has, how often it was given, how often rightly.

    `recall` is None for a class with no image, `precision` for one that was never given: 0/0 is no number.
    """

    index: int
    images: int
    predicted: int
    correct: int

    @property
    def recall(self) -> float | None:
        """The share of the class's images that got it, 0..1."""
        return self.correct / self.images if self.images else None

    @property
    def precision(self) -> float | None:
        """The share of the images given this class that have it, 0..1."""
        return self.correct / self.predicted if self.predicted else None

    def to_json(self) -> dict[str, Any]:
        """Return counts and shares; an undefined share is null."""
        return {
            "index": self.index,
            "images": self.images,
            "predicted": self.predicted,
            "correct": self.correct,
            "recall": self.recall,
            "precision": self.precision,
        }


def confusion_matrix(labels: NDArray[Any], predicted: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Count the images by true class (rows) and predicted class (columns); the sum is the number of images.

    Args:
        labels: integers [images] in 0..classes-1.
        predicted: integers [images] in 0..classes-1.
        classes: k, at least 1.

    Returns:
        int64 [k, k].

    Raises:
        DataError: the lengths differ, or a value is outside the classes.
    """
    truth = check_classes(labels, classes)
    guess = check_classes(predicted, classes, what="predicted classes")
    check_paired(truth, guess, names=("labels", "predicted classes"))
    return np.bincount(truth * classes + guess, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def per_class(matrix: NDArray[np.int64]) -> tuple[ClassScore, ...]:
    """Return each class's recall and precision from a confusion matrix (rows = true class)."""
    images, predicted, correct = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    return tuple(
        ClassScore(index=index, images=int(images[index]), predicted=int(predicted[index]), correct=int(correct[index]))
        for index in range(len(matrix))
    )
