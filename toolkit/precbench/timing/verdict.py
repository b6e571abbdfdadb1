"""One of four words per comparison, computed here and nowhere else."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, inf, log1p
from typing import Any

from scipy import stats

from precbench.errors import UsageError
from precbench.holm import holm, holm_levels
from precbench.timing.statistics import BATCH, LARGEST_LOG, Estimate, Ratio, ratio_of


class Verdict(StrEnum):
    """What a run showed of an arm against its base."""

    FASTER = "faster"
    SLOWER = "slower"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Which arm is compared with which base, and what that base differs from itself by.

    Args:
        arm: the variant.
        base: what it is compared with.
        control: an arm that is the same thing as the base: what the base shows against itself, and a second session of
            it in the denominator (`statistics.estimate`).
    """

    arm: str
    base: str
    control: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A comparison with its verdict.

    Args:
        comparison: what was compared.
        ratio: of the arm, over base and control together.
        control: ratio of the control: the same thing twice.
        mean_ratio: of mean times, with every slow call and slow process in it; None where it was not looked at.
        verdict: see `judge`.
        reason: of the verdict, in words.
        outer_bound: the furthest that the control's interval reaches from 1, as a ratio above 1; None without one.
        smallest_effect: a ratio nearer to 1 than 1 + this could not have been called faster or slower by this run;
            None where no effect could.
        p_difference: smallest level at which the whole interval lies beyond the outer bound, Holm-adjusted.
        p_equivalence: of the two one-sided tests, doubled, Holm-adjusted.
        widening: how much longer it would have to measure for an interval half as wide as the margin, as a factor;
            None where the verdict is another than inconclusive or the margin could be resolved.
    """

    comparison: Comparison
    ratio: Ratio
    control: Ratio
    mean_ratio: Ratio | None
    verdict: Verdict
    reason: str
    outer_bound: float | None
    smallest_effect: float | None
    p_difference: float
    p_equivalence: float
    widening: float | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "arm": self.comparison.arm,
            "base": self.comparison.base,
            "control": self.comparison.control,
            "ratio": self.ratio.to_json(),
            "control_ratio": self.control.to_json(),
            "mean_ratio": None if self.mean_ratio is None else self.mean_ratio.to_json(),
            "verdict": str(self.verdict),
            "reason": self.reason,
            "outer_bound": self.outer_bound,
            "smallest_effect": self.smallest_effect,
            "p_difference": self.p_difference,
            "p_equivalence": self.p_equivalence,
            "widening": self.widening,
        }


def check_margin(margin: float) -> float:
    """Return a margin, or refuse it.

    Raises:
        UsageError: it is not inside 0..1.
    """
    if not 0 < margin < 1:
        raise UsageError(f"the margin {margin} is not inside 0..1", "give a fraction such as 0.01 for 1 %")
    return margin


def judge(
    estimates: Sequence[tuple[Comparison, Estimate, Estimate]],
    *,
    margin: float,
    level: float = 0.95,
    p: float,
    means: Sequence[Estimate] | None = None,
    family: int | None = None,
) -> list[Finding]:
    """Give each comparison its verdict.

    - *faster* or *slower*: the whole interval lies beyond the outer bound of the control's interval (on either side:
      what the base shows against itself in one direction it might have shown in the other).
    - *equivalent*: otherwise, and the whole interval lies within the margin (two one-sided tests, TOST), unless the
      mean times, slow calls and slow processes included, are shown to differ by more.
    - *inconclusive*: otherwise.

    With several comparisons in one call both tests are corrected for their number (Holm): the interval printed is that
    of one comparison, the verdict that of all. With a single process the interval knows nothing of how processes
    differ; the control is then one draw of that noise, and an effect has to reach beyond it by as much as a t
    interval from one draw would, 12.7 times at 95 % for one comparison. Equivalent is then never said.

    Args:
        estimates: per comparison the arm's and the control's log ratio.
        margin: a ratio between 1 / (1 + margin) and 1 + margin is as good as 1; inside 0..1.
        level: of the intervals, all looks together.
        p: nominal level of the last look, 1 - level where there was but one.
        means: per comparison the log ratio of mean times (`statistics.mean_estimate`); None leaves that check out.
        family: comparisons in the whole call, these and others judged apart; None: these.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979.
    """
    width, tests = log1p(check_margin(margin)), max(len(estimates), family or 1)
    looked_at: Sequence[Estimate | None] = means or [None] * len(estimates)
    bounds = [_outer_bound(arm, control, level, p, tests) for _, arm, control in estimates]
    differs = _tests([arm.p_beyond(bound) for (_, arm, _), bound in zip(estimates, bounds, strict=True)], p, family)
    equals = _tests([arm.p_within(width) for _, arm, _ in estimates], p, family)
    return [
        _finding(
            _Evidence(
                comparison=comparison,
                arm=arm,
                control=control,
                mean=mean,
                bound=bound,
                differs=differ,
                equals=equal,
                tests=tests,
            ),
            level=level,
            p=p,
            margin=margin,
        )
        for (comparison, arm, control), mean, bound, differ, equal in zip(
            estimates, looked_at, bounds, differs, equals, strict=True
        )
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Test:
    """One test of a family: its adjusted p-value, whether it rejects, and the level that its own p had to reach."""

    adjusted: float
    rejects: bool
    level: float


def _tests(p_values: Sequence[float], p: float, family: int | None) -> list[_Test]:
    return [
        _Test(adjusted=adjusted, rejects=adjusted <= p, level=level)
        for adjusted, level in zip(holm(p_values, family), holm_levels(p_values, p, family), strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """What the verdict on one comparison is made of."""

    comparison: Comparison
    arm: Estimate
    control: Estimate
    mean: Estimate | None
    bound: float
    differs: _Test
    equals: _Test
    tests: int

    @property
    def is_single(self) -> bool:
        return BATCH in (self.arm.unit, self.control.unit)

    def mean_differs(self, width: float, p: float) -> bool:
        """Whether the mean times are shown to differ, and by more than the margin."""
        mean = self.mean
        return mean is not None and abs(mean.mean) > max(width, mean.half_width(p))


def _outer_bound(arm: Estimate, control: Estimate, level: float, p: float, tests: int) -> float:
    reach = abs(control.mean) + control.half_width(p)
    return reach * float(stats.t.isf((1 - level) / (2 * tests), 1)) if BATCH in (arm.unit, control.unit) else reach


def _finding(found: _Evidence, *, level: float, p: float, margin: float) -> Finding:
    arm, width = found.arm, log1p(margin)
    equals = found.equals.rejects and not found.is_single and not found.mean_differs(width, p)
    verdict = _word(arm, found.differs.rejects, equals)
    callable_from = found.bound + arm.half_width(found.differs.level)
    half = arm.half_width(found.equals.level)
    unresolved = verdict is Verdict.INCONCLUSIVE and not found.is_single and width / 2 < half < inf
    return Finding(
        comparison=found.comparison,
        ratio=ratio_of(arm, level=level, p=p),
        control=ratio_of(found.control, level=level, p=p),
        mean_ratio=None if found.mean is None else ratio_of(found.mean, level=level, p=p),
        verdict=verdict,
        reason=_reason(verdict, found, p, margin),
        outer_bound=exp(found.bound) if found.bound < LARGEST_LOG else None,
        smallest_effect=exp(callable_from) - 1 if callable_from < LARGEST_LOG else None,
        p_difference=found.differs.adjusted,
        p_equivalence=found.equals.adjusted,
        widening=(2 * half / width) ** 2 if unresolved else None,
    )


def _word(arm: Estimate, differs: bool, equals: bool) -> Verdict:
    if differs:
        return Verdict.FASTER if arm.mean < 0 else Verdict.SLOWER
    return Verdict.EQUIVALENT if equals else Verdict.INCONCLUSIVE


def _reason(verdict: Verdict, found: _Evidence, p: float, margin: float) -> str:
    stated = f"{100 * margin:g} %"
    if verdict is Verdict.INCONCLUSIVE:
        return _what_is_missing(found, p, log1p(margin), stated)
    if verdict is Verdict.EQUIVALENT:
        return f"the whole interval lies within the margin of {stated}"
    small = f"; by less than the margin of {stated}" if found.equals.rejects and not found.is_single else ""
    return f"the whole interval lies beyond what the base shows against itself{small}"


def _what_is_missing(found: _Evidence, p: float, width: float, stated: str) -> str:
    arm = found.arm
    if arm.units < 2:
        return "too few blocks for an interval"
    if found.is_single:
        return "one process cannot show how processes differ"
    if found.equals.rejects:
        return f"the usual call lies within the margin of {stated}, the mean time does not: one side has slow calls"
    if found.tests > 1 and (arm.p_beyond(found.bound) <= p or arm.p_within(width) <= p):
        return f"what its interval shows would do for one comparison, not for the {found.tests} of this call (Holm)"
    if arm.half_width(p) > width:
        return f"the interval is too wide for a margin of {stated}, whatever the ratio"
    return f"the interval reaches beyond the margin of {stated}, and not beyond what the base shows against itself"
