"""From the text of a grid to the grid."""

import re
from collections.abc import Callable, Mapping

from precbench.errors import UsageError
from precbench.grids.decimal_grid import DecimalGrid
from precbench.grids.fixed import AUTO_BITS, AutoFixedGrid, FixedGrid
from precbench.grids.floats import FORMATS, FloatGrid
from precbench.grids.grid import Grid
from precbench.grids.integer import FittedIntegers
from precbench.grids.posit import PositGrid
from precbench.grids.pow2 import FittedPowersOfTwo
from precbench.grids.step import SERIES, SeriesGrid, StepGrid
from precbench.nearest import nearest

_N = r"([0-9]{1,4})"
_FORMS: Mapping[str, Callable[[re.Match[str]], Grid]] = {
    rf"decimal:{_N}": lambda m: DecimalGrid(int(m[1])),
    r"step:(.{1,40})": lambda m: StepGrid(m[1]),
    rf"({'|'.join(SERIES)}):{_N}": lambda m: SeriesGrid(m[1], int(m[2])),
    r"fixed:Q(-?[0-9]{1,3})\.(-?[0-9]{1,3})": lambda m: FixedGrid(int(m[1]), int(m[2])),
    rf"fixed:auto(?::{_N})?": lambda m: AutoFixedGrid(int(m[1] or AUTO_BITS)),
    rf"pow2:{_N}": lambda m: FittedPowersOfTwo(int(m[1])),
    rf"int:{_N}(:channel)?": lambda m: FittedIntegers(int(m[1]), per_channel=m[2] is not None),
    rf"({'|'.join(FORMATS)})": lambda m: FloatGrid(m[1]),
    rf"posit:{_N},{_N}": lambda m: PositGrid(int(m[1]), int(m[2])),
}
EXAMPLES = (
    *("decimal:4", "step:0.005", "1-2-5:8", "r10:8", "fixed:Q0.7", "fixed:auto:8", "pow2:5", "int:8", "int:8:channel"),
    *(*FORMATS, "posit:8,0", "posit:8,1", "posit:16,1"),
)
"""One text of each form."""


def parse_grid(text: str) -> Grid:
    """Read the text of a grid, such as `decimal:4` or `int:8:channel`.

    Raises:
        UsageError: it is written in none of the forms (the message names the nearest), or a number is out of range.
    """
    for form, make in _FORMS.items():
        found = re.fullmatch(form, text.strip(), re.ASCII)
        if found is not None:
            return make(found)
    raise UsageError(f"{text!r} is no grid", f"{nearest(text, EXAMPLES)}; the forms are {', '.join(EXAMPLES)}")
