"""Narrow floating-point formats: float16, bfloat16 and the two float8 of the Open Compute Project."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from precbench.errors import UsageError
from precbench.grids.table import Table, TableGrid, midway

FORMATS: dict[str, Any] = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
}
"""Name to type. IEEE 754's binary16; Google's bfloat16; OCP 8-bit Floating Point Specification, revision 1.0."""


@dataclass(frozen=True, slots=True)
class FloatGrid(TableGrid):
    """The finite numbers of a floating-point format, subnormals among them. Ties go to the even significand.

    What lies beyond the largest finite number becomes that number, where a cast would give infinity or NaN: a weight
    stays a number. The sign of zero is kept.

    Args:
        name: a key of `FORMATS`.
    """

    name: str

    def __post_init__(self) -> None:
        """Check the name."""
        if self.name not in FORMATS:
            raise UsageError(f"there is no floating-point format {self.name!r}", f"choose {', '.join(FORMATS)}")

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    def table(self) -> Table:
        """Return the points; a code is the number as sign and magnitude."""
        return _table(self.name)

    def nearest(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return each value's nearest number, with its sign."""
        signed: NDArray[Any] = np.copysign(TableGrid.nearest(self, values), values)
        return signed


@cache
def _table(name: str) -> Table:
    kind = np.dtype(FORMATS[name])
    width = 8 * kind.itemsize
    patterns = np.arange(1 << (width - 1), dtype=np.uint16 if width == 16 else np.uint8)  # the sign bit is not set
    with np.errstate(invalid="ignore"):  # NaN is among the patterns
        magnitudes = patterns.view(kind).astype(np.float64)
    magnitudes = magnitudes[np.isfinite(magnitudes)]  # ascending with the pattern, from zero
    codes = np.arange(len(magnitudes), dtype=np.int64)
    points = np.concatenate([-magnitudes[:0:-1], magnitudes])
    signed = np.concatenate([-codes[:0:-1], codes])
    return Table(points=points, borders=midway(points), upward=signed[1:] % 2 == 0, codes=signed, bits=width)
