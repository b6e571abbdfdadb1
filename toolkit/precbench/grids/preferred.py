"""Decimal steps of integer weights: the preferred numbers of ISO 3, series R10, times a power of ten."""

import numpy as np
from numpy.typing import NDArray

from precbench.errors import ModelError

R10 = (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0)
"""Ten steps a decade, each about 1.26 times the one before, at most 1.28: the largest code is at least 99 of 127."""

_EXPONENTS = range(-37, 38)  # normal in float32
_STEPS = np.array([float(f"{number}e{exponent}") for exponent in _EXPONENTS for number in R10])
_SLACK = 1 - 1e-12


def preferred_steps(least: NDArray[np.float64], *, finer: int, coarser: int) -> NDArray[np.float64]:
    """Return for each value the preferred steps around it, the nearest that is not below it among them.

    Args:
        least: [n], positive: the steps at which the largest weight just gets the largest code.
        finer: how many steps below the first that is large enough; the largest weights are then cut off.
        coarser: how many above it.

    Returns:
        float64 [finer + 1 + coarser, n], strictly ascending along the first axis; every one is a decimal of at most
        three significant digits.

    Raises:
        ModelError: a step would lie outside 1e-37 to 8e37, which float32 holds to full precision.
    """
    first = np.searchsorted(_STEPS, least * _SLACK)
    outside = (first < finer) | (first + coarser >= len(_STEPS))
    if outside.any():
        raise ModelError(
            f"weights need a step of about {least[outside][0]:.3g}, and steps of {_STEPS[0]:g} to {_STEPS[-1]:g} exist",
            "scale its weights, or deploy the model in another form",
        )
    chosen: NDArray[np.float64] = _STEPS[first[None, :] + np.arange(-finer, coarser + 1)[:, None]]
    return chosen
