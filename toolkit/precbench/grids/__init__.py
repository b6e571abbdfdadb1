"""Number grids: the points that a rounded weight may take. Pure NumPy."""

from precbench.grids.codes import (
    MAX_CODE,
    MAX_CODE_DECIMALS,
    codes_outside,
    count_outside,
    decimal_codes,
    integer_type_bits,
)
from precbench.grids.decimal import MAX_DECIMALS, check_decimals, decimals_needed, round_to_decimals
from precbench.grids.decimal_grid import DecimalGrid
from precbench.grids.grid import FittedGrid, Grid
from precbench.grids.parsing import parse_grid

__all__ = [
    "MAX_CODE",
    "MAX_CODE_DECIMALS",
    "MAX_DECIMALS",
    "DecimalGrid",
    "FittedGrid",
    "Grid",
    "check_decimals",
    "codes_outside",
    "count_outside",
    "decimal_codes",
    "decimals_needed",
    "integer_type_bits",
    "parse_grid",
    "round_to_decimals",
]
