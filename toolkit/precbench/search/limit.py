"""The limit of a search on the loss of accuracy, with what many looks at the same images do to it counted."""

from dataclasses import dataclass

from precbench.accuracy import Flips
from precbench.accuracy.tango import tango_interval

_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """So much may be lost, as images show that are looked at along several paths.

    A path is a sequence of plans, each coarser than the one before, that is fixed before it is looked at; its last plan
    within the limit is taken. Tested one after another from its beginning, as many as one likes err as seldom as one
    (fixed sequence: W. Maurer et al., 1995); bisection looks at fewer of them and ends at the same place where the loss
    grows along the path. So paths are counted, not looks (Bonferroni); `counting` tells what counting looks would say.

    Args:
        points: of accuracy, in percentage points.
        paths: at most; 1 or more.
    """

    points: float
    paths: int = 1

    @property
    def level(self) -> float:
        """Of the two-sided interval that a plan is judged by: all paths together err no more often than one at 95 %."""
        return 1 - (1 - _LEVEL) / self.paths

    def shown_points(self, flips: Flips) -> float:
        """Return the smallest loss, in percentage points, that flips exclude when every path counts."""
        return counting(flips, self.paths)

    def allows(self, flips: Flips) -> bool:
        """Whether flips exclude a loss of more than the limit."""
        return self.shown_points(flips) <= self.points


def counting(flips: Flips, looks: int) -> float:
    """Return the smallest loss, in percentage points, that flips exclude as one of so many looks (Bonferroni)."""
    level = 1 - (1 - _LEVEL) / looks
    interval = tango_interval(gained=flips.gained, lost=flips.lost, total=flips.total, level=level)
    return max(-100 * interval.low, 0.0)
