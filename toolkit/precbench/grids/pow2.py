"""Powers of two and zero, the grid of incremental network quantization, and its partition of the weights.

Source: A. Zhou, A. Yao, Y. Guo, L. Xu, Y. Chen, "Incremental Network Quantization: Towards Lossless CNNs with
Low-Precision Weights", ICLR 2017.
"""

from dataclasses import dataclass
from functools import cache
from math import floor, frexp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import UsageError
from precbench.grids.grid import FittedGrid, check_bits
from precbench.grids.table import Table, TableGrid, midway

_SPAN = 300


@dataclass(frozen=True, slots=True)
class PowersOfTwo(TableGrid):
    """Zero and plus and minus 2^k, k from `smallest` to `largest`. Ties go away from zero, as in the paper.

    So a magnitude from 3/4 of a power up to below 3/2 of it becomes that power, one below half the smallest becomes
    zero, and one beyond the largest becomes the largest.

    Args:
        smallest: n2 of the paper, at least -300.
        largest: n1, at most 300.
        bits_wide: of a code; one code stands for zero.
    """

    smallest: int
    largest: int
    bits_wide: int

    def __post_init__(self) -> None:
        """Check the range."""
        if not -_SPAN <= self.smallest <= self.largest <= _SPAN:
            raise UsageError(
                f"powers of two from 2^{self.smallest} to 2^{self.largest}", f"give exponents from -{_SPAN} to {_SPAN}"
            )

    def __str__(self) -> str:
        """Return `pow2:b[n2..n1]`."""
        return f"pow2:{self.bits_wide}[{self.smallest}..{self.largest}]"

    def table(self) -> Table:
        """Return the points; a code is the exponent's place, from 1, with the sign."""
        return _table(self.smallest, self.largest, self.bits_wide)


@dataclass(frozen=True, slots=True)
class FittedPowersOfTwo(FittedGrid):
    """The powers of two that b bits hold, below the tensor's largest magnitude.

    n1 = floor(log2(4 s / 3)) with s the largest magnitude, n2 = n1 + 1 - 2^(b-1) / 2. One bit of the b stands for
    zero; the powers have 2^(b-2) exponents.

    Args:
        bits_wide: b, 2 to 8.
    """

    bits_wide: int

    def __post_init__(self) -> None:
        """Check the range."""
        check_bits(self.bits_wide, "pow2:", 2, 8)

    def __str__(self) -> str:
        """Return `pow2:b`."""
        return f"pow2:{self.bits_wide}"

    def fitted(self, values: NDArray[Any], channel_axis: int | None = None) -> PowersOfTwo:
        """Return the grid of these values' largest magnitude; of zeros alone, that of 1."""
        del channel_axis
        largest = float(np.abs(np.asarray(values, np.float64)).max(initial=0.0)) or 1.0
        top = floor_log2_of_four_thirds(largest)
        count = (1 << (self.bits_wide - 1)) // 2
        top = max(-_SPAN + count - 1, min(_SPAN, top))
        return PowersOfTwo(top + 1 - count, top, self.bits_wide)


def floor_log2_of_four_thirds(value: float) -> int:
    """Return floor(log2(4 v / 3)), exactly: a magnitude of 3/4 of a power belongs to that power."""
    fraction, exponent = frexp(value)  # value = fraction x 2^exponent, 1/2 <= fraction < 1
    return exponent if fraction >= 0.75 else exponent - 1


def largest_part(values: NDArray[Any], share: float, held: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Return which weights a step of the incremental quantization holds: those held, and the largest of the others.

    Args:
        values: any shape.
        share: of all weights to be held then, 0..1; rounded down to a whole number of weights.
        held: bool, in their shape: those that a step before holds; none where None.

    Returns:
        bool, in their shape; of equal magnitudes the first in order come first.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"the share {share:g} of the weights", "give a share from 0 to 1")
    before = np.zeros(values.shape, np.bool_) if held is None else held
    rank = np.where(before, np.inf, np.abs(np.asarray(values, np.float64))).reshape(-1)
    chosen = before.copy().reshape(-1)
    chosen[np.argsort(-rank, kind="stable")[: floor(share * rank.size + 1e-9)]] = True
    return chosen.reshape(values.shape)


@cache
def _table(smallest: int, largest: int, bits: int) -> Table:
    powers = np.ldexp(1.0, np.arange(smallest, largest + 1))
    points = np.concatenate([-powers[::-1], [0.0], powers])
    count = len(powers)
    codes = np.arange(-count, count + 1, dtype=np.int64)
    return Table(points=points, borders=midway(points), upward=points[1:] > 0, codes=codes, bits=bits)
