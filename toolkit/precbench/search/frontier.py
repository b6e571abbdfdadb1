"""From what each layer's options cost and do to the outputs to the plans that are worth a try. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from precbench.search.damage import damage

Choice = tuple[int, ...]
"""Of each layer the place of an option."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shifts:
    """What options do to the outputs, image by image; small ones add up (see `damage.lead_shifts`).

    Args:
        around: [images], of what the options were measured around.
        options: [layers, options, images], what each adds to it; NaN where an option was not measured. In each layer
            at least one is.
    """

    around: NDArray[np.float64]
    options: NDArray[np.float64]


def frontier(costs: Sequence[Sequence[float]], shifts: Shifts) -> list[Choice]:
    """Return choices from the highest cost to the least, by steps that save most for the damage they add.

    From one to the next, one layer goes to a cheaper option. Unlike a sum of damages, a sum of shifts knows which
    changes cancel each other and which go the same way. Where none share an image, the choices are those of the lower
    hull: no choice between them is cheaper at the same damage.

    Args:
        costs: [layers][options].
        shifts: of the options; those that were not measured are left out.

    Source: Y. Shoham, A. Gersho, "Efficient bit allocation for an arbitrary set of quantizers", IEEE Trans. ASSP 36
    (1988), for the step; the sum of shifts in place of a sum of damages is ours (docs/search.md).
    """
    cost = np.array(costs, np.float64)
    measured = np.asarray(np.isfinite(shifts.options).all(axis=2))
    options = np.where(measured[:, :, None], shifts.options, 0.0)
    layers = np.arange(len(cost))
    current = _dearest(cost, options, measured)
    found = [tuple(map(int, current))]
    while True:
        saved = np.where(measured, cost[layers, current][:, None] - cost, 0.0)
        if not (saved > 0).any():
            return found
        total = shifts.around + options[layers, current].sum(axis=0)
        after = _after(total, options, current, saved > 0)
        price = np.where(saved > 0, (after - damage(total)) / np.where(saved > 0, saved, 1.0), np.inf)
        layer, place = np.unravel_index(int(np.argmin(price)), price.shape)
        current[layer] = place
        found.append(tuple(map(int, current)))


def cost_of(costs: Sequence[Sequence[float]], choice: Choice) -> float:
    """Return the sum of a choice's costs."""
    return sum(each[place] for each, place in zip(costs, choice, strict=True))


def _dearest(cost: NDArray[np.float64], options: NDArray[np.float64], measured: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Of each layer the measured option that costs most, of equals that which moves the outputs least."""
    price, alone = np.where(measured, cost, -np.inf), np.square(options).mean(axis=2)
    return np.array([np.lexsort((alone[layer], -price[layer]))[0] for layer in range(len(cost))])


def _after(
    total: NDArray[np.float64], options: NDArray[np.float64], current: NDArray[np.intp], asked: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The damage after each step that is asked for, layer by layer: so much memory as one layer takes."""
    found = np.full(asked.shape, np.inf)
    for layer, place in enumerate(current):
        found[layer, asked[layer]] = damage(total - options[layer, place] + options[layer, asked[layer]])
    return found
