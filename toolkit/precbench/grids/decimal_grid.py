"""The decimal grid as a grid: multiples of 10^-N."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.grids.codes import decimal_codes
from precbench.grids.decimal import check_decimals, round_to_decimals
from precbench.grids.grid import Grid


@dataclass(frozen=True, slots=True)
class DecimalGrid(Grid):
    """Multiples of 10^-N, the grid of the paper. Ties go to even; nothing is cut off.

    Args:
        decimals: N, 0 to 12.

    Raises:
        UsageError: it is no whole number from 0 to 12.
    """

    decimals: int

    def __post_init__(self) -> None:
        """Check the range."""
        object.__setattr__(self, "decimals", check_decimals(self.decimals))

    def __str__(self) -> str:
        """Return `decimal:N`."""
        return f"decimal:{self.decimals}"

    def nearest(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return `round_to_decimals` of the values."""
        return round_to_decimals(values, self.decimals)

    def codes(self, values: NDArray[Any]) -> NDArray[np.int64] | str:
        """Return `decimal_codes` of the values: code / 10^N, divided in float32, is the value."""
        if values.dtype != np.float32:
            return f"{values.dtype} has no decimal codes, float32 has"
        return decimal_codes(values, self.decimals)
