"""What an experiment's flips show of each variant, in a few words; "no loss" only where a margin is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from precbench.accuracy.paired import Flips
from precbench.accuracy.tango import noninferiority_p, smallest_margin
from precbench.errors import UsageError
from precbench.holm import holm


class Change(StrEnum):
    """What a variant's flips show of its accuracy against the reference's."""

    GAIN = "gain"
    NO_LOSS = "no loss"
    SMALL_LOSS = "loss within the margin"
    LOSS = "loss"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the flips of one variant show, as one of an experiment's variants.

    Args:
        change: see `decide`.
        reason: of it, in words.
        within_margin: whether any loss is shown to be smaller than the margin, corrected for all variants.
        margin_points: in percentage points.
        smallest_margin_points: that so many images can show: `smallest_margin_points`.
        p_within_margin: one-sided, of a loss as great as the margin or greater: Tango's test, this variant alone.
        p_within_margin_holm: the same, adjusted for all variants; shown where it is at most half of 1 - level.
        p_difference: two-sided, of no difference: exact McNemar, this variant alone.
        p_difference_holm: the same, adjusted for all variants; shown where it is at most 1 - level.
    """

    change: Change
    reason: str
    within_margin: bool
    margin_points: float
    smallest_margin_points: float
    p_within_margin: float
    p_within_margin_holm: float
    p_difference: float
    p_difference_holm: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "change": str(self.change),
            "reason": self.reason,
            "within_margin": self.within_margin,
            "margin_points": self.margin_points,
            "smallest_margin_points": self.smallest_margin_points,
            "p_within_margin": self.p_within_margin,
            "p_within_margin_holm": self.p_within_margin_holm,
            "p_difference": self.p_difference,
            "p_difference_holm": self.p_difference_holm,
        }


def decide(experiment: Sequence[Flips], *, margin_points: float) -> list[Decision]:
    """Say what each variant of an experiment shows, corrected for their number.

    - *gain*: more images are right (exact McNemar).
    - *no loss*: any loss is smaller than the margin: the lower end of the interval lies above -margin (Tango's test at
      half of 1 - level, one-sided), and the upper end not below 0.
    - *loss within the margin*: the same, but the whole interval lies below 0. To call that "no loss" would contradict
      the interval beside it, to call it "loss" would hide that it is as small as was asked for.
    - *loss*: fewer images are right (exact McNemar; the whole interval then lies below 0), and not shown by how few.
    - *undecided*: neither.

    Both tests are corrected each for the number of variants (Holm), at the level of the flips' intervals: the interval
    printed is that of one variant, the word that of all. At 95 % the chance that any variant of an experiment is
    wrongly said to lose less than the margin is 2.5 % (2.7 % at the worst true shares, by enumeration:
    benchmarks/paired_intervals.py), and that any is wrongly called a gain or a loss at most 5 %. Only whether a loss
    within the margin is one or none is judged by the variant's own interval: corrected, losses would turn into "no
    loss".

    Args:
        experiment: of all its variants, on any images; one level.
        margin_points: a loss smaller than this does not matter; percentage points, inside 0..100.

    Returns:
        One decision per variant, in their order.

    Raises:
        UsageError: the margin is not inside 0..100, or the intervals have different levels.
    """
    margin = check_margin_points(margin_points) / 100
    error = 1 - _common_level(experiment)
    within = [noninferiority_p(gained=f.gained, lost=f.lost, total=f.total, margin=margin) for f in experiment]
    differs = [f.p_value for f in experiment]
    return [
        _decision(_Evidence(flips=f, within=w, within_holm=wh, differs_holm=dh, tests=len(experiment)), error, margin)
        for f, w, wh, dh in zip(experiment, within, holm(within), holm(differs), strict=True)
    ]


def smallest_margin_points(images: int, *, level: float = 0.95) -> float:
    """Return the smallest margin, in percentage points, that so many images show if not one flips.

    Any loss that is seen makes it greater, and only a gain smaller. At 95 %: 0.038 points for 10,000 images, 0.38 for
    1,000, 1.06 for 360.

    Args:
        images: at least 1.
        level: of the interval, inside 0..1.

    Raises:
        UsageError: there is no image, or the level is not inside 0..1.
    """
    if images < 1:
        raise UsageError(f"{images} images show no margin", "give at least one image")
    return 100 * smallest_margin(images, level=level)


def check_margin_points(margin_points: float) -> float:
    """Return a margin in percentage points, or refuse it.

    Raises:
        UsageError: it is not inside 0..100.
    """
    if not 0 < margin_points < 100:
        raise UsageError(
            f"the margin {margin_points} is not inside 0..100", "give percentage points such as 0.5 for 0.5 points"
        )
    return margin_points


def _common_level(experiment: Sequence[Flips]) -> float:
    levels = {flips.level for flips in experiment}
    if len(levels) > 1:
        raise UsageError(f"the intervals have the levels {sorted(levels)}", "count all flips with the same level")
    return levels.pop() if levels else 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """What the decision on one variant is made of."""

    flips: Flips
    within: float
    within_holm: float
    differs_holm: float
    tests: int


def _decision(found: _Evidence, error: float, margin: float) -> Decision:
    within = found.within_holm <= error / 2
    change = _change(found.flips, within=within, differs=found.differs_holm <= error)
    return Decision(
        change=change,
        reason=_reason(change, found, error, margin),
        within_margin=within,
        margin_points=100 * margin,
        smallest_margin_points=smallest_margin_points(found.flips.total, level=1 - error),
        p_within_margin=found.within,
        p_within_margin_holm=found.within_holm,
        p_difference=found.flips.p_value,
        p_difference_holm=found.differs_holm,
    )


def _change(flips: Flips, *, within: bool, differs: bool) -> Change:
    if differs and flips.gained > flips.lost:
        return Change.GAIN
    if within:
        return Change.SMALL_LOSS if flips.high_points < 0 else Change.NO_LOSS
    return Change.LOSS if differs else Change.UNDECIDED


def _reason(change: Change, found: _Evidence, error: float, margin: float) -> str:
    stated = f"{100 * margin:g} points"
    if change is Change.NO_LOSS:
        return f"the whole interval lies above -{stated}"
    if change is Change.SMALL_LOSS:
        return f"the whole interval lies between -{stated} and 0"
    if change is Change.UNDECIDED:
        return _what_is_missing(found, error, margin, stated)
    if change is Change.GAIN:
        return "more images are right"
    beyond = found.flips.high_points < -100 * margin
    return f"fewer images are right, {'by' if beyond else 'perhaps by'} more than {stated}"


def _what_is_missing(found: _Evidence, error: float, margin: float, stated: str) -> str:
    images = found.flips.total
    smallest = smallest_margin_points(images, level=1 - error)
    if 100 * margin <= smallest:
        return f"so few images do not show a margin of {stated}: with no flip at all, {images:,} show {smallest:.2g}"
    if found.within <= error / 2 or found.flips.p_value <= error:
        return f"its interval would do for one variant, not for the {found.tests} of this experiment (Holm)"
    return f"the interval reaches below -{stated}, and no difference is shown"
