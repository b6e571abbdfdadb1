"""Looking at an interval more than once without spoiling it: group-sequential levels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

MOST_LOOKS = 5
_GRID_POINTS = 1001
_LARGEST_Z = 12.0


def planned_looks(planned: int, *, least: int) -> list[int]:
    """Return after how many units to look: up to five times, equally spaced, not before `least`; the last is the plan.

    Args:
        planned: units (processes) that the budget allows.
        least: units before which an interval says too little.
    """
    spaced = (round(planned * step / MOST_LOOKS) for step in range(1, MOST_LOOKS + 1))
    return sorted({count for count in spaced if count >= least} | {planned})


def look_levels(looks: Sequence[int], *, planned: int, alpha: float, final: bool) -> list[float]:
    """Return the two-sided level 1 - p of the interval at each look, so that *all* of them hold together.

    Whatever makes one stop, with probability 1 - alpha none of the intervals looked at misses the truth: that is a
    repeated confidence interval. Little is spent on early looks (O'Brien and Fleming), so that the last interval is
    hardly wider than one that was never looked at before: p = 0.042 in place of 0.05 after five looks.

    Args:
        looks: units at each look so far, growing.
        planned: units of the whole plan.
        alpha: chance that any of the intervals misses.
        final: whether the last of `looks` is the last in any case (the plan is done, or the budget is spent, which
            depends on no result): what is left of alpha is spent on it.

    Returns:
        p per look; the interval at look k has the level 1 - p[k].

    Source: C. Jennison, B. W. Turnbull, "Interim analyses: the repeated confidence interval approach", JRSS B 51,
        1989; the spending function is K. K. G. Lan, D. L. DeMets, "Discrete sequential boundaries for clinical
        trials", Biometrika 70, 1983; its use with t quantiles: Jennison and Turnbull, "Group Sequential Methods",
        2000, section 4.4.
    """
    spent, levels = 0.0, list[float]()
    at, density = np.zeros(1), np.ones(1)  # where the sum of the units stands, and the mass of its not having crossed
    before = 0
    for number, units in enumerate(looks, 1):
        last = final and number == len(looks)
        target = alpha if last else min(alpha, _spending(units / planned, alpha))
        boundary = _boundary(at, density, units - before, units, target - spent)
        levels.append(float(2 * stats.norm.sf(boundary)))
        spent, before_step = target, units - before
        at, density = _go_on(at, density, before_step, boundary * np.sqrt(units))
        before = units
    return levels


def _spending(share: float, alpha: float) -> float:
    return float(4 * stats.norm.sf(stats.norm.isf(alpha / 4) / np.sqrt(share)))  # alpha / 2 on each side


def _boundary(at: NDArray[np.float64], mass: NDArray[np.float64], step: int, units: int, spend: float) -> float:
    """Return z such that the sum crosses z * sqrt(units) at this look, and not before, with probability `spend`."""

    def excess(z: float) -> float:
        edge = z * np.sqrt(units)
        crossing = special.ndtr((at - edge) / np.sqrt(step)) + special.ndtr((-edge - at) / np.sqrt(step))
        return float((mass * crossing).sum() - spend)

    return _LARGEST_Z if excess(_LARGEST_Z) >= 0 else float(optimize.brentq(excess, 0.0, _LARGEST_Z, xtol=1e-10))


def _go_on(
    at: NDArray[np.float64], mass: NDArray[np.float64], step: int, edge: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum's distribution after one more step, inside the boundary: points and their mass."""
    points = np.linspace(-edge, edge, _GRID_POINTS)
    weights = np.full(_GRID_POINTS, points[1] - points[0])
    weights[[0, -1]] /= 2
    distances = (points[:, None] - at[None, :]) / np.sqrt(step)
    density = np.exp(-0.5 * distances**2) @ mass / np.sqrt(2 * np.pi * step)
    return points, density * weights
