"""The decimal grid: multiples of 10^-N, the grid of the paper.

`numpy.round` is not decimal rounding in float32: it scales in float32, and at N = 9 moves 6.5 % of N(0, 0.1) weights
elsewhere than correct rounding does. Here the scaling is exact; docs/decisions/decimal-rounding.md has the proof.
"""

import decimal
import operator
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from precbench.errors import UsageError

MAX_DECIMALS = 12
"""The largest N: 5^12 has 28 bits, and 28 + 24 bits of a float32 are the most that a float64 product holds exactly."""

_BLOCK = 1 << 14  # elements: a float64 block and its result stay in the second-level cache
_DECIMAL_CONTEXT_DIGITS = 800  # a float64 has at most 767 significant decimal digits


def check_decimals(decimals: object) -> int:
    """Return `decimals` as an int.

    Raises:
        UsageError: it is no whole number, or lies outside 0..12.
    """
    remedy = f"give a whole number of decimals from 0 to {MAX_DECIMALS}"
    if isinstance(decimals, bool) or not isinstance(decimals, SupportsIndex):
        raise UsageError(f"the number of decimals is {decimals!r}, not a whole number", remedy)
    number = operator.index(decimals)
    if not 0 <= number <= MAX_DECIMALS:
        raise UsageError(f"the number of decimals is {number}, outside 0 to {MAX_DECIMALS}", remedy)
    return number


def round_to_decimals(values: NDArray[Any], decimals: int) -> NDArray[Any]:
    """Round each value to N decimals, correctly.

    The law: each result is the float (of the values' own type) nearest to the decimal with N places that is nearest,
    ties to even, to the exact value. So it is idempotent, a value already on the grid does not move, the sign of zero
    is kept, and where the step 10^-N is finer than the spacing of the floats a value stays as it is.

    Args:
        values: float16, float32 or float64, any shape, finite. Not modified.
        decimals: N, 0 to 12.

    Returns:
        A new array of the same type and shape.

    Raises:
        UsageError: `decimals` is no whole number from 0 to 12.
        ValueError: the values are not finite.
        TypeError: the values are of another type.

    Source: the oracle in the tests is Python's `decimal`, `ROUND_HALF_EVEN`.
    """
    number = check_decimals(decimals)
    if values.dtype not in (np.float16, np.float32, np.float64):
        raise TypeError(f"decimal rounding takes float16, float32 or float64, not {values.dtype}")
    result = np.array(values, order="C")
    flat = result.reshape(-1)
    round_block = _round_float64 if values.dtype == np.float64 else _round_narrow
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        wide = block.astype(np.float64)
        if not np.isfinite(wide).all():
            raise ValueError("decimal rounding takes finite values only")
        block[:] = round_block(wide, number)
    return result


def decimals_needed(values: NDArray[Any]) -> int | None:
    """Return the smallest N, 0 to 12, at which rounding to N decimals moves no value; None where 12 do not suffice.

    Args:
        values: float16, float32 or float64, any shape. Values that are not finite lie on no grid: None.
    """
    if not np.isfinite(values).all():
        return None
    for number in range(MAX_DECIMALS + 1):
        if _on_grid(values, number):
            return number
    return None


def _on_grid(values: NDArray[Any], decimals: int) -> bool:
    """Compare block by block, so that a grid that is too coarse is given up at the first block."""
    flat = values.reshape(-1)
    blocks = (flat[start : start + _BLOCK] for start in range(0, flat.size, _BLOCK))
    return all(np.array_equal(round_to_decimals(block, decimals), block) for block in blocks)


def _round_narrow(wide: NDArray[np.float64], decimals: int) -> NDArray[np.float64]:
    """Round float16 or float32 values held in float64, where the product with 10^N is exact."""
    scale = float(10**decimals)
    wide *= scale
    np.rint(wide, out=wide)
    wide /= scale
    return wide


def _round_float64(values: NDArray[np.float64], decimals: int) -> NDArray[np.float64]:
    """Round float64 values, whose product with 10^N is itself rounded: near a tie the decision is made exactly."""
    scale = float(10**decimals)
    # From 2^53 steps on, the step is finer than the spacing of the floats: such a value stays as it is.
    coarse = np.abs(values) < 2.0**53 / scale
    scaled = np.where(coarse, values, 0.0) * scale
    steps = np.rint(scaled)
    doubtful = np.abs(np.abs(scaled - steps) - 0.5) <= np.spacing(np.abs(scaled))
    result = np.where(coarse, steps / scale, values)
    for index in np.flatnonzero(doubtful & coarse):
        result[index] = _round_exactly(float(values[index]), decimals)
    return result


def _round_exactly(value: float, decimals: int) -> float:
    with decimal.localcontext() as context:
        context.prec = _DECIMAL_CONTEXT_DIGITS
        step = decimal.Decimal(1).scaleb(-decimals)
        return float(decimal.Decimal(value).quantize(step, rounding=decimal.ROUND_HALF_EVEN))
