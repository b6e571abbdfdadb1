"""Integer codes of values on a decimal grid: value = code / 10^N, exactly, in float32.

The division is what makes it exact: it is correctly rounded. Float32 does not hold 10^-N: of its products with the
codes 1 to 32767 only 73 % equalled the quotient at N = 2, 41 % at N = 3, 70 % at N = 4.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.grids.decimal import check_decimals

MAX_CODE_DECIMALS = 10
"""The largest N with codes: 5^10 has 24 bits, as many as a float32 holds; 10^11 is not a float32."""

MAX_CODE = 1 << 24
"""The largest code: float32 holds every integer up to it."""

_TYPE_BITS = (4, 8, 16, 32)
_BLOCK = 1 << 14  # elements: a block and its float64 copy stay in the second-level cache


def decimal_codes(values: NDArray[np.float32], decimals: int) -> NDArray[np.int64] | str:
    """Return the integer codes of float32 values on a decimal grid, or why they have none.

    The law: float32(code) / float32(10^N), divided in float32, equals each value, except that the code of -0 is that
    of 0. That both operands are exact and that IEEE 754 rounds a quotient correctly is all it needs.

    Args:
        values: any shape. Not modified.
        decimals: N, 0 to 12; there are codes up to 10.

    Returns:
        The codes, in the values' shape; or the reason, one line: N is 11 or 12, a value is not finite, lies off the
        grid, or has a code beyond 2^24.

    Raises:
        UsageError: `decimals` is no whole number from 0 to 12.
        TypeError: the values are not float32.
    """
    number = check_decimals(decimals)
    if values.dtype != np.float32:
        raise TypeError(f"decimal codes are for float32, not {values.dtype}")
    if number > MAX_CODE_DECIMALS:
        return f"{number} decimals: 10^{number} is not exact in float32"
    reach = _reach(values, number)
    if not math.isfinite(reach):
        return "holds NaN or infinite values"
    if reach > MAX_CODE:
        return f"codes reach {_in_words(reach)}, beyond 2^24, which float32 does not hold exactly"
    codes = _codes(values.reshape(-1), number)
    return f"not on a grid of {number} decimals" if codes is None else codes.reshape(values.shape)


def integer_type_bits(codes: NDArray[Any]) -> int:
    """Return the width, 4, 8, 16 or 32 bits, of the smallest two's complement type that holds all codes.

    Raises:
        ValueError: 32 bits do not hold them.
    """
    low, high = int(codes.min(initial=0)), int(codes.max(initial=0))
    for bits in _TYPE_BITS:
        if -(1 << (bits - 1)) <= low and high < 1 << (bits - 1):
            return bits
    raise ValueError(f"codes from {low:,} to {high:,} need more than 32 bits")


def count_outside(codes: NDArray[Any], bits: int) -> int:
    """Return how many codes two's complement of so many bits does not hold."""
    return sum(int(np.count_nonzero(outside)) for _, outside in _outside(codes, bits))


def codes_outside(codes: NDArray[Any], bits: int) -> NDArray[np.int64]:
    """Return the positions, in the flattened codes, of those that two's complement of so many bits does not hold."""
    found = [start + np.flatnonzero(outside) for start, outside in _outside(codes, bits)]
    return np.concatenate([np.empty(0, np.int64), *found])


def _outside(codes: NDArray[Any], bits: int) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    flat, half = codes.reshape(-1), 1 << (bits - 1)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        yield start, (block < -half) | (block >= half)


def _reach(values: NDArray[np.float32], decimals: int) -> float:
    """Return the largest magnitude of a code; the product with 10^N has 48 bits at most, exact in float64."""
    largest = max(float(values.max(initial=0)), -float(values.min(initial=0)))
    return float(np.rint(largest * 10.0**decimals))


def _codes(flat: NDArray[np.float32], decimals: int) -> NDArray[np.int64] | None:
    codes = np.empty(flat.size, np.int64)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        steps = np.rint(block.astype(np.float64) * 10.0**decimals)
        if not np.array_equal(steps.astype(np.float32) / np.float32(10.0**decimals), block):
            return None
        codes[start : start + _BLOCK] = steps
    return codes


def _in_words(reach: float) -> str:
    return f"{reach:,.0f}" if reach < 1e15 else f"{reach:.1e}"
