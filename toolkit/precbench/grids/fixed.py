"""Fixed-point numbers: Q format, and the position of the point by SQNR (Lin et al. 2016)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import UsageError
from precbench.grids.grid import FittedGrid, Grid, check_bits
from precbench.grids.table import Table, TableGrid, midway

_SPAN = 160  # a step lies between 2^-160 and 2^160
AUTO_BITS = 8
_LEAST_BITS, _MOST_BITS = 2, 16


@dataclass(frozen=True, slots=True)
class FixedGrid(TableGrid):
    """Two's complement fixed point: multiples of 2^-n from -2^m to 2^m - 2^-n. Ties go to even, beyond is cut off.

    Qm.n has a sign bit besides its m integer and n fraction bits (the convention of Texas Instruments): 1 + m + n bits.

    Args:
        integer_bits: m; negative where the point lies above the first bit.
        fraction_bits: n; negative where it lies below the last.

    Raises:
        UsageError: 1 + m + n is not from 2 to 16, or the step is not from 2^-160 to 2^160.
    """

    integer_bits: int
    fraction_bits: int

    def __post_init__(self) -> None:
        """Check the range."""
        check_bits(1 + self.integer_bits + self.fraction_bits, f"{self}, ", _LEAST_BITS, _MOST_BITS)
        if abs(self.fraction_bits) > _SPAN:
            raise UsageError(f"{self} has a step of 2^{-self.fraction_bits}", f"give at most {_SPAN} fraction bits")

    def __str__(self) -> str:
        """Return `fixed:Qm.n`."""
        return f"fixed:Q{self.integer_bits}.{self.fraction_bits}"

    def table(self) -> Table:
        """Return the points."""
        return _table(1 + self.integer_bits + self.fraction_bits, self.fraction_bits)


@dataclass(frozen=True, slots=True)
class AutoFixedGrid(FittedGrid):
    """Fixed point, the point where the tensor's SQNR is highest; b bits, on average where layers share them.

    Source: D. Lin, S. Talathi, S. Annapureddy, "Fixed Point Quantization of Deep Convolutional Networks", ICML 2016:
    the step by SQNR, and bits per layer by `bits_by_layer`.

    Args:
        bits_wide: b, 2 to 16.
    """

    bits_wide: int = AUTO_BITS

    def __post_init__(self) -> None:
        """Check the range."""
        check_bits(self.bits_wide, "fixed:auto:", _LEAST_BITS, _MOST_BITS)

    def __str__(self) -> str:
        """Return `fixed:auto:b`."""
        return f"fixed:auto:{self.bits_wide}"

    def shared(self, elements: Sequence[int]) -> list[Grid]:
        """Return fixed point with a layer's own bits for each: see `bits_by_layer`, to the nearest whole number."""
        if not sum(elements):
            return [self] * len(elements)
        bits = bits_by_layer([max(count, 1) for count in elements], self.bits_wide)
        return [AutoFixedGrid(min(max(round(wide), _LEAST_BITS), _MOST_BITS)) for wide in bits]

    def fitted(self, values: NDArray[Any], channel_axis: int | None = None) -> FixedGrid:
        """Return the Q format of b bits with the highest SQNR; of equals that with the finer step."""
        del channel_axis
        wide = np.asarray(values, np.float64)
        largest = float(np.abs(wide).max(initial=0.0))
        top = 0 if largest == 0 else int(np.ceil(log2(largest)))
        finest = self.bits_wide - 1 - _SPAN  # of so small a tensor as float32's subnormals all may become zero
        tried = sorted({max(integer, finest) for integer in range(top - 4, top + 2)})
        grids = [FixedGrid(integer, self.bits_wide - 1 - integer) for integer in tried]
        return min(grids, key=lambda grid: float(np.square(grid.nearest(wide) - wide).sum()))


def bits_by_layer(elements: Sequence[int], bits: float) -> list[float]:
    """Return how many bits each layer gets, so many on average over the weights, for the highest SQNR at the output.

    Lin et al.: a layer's noise counts as its SQNR, 6.02 dB a bit, and its cost as its number of weights; the optimum
    gives a layer with half as many weights half a bit more: beta_i - beta_j = log2(rho_j / rho_i) / 2.

    Args:
        elements: weights of each layer, at least 1.
        bits: on average over all weights.

    Returns:
        Not whole numbers.
    """
    total = sum(elements)
    mean = sum(count * log2(count) for count in elements) / total
    return [bits + (mean - log2(count)) / 2 for count in elements]


@cache
def _table(bits: int, fraction_bits: int) -> Table:
    codes = np.arange(-(1 << (bits - 1)), 1 << (bits - 1), dtype=np.int64)
    points = np.ldexp(codes.astype(np.float64), -fraction_bits)
    return Table(points=points, borders=midway(points), upward=codes[1:] % 2 == 0, codes=codes, bits=bits)
