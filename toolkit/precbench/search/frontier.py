"""From what each layer's options cost and damage to the plans that are worth a try. Pure."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One grid for a layer.

    Args:
        cost: what the layer takes then, in the objective's unit.
        damage: what it does to the outputs; adds up over layers to a first approximation.
    """

    cost: float
    damage: float


Choice = tuple[int, ...]
"""Of each layer the place of an option."""


def frontier(layers: Sequence[Sequence[Option]]) -> list[Choice]:
    """Return the choices that are best for some price of damage, from the least damage to the least cost.

    The law: each has the least cost of all choices with at most its damage, where what lies between two neighbours is
    taken as mixed; from one to the next one layer moves one step along the lower hull of its options, the step that
    saves most per damage first.

    Source: Y. Shoham, A. Gersho, "Efficient bit allocation for an arbitrary set of quantizers", IEEE Trans. ASSP 36
    (1988).
    """
    hulls = [_hull(options) for options in layers]
    steps = sorted(
        (_price(layers[layer], before, after), layer, place)
        for layer, hull in enumerate(hulls)
        for place, (before, after) in enumerate(itertools.pairwise(hull))
    )
    current = [hull[0] for hull in hulls]
    found = [tuple(current)]
    for _, layer, place in steps:
        current[layer] = hulls[layer][place + 1]
        found.append(tuple(current))
    return found


def cost_of(layers: Sequence[Sequence[Option]], choice: Choice) -> float:
    """Return the sum of a choice's costs."""
    return sum(options[place].cost for options, place in zip(layers, choice, strict=True))


def _hull(options: Sequence[Option]) -> list[int]:
    """The places on the lower convex hull of cost over damage, from the least damage to the least cost."""
    order = sorted(range(len(options)), key=lambda place: (options[place].damage, options[place].cost))
    hull: list[int] = []
    for place in order:
        if hull and options[place].cost >= options[hull[-1]].cost:
            continue
        while len(hull) >= 2 and _price(options, hull[-2], hull[-1]) >= _price(options, hull[-1], place):
            hull.pop()
        hull.append(place)
    return hull


def _price(options: Sequence[Option], before: int, after: int) -> float:
    """Damage for each unit of cost that is saved."""
    saved = options[before].cost - options[after].cost
    return (options[after].damage - options[before].damage) / saved
