"""Two models on the same images: which predictions flip, and whether the flips mean anything."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from scipy import stats

from precbench.accuracy.labels import check_classes, check_paired
from precbench.accuracy.tango import tango_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """What a variant changed against its reference on the same labelled images.

    Args:
        gained: images that were wrong and are right.
        lost: images that were right and are wrong.
        changed: images whose predicted class is another, right or wrong; at least gained + lost.
        total: images.
        reference_correct: images that the reference has right.
        p_value: exact McNemar: how likely flips as one-sided as these are, were either direction as likely.
        low_points: lower end of the difference in accuracy, in percentage points (Tango's score interval).
        high_points: upper end.
        level: of that interval.
    """

    gained: int
    lost: int
    changed: int
    total: int
    reference_correct: int
    p_value: float
    low_points: float
    high_points: float
    level: float

    @property
    def variant_correct(self) -> int:
        """Images that the variant has right."""
        return self.reference_correct + self.gained - self.lost

    @property
    def difference_points(self) -> float:
        """Accuracy of the variant less that of the reference, in percentage points."""
        return 100 * (self.gained - self.lost) / self.total

    @property
    def shown_margin_points(self) -> float:
        """The smallest margin, in percentage points, that these flips show: a loss of more is not believable.

        It is how far the interval reaches below 0; at 0 no loss at all is left in it.
        """
        return max(-self.low_points, 0.0)

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {
            "gained": self.gained,
            "lost": self.lost,
            "changed": self.changed,
            "total": self.total,
            "reference_correct": self.reference_correct,
            "variant_correct": self.variant_correct,
            "p_value": self.p_value,
            "difference_points": self.difference_points,
            "low_points": self.low_points,
            "high_points": self.high_points,
            "level": self.level,
            "shown_margin_points": self.shown_margin_points,
        }


def flips(reference: NDArray[Any], variant: NDArray[Any], labels: NDArray[Any], *, level: float = 0.95) -> Flips:
    """Count the flips between two models' predictions; swapping the models swaps gained with lost, p stays.

    Only the images that flip say anything about the difference; that is why the test is McNemar's, in its exact
    binomial form, and not one for two independent samples.

    Args:
        reference: integers [images], classes the reference gave.
        variant: integers [images], classes the variant gave.
        labels: integers [images], true classes.
        level: of the interval of the difference, inside 0..1.

    Raises:
        DataError: the lengths differ, or an array is empty or does not hold class indices.
        UsageError: the level is not inside 0..1.

    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12 (1947).
    """
    truth = check_classes(labels)
    before = check_classes(reference, what="reference predictions")
    after = check_classes(variant, what="variant predictions")
    check_paired(truth, before, names=("labels", "reference predictions"))
    check_paired(truth, after, names=("labels", "variant predictions"))
    was_right, is_right = before == truth, after == truth
    gained, lost = int((~was_right & is_right).sum()), int((was_right & ~is_right).sum())
    interval = tango_interval(gained=gained, lost=lost, total=len(truth), level=level)
    return Flips(
        gained=gained,
        lost=lost,
        changed=int((before != after).sum()),
        total=len(truth),
        reference_correct=int(was_right.sum()),
        p_value=_mcnemar(gained, lost),
        low_points=100 * interval.low,
        high_points=100 * interval.high,
        level=level,
    )


def _mcnemar(gained: int, lost: int) -> float:
    if gained + lost == 0:
        return 1.0
    return float(stats.binomtest(gained, gained + lost, 0.5).pvalue)
