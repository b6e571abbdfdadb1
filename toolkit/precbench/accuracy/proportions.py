"""Shares of a whole, each with its interval."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from scipy import stats

from precbench.accuracy.labels import check_classes, check_paired
from precbench.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A two-sided confidence interval at a level, as fractions."""

    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How many of how many images are right, with the Wilson interval of the share (fractions in 0..1)."""

    correct: int
    total: int
    low: float
    high: float
    level: float

    @property
    def fraction(self) -> float:
        """The share of images that are right, 0..1."""
        return self.correct / self.total

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers; fractions in 0..1."""
        return {
            "correct": self.correct,
            "total": self.total,
            "fraction": self.fraction,
            "low": self.low,
            "high": self.high,
            "level": self.level,
        }


def accuracy_of(labels: NDArray[Any], predicted: NDArray[Any], *, level: float = 0.95) -> Accuracy:
    """Count the predictions that equal their label; the counts are exact, the interval is Wilson's.

    Args:
        labels: integers [images], the true class of each image.
        predicted: integers [images], the class the model gave it.
        level: of the interval, inside 0..1.

    Raises:
        DataError: the lengths differ, or an array is empty or does not hold class indices.
        UsageError: the level is not inside 0..1.
    """
    truth, guess = check_classes(labels), check_classes(predicted, what="predicted classes")
    check_paired(truth, guess, names=("labels", "predicted classes"))
    correct, total = int((truth == guess).sum()), len(truth)
    interval = wilson_interval(correct, total, level=level)
    return Accuracy(correct=correct, total=total, low=interval.low, high=interval.high, level=level)


def wilson_interval(count: int, total: int, *, level: float = 0.95) -> Interval:
    """Return Wilson's score interval of a proportion: inside 0..1 and of positive width also at 0 and at all.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    Raises:
        UsageError: the level is not inside 0..1.
    """
    check_level(level)
    found = stats.binomtest(count, total).proportion_ci(confidence_level=level, method="wilson")
    return Interval(low=float(found.low), high=float(found.high), level=level)


def check_level(level: float) -> None:
    """Refuse a level of an interval.

    Raises:
        UsageError: it is not inside 0..1.
    """
    if not 0 < level < 1:
        raise UsageError(f"the level {level} is not inside 0..1", "give a level such as 0.95")
