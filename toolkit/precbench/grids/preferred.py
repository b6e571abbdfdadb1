"""Decimal steps of integer weights: the preferred numbers of ISO 3, series R10, times a power of ten."""

import numpy as np
from numpy.typing import NDArray

R10 = (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0)
"""Ten steps a decade, each about 1.26 times the one before: the largest code uses at least 101 of 127."""

_EXPONENTS = range(-12, 6)
_STEPS = np.array([float(f"{number}e{exponent}") for exponent in _EXPONENTS for number in R10])
_SLACK = 1 - 1e-12


def preferred_steps(least: NDArray[np.float64], *, finer: int, coarser: int) -> NDArray[np.float64]:
    """Return for each value the preferred steps around it, the nearest that is not below it among them.

    Args:
        least: [n], positive: the steps at which the largest weight just gets the largest code.
        finer: how many steps below the first that is large enough; the largest weights are then cut off.
        coarser: how many above it.

    Returns:
        float64 [finer + 1 + coarser, n], ascending along the first axis; every one is a decimal of at most three
        significant digits.
    """
    first = np.searchsorted(_STEPS, least * _SLACK)
    offsets = np.arange(-finer, coarser + 1)[:, None]
    chosen: NDArray[np.float64] = _STEPS[np.clip(first[None, :] + offsets, 0, len(_STEPS) - 1)]
    return chosen
