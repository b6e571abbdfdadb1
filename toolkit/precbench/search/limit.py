"""The limit of a search on the loss of accuracy, and what many looks at the same images do to it."""

from dataclasses import dataclass

from precbench.accuracy import Flips
from precbench.accuracy.tango import tango_interval

LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """So much may be lost: the paired interval of a plan's loss must end within it.

    A search looks at many plans on the same images, along a few paths. A path is a sequence of plans, each coarser than
    the one before, that is fixed before it is looked at; its last plan within the limit is taken. Tested one after
    another from the beginning, all plans of a path err as seldom as one (fixed sequence: W. Maurer et al., 1995);
    bisection looks at fewer of them, and ends at the same place where the loss grows along the path. So a search errs
    little more often than a single look: benchmarks/search_errors.py counts it.

    Args:
        points: of accuracy, in percentage points.
        level: of the two-sided interval.
    """

    points: float
    level: float = LEVEL

    def shown_points(self, flips: Flips) -> float:
        """Return the smallest loss, in percentage points, that flips exclude."""
        interval = tango_interval(gained=flips.gained, lost=flips.lost, total=flips.total, level=self.level)
        return max(-100 * interval.low, 0.0)

    def allows(self, flips: Flips) -> bool:
        """Whether flips exclude a loss of more than the limit."""
        return self.shown_points(flips) <= self.points

    def as_one_of(self, number: int) -> "Limit":
        """Return the limit by which so many err no more often, together, than one by this (Bonferroni)."""
        return Limit(points=self.points, level=1 - (1 - self.level) / number)
