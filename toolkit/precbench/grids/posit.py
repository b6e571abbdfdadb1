"""Posits: numbers with tapered precision, after the Posit Standard (2022), with any number of exponent bits."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from precbench.errors import UsageError
from precbench.grids.grid import check_bits
from precbench.grids.table import Table, TableGrid

_MOST_EXPONENT_BITS = 3


@dataclass(frozen=True, slots=True)
class PositGrid(TableGrid):
    """All posits of so many bits but NaR. Rounding is the standard's: to the nearest in the space of bit strings.

    A value between two posits goes by the posit of one more bit that lies between them; on it, to the even bit string.
    No value but zero becomes zero, and what lies beyond the largest posit becomes that.

    Args:
        bits_wide: 3 to 16.
        exponent_bits: 0 to 3; the standard of 2022 has 2, the formats of the papers before it 0 and 1.
    """

    bits_wide: int
    exponent_bits: int

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_bits(self.bits_wide, "posit:", 3, 16)
        if not 0 <= self.exponent_bits <= _MOST_EXPONENT_BITS:
            raise UsageError(
                f"{self} has {self.exponent_bits} exponent bits", f"give a number from 0 to {_MOST_EXPONENT_BITS}"
            )

    def __str__(self) -> str:
        """Return `posit:n,es`."""
        return f"posit:{self.bits_wide},{self.exponent_bits}"

    def table(self) -> Table:
        """Return the points; a code is the bit string in two's complement, which orders posits as integers."""
        return _table(self.bits_wide, self.exponent_bits)


@cache
def _table(bits: int, exponent_bits: int) -> Table:
    codes = np.arange(1 - (1 << (bits - 1)), 1 << (bits - 1), dtype=np.int64)
    points = _decoded(codes, bits, exponent_bits)
    borders = _decoded(2 * codes[:-1] + 1, bits + 1, exponent_bits)
    upward = codes[1:] % 2 == 0
    below, above = codes[:-1] == 0, codes[1:] == 0  # next to zero: no value but zero belongs to it
    borders[below], upward[below] = 0.0, False
    borders[above], upward[above] = 0.0, True
    return Table(points=points, borders=borders, upward=upward, codes=codes, bits=bits)


def _decoded(codes: NDArray[np.int64], bits: int, exponent_bits: int) -> NDArray[np.float64]:
    return np.array([decode(int(code), bits, exponent_bits) for code in codes])


def decode(code: int, bits: int, exponent_bits: int) -> float:
    """Return the number that a posit stands for; exact.

    Args:
        code: its bit string as an integer in two's complement, NaR excepted.
        bits: of the string.
        exponent_bits: es.
    """
    if code == 0:
        return 0.0
    text = f"{abs(code):0{bits - 1}b}"  # without the sign
    run = len(text) - len(text.lstrip(text[0]))
    regime = run - 1 if text[0] == "1" else -run
    rest = text[run + 1 :]
    exponent = int(rest[:exponent_bits].ljust(exponent_bits, "0") or "0", 2)
    fraction = rest[exponent_bits:]
    significand = 1 + (int(fraction, 2) / (1 << len(fraction)) if fraction else 0.0)
    magnitude = float(np.ldexp(significand, regime * (1 << exponent_bits) + exponent))
    return -magnitude if code < 0 else magnitude
