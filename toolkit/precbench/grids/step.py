"""Multiples of a step: any decimal one, or one of a series of preferred numbers that is fitted to the tensor."""

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import UsageError
from precbench.grids.grid import FittedGrid, Grid, check_bits, finite_float64
from precbench.grids.preferred import R10

_MOST_CODE = 1 << 50
_FORM = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]{1,2})?", re.ASCII | re.IGNORECASE)
_SMALLEST, _LARGEST = Fraction(1, 10**37), Fraction(10**37)
SERIES = {"1-2-5": (1.0, 2.0, 5.0), "r10": R10}
"""Steps a decade: 1-2-5, and the ten of ISO 3's R10."""


@dataclass(frozen=True, slots=True)
class StepGrid(Grid):
    """Multiples of a step that is a decimal number. Ties go to the even multiple.

    Args:
        step: as a decimal number is written, such as "0.005"; 1e-37 to 1e37.
        limit: the largest multiple, either way; what lies beyond is cut off. None: there is none.

    Raises:
        UsageError: the step is no such number.
    """

    step: str
    limit: int | None = None

    def __post_init__(self) -> None:
        """Check the step, and write it in the shortest way."""
        text = str(self.step).strip()
        if not _FORM.fullmatch(text) or not _SMALLEST <= Fraction(text) <= _LARGEST:
            raise UsageError(f"{self.step!r} is no step", "give a positive decimal number, such as 0.005")
        object.__setattr__(self, "step", f"{Decimal(text).normalize():f}" if len(text) < 20 else text)

    def __str__(self) -> str:
        """Return `step:0.005`; with a limit also `±127`."""
        return f"step:{self.step}" + ("" if self.limit is None else f"±{self.limit}")

    def nearest(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the multiple nearest to each value; a value of more than 2^50 steps stays as it is."""
        wide = finite_float64(values)
        near = np.abs(wide) < _MOST_CODE * float(Fraction(self.step))
        codes = self._codes(np.where(near, wide, 0.0))
        if self.limit is not None:
            codes = np.where(near, codes, np.sign(wide) * _MOST_CODE).clip(-self.limit, self.limit).astype(np.int64)
            near = np.ones_like(near)
        points = np.copysign(self._points(codes, values.dtype), wide)
        return np.where(near, points, values.reshape(-1)).astype(values.dtype).reshape(values.shape)

    def codes(self, values: NDArray[Any]) -> NDArray[np.int64] | str:
        """Return the multiples: code x step, rounded to the values' type, is the value."""
        if not self.holds(values):
            return f"not on the grid {self}"
        wide = finite_float64(values)
        if (np.abs(wide) >= _MOST_CODE * float(Fraction(self.step))).any():
            return f"codes reach beyond 2^{_MOST_CODE.bit_length() - 1}"
        return self._codes(wide).reshape(values.shape)

    def _codes(self, wide: NDArray[np.float64]) -> NDArray[np.int64]:
        """The quotient in float64, and where that may be on the wrong side of a tie, exactly."""
        step = Fraction(self.step)
        quotients = wide / float(step)
        codes = np.rint(quotients)
        doubtful = np.abs(np.abs(quotients - codes) - 0.5) <= 4 * np.spacing(np.abs(quotients))
        if doubtful.any():
            found, back = np.unique(wide[doubtful], return_inverse=True)
            codes[doubtful] = np.array([round(Fraction(float(value)) / step) for value in found], np.float64)[back]
        return codes.astype(np.int64)

    def _points(self, codes: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The floats nearest to code x step, worked out exactly, once for each code that occurs."""
        step = Fraction(self.step)
        found, back = np.unique(codes, return_inverse=True)
        points = np.array([_nearest_float(int(code) * step, dtype) for code in found], dtype)
        result: NDArray[Any] = points[back]
        return result


@dataclass(frozen=True, slots=True)
class SeriesGrid(FittedGrid):
    """Multiples of the smallest step of a series of preferred numbers at which the largest weight fits into b bits.

    Args:
        series: a key of `SERIES`.
        bits_wide: b, 2 to 16: codes go from -(2^(b-1) - 1) to 2^(b-1) - 1.
    """

    series: str
    bits_wide: int

    def __post_init__(self) -> None:
        """Check the range."""
        if self.series not in SERIES:
            raise UsageError(f"there is no series {self.series!r} of steps", f"choose {' or '.join(SERIES)}")
        check_bits(self.bits_wide, f"{self.series}:", 2, 16)

    def __str__(self) -> str:
        """Return `1-2-5:8` or `r10:8`."""
        return f"{self.series}:{self.bits_wide}"

    def fitted(self, values: NDArray[Any], channel_axis: int | None = None) -> StepGrid:
        """Return the grid of the step that these values need."""
        del channel_axis
        limit = (1 << (self.bits_wide - 1)) - 1
        least = Fraction(float(np.abs(finite_float64(values)).max(initial=0.0))) / limit
        exponents = range(-37, 38)
        steps = (f"{number:g}e{exponent}" for exponent in exponents for number in SERIES[self.series])
        return StepGrid(next((step for step in steps if Fraction(step) >= least), "1e37"), limit)


def _nearest_float(value: Fraction, dtype: np.dtype[Any]) -> Any:
    """Return the float of a type nearest to an exact value; a float64 is, a narrower one may be rounded twice."""
    largest = float(np.finfo(dtype).max)
    wide = min(max(float(value), -largest), largest)
    near = dtype.type(wide)
    if dtype == np.float64 or Fraction(wide) == value:
        return near
    other = np.nextafter(near, dtype.type(np.inf if Fraction(float(near)) < value else -np.inf), dtype=dtype)
    if not np.isfinite(other):
        return near
    gaps = [abs(Fraction(float(one)) - value) for one in (near, other)]
    return near if gaps[0] <= gaps[1] else other
