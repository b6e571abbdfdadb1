"""The limit of a search on the loss of accuracy, with every look at the same images counted."""

from dataclasses import dataclass

from precbench.accuracy import Flips
from precbench.accuracy.tango import tango_interval

_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """So much may be lost, as is shown by so many looks together.

    Args:
        points: of accuracy, in percentage points.
        looks: at the same images, at most; 1 or more. Each is judged at the level at which all together err no more
            often than one at 95 % (Bonferroni).
    """

    points: float
    looks: int = 1

    @property
    def level(self) -> float:
        """Of the two-sided interval that a single look is judged by."""
        return 1 - (1 - _LEVEL) / self.looks

    def shown_points(self, flips: Flips) -> float:
        """Return the smallest loss, in percentage points, that flips exclude when every look counts."""
        interval = tango_interval(gained=flips.gained, lost=flips.lost, total=flips.total, level=self.level)
        return max(-100 * interval.low, 0.0)

    def allows(self, flips: Flips) -> bool:
        """Whether flips exclude a loss of more than the limit."""
        return self.shown_points(flips) <= self.points
