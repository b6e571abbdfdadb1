"""Shares of a whole, each with its interval: an accuracy alone, and the difference of two on the same images."""

from dataclasses import dataclass
from math import sqrt
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
    _check_level(level)
    found = stats.binomtest(count, total).proportion_ci(confidence_level=level, method="wilson")
    return Interval(low=float(found.low), high=float(found.high), level=level)


def newcombe_interval(*, both: int, first_only: int, second_only: int, neither: int, level: float = 0.95) -> Interval:
    """Return the interval of p(second) - p(first), two proportions of the same images, by Newcombe's method 10.

    It squares and adds the two Wilson intervals, less what their correlation accounts for; unlike Wald's it has a
    positive width where no image flips.

    Args:
        both: images that are right both times.
        first_only: right the first time alone.
        second_only: right the second time alone.
        neither: wrong both times.
        level: of the interval, inside 0..1.

    Returns:
        Fractions in -1..1.

    Source: R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17 (1998) 2635-2650, method 10.
    """
    total = both + first_only + second_only + neither
    first, second = (both + first_only) / total, (both + second_only) / total
    around_first = wilson_interval(both + first_only, total, level=level)
    around_second = wilson_interval(both + second_only, total, level=level)
    phi = _correlation(both, first_only, second_only, neither)
    below = _add(second - around_second.low, around_first.high - first, phi)
    above = _add(first - around_first.low, around_second.high - second, phi)
    difference = (second_only - first_only) / total
    return Interval(low=max(difference - below, -1.0), high=min(difference + above, 1.0), level=level)


def _correlation(both: int, first_only: int, second_only: int, neither: int) -> float:
    margins = (both + first_only) * (second_only + neither) * (both + second_only) * (first_only + neither)
    if margins == 0:
        return 0.0
    product = both * neither - first_only * second_only
    correction = (both + first_only + second_only + neither) / 2
    return (max(product - correction, 0.0) if product > 0 else product) / sqrt(margins)


def _add(one: float, other: float, phi: float) -> float:
    return sqrt(max(one * one - 2 * phi * one * other + other * other, 0.0))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise UsageError(f"the level {level} is not inside 0..1", "give a level such as 0.95")
