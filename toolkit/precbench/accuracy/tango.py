"""The difference of two accuracies on the same images: Tango's score interval, and the test that agrees with it.

Both come from one statistic, so that a margin lies outside the 95 % interval exactly where the one-sided p-value
against it is below 2.5 %. Both work where no image flips, where the textbook's interval has no width.

Newcombe's method 10 was compared: of 10,000 images it makes up to 3.5 % false claims of a loss below a margin, Tango's
2.6 %, where 2.5 % are allowed, and it has no test of its own (benchmarks/paired_intervals.py, by enumeration).

Source: T. Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
design", Statistics in Medicine 17 (1998) 891-908.
"""

from math import erfc, inf, sqrt
from statistics import NormalDist

from precbench.accuracy.proportions import Interval, check_level


def tango_score(*, gained: int, lost: int, total: int, difference: float) -> float:
    """Return how many standard errors the observed difference lies above a supposed one.

    The standard error is the one that holds if the supposed difference is true. The score falls as that rises, is 0 at
    the observed difference, and turns its sign when gained and lost are swapped and the supposed difference with them.

    Args:
        gained: images that the second model alone has right.
        lost: images that the first model alone has right.
        total: images, at least 1.
        difference: supposed, second less first, a fraction in -1..1.

    Returns:
        A standard normal deviate if the supposed difference is true and the images are many; may be infinite.
    """
    if difference > 0:
        return -tango_score(gained=lost, lost=gained, total=total, difference=-difference)
    loss = -difference
    above = gained - lost + total * loss
    variance = total * (2 * _share_lost(gained, lost, total, loss) - loss * (1 + loss))
    if variance <= 0:  # no flip against no loss, or all images lost against a loss of all
        return inf if above > 0 else 0.0
    return above / sqrt(variance)


def _share_lost(gained: int, lost: int, total: int, loss: float) -> float:
    """Return the likeliest share of lost images among all shares at which the loss is the supposed one."""
    half = gained + lost + (2 * total - gained + lost) * loss
    return (half + sqrt(max(half * half - 8 * total * lost * loss * (1 + loss), 0.0))) / (4 * total)


def tango_interval(*, gained: int, lost: int, total: int, level: float = 0.95) -> Interval:
    """Return the differences that `tango_score` does not reject: of positive width also where no image flips.

    The observed difference lies inside; swapping gained with lost turns the interval round 0.

    Args:
        gained: images that the second model alone has right.
        lost: images that the first model alone has right.
        total: images, at least 1.
        level: two-sided, inside 0..1.

    Returns:
        Fractions in -1..1 of the difference, second less first.

    Raises:
        UsageError: the level is not inside 0..1.
    """
    deviate = _deviate(level)
    low, high = _low(gained, lost, total, deviate), -_low(lost, gained, total, deviate)
    return Interval(low=low, high=high, level=level)


def _low(gained: int, lost: int, total: int, deviate: float) -> float:
    """Halve the interval from -1 to the observed difference until no float is left between rejected and kept."""
    rejected, kept = -1.0, (gained - lost) / total
    if tango_score(gained=gained, lost=lost, total=total, difference=rejected) <= deviate:
        return rejected
    while rejected < (middle := (rejected + kept) / 2) < kept:
        if tango_score(gained=gained, lost=lost, total=total, difference=middle) > deviate:
            rejected = middle
        else:
            kept = middle
    return kept


def noninferiority_p(*, gained: int, lost: int, total: int, margin: float) -> float:
    """Return the one-sided p-value of a loss of at least `margin`: small where so great a loss is not believable.

    It is below 0.025 exactly where the lower end of the 95 % interval lies above -`margin`.

    Args:
        gained: images that the second model alone has right.
        lost: images that the first model alone has right.
        total: images, at least 1.
        margin: a fraction inside 0..1.
    """
    return 0.5 * erfc(tango_score(gained=gained, lost=lost, total=total, difference=-margin) / sqrt(2))


def smallest_margin(total: int, *, level: float = 0.95) -> float:
    """Return the smallest margin, a fraction, that so many images show if none flips.

    With z the normal quantile it is z² / (total + z²); at 95 % z² is 3.84.

    Args:
        total: images, at least 1.
        level: two-sided, inside 0..1.

    Raises:
        UsageError: the level is not inside 0..1.
    """
    square = _deviate(level) ** 2
    return square / (total + square)


def _deviate(level: float) -> float:
    check_level(level)
    return NormalDist().inv_cdf((1 + level) / 2)
