"""Number grids: the points that a rounded weight may take. Pure NumPy."""

from precbench.grids.decimal import MAX_DECIMALS, check_decimals, decimals_needed, round_to_decimals

__all__ = ["MAX_DECIMALS", "check_decimals", "decimals_needed", "round_to_decimals"]
