"""The frontier against all choices there are."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from precbench.search.frontier import Option, cost_of, frontier

OPTIONS = st.lists(
    st.builds(Option, cost=st.integers(0, 50).map(float), damage=st.integers(0, 50).map(float)),
    min_size=1, max_size=4,
)  # fmt: skip


def damage_of(layers: list[list[Option]], choice: tuple[int, ...]) -> float:
    return sum(options[place].damage for options, place in zip(layers, choice, strict=True))


@given(st.lists(OPTIONS, min_size=1, max_size=4))
def test_no_choice_costs_less_at_no_more_damage_but_between_two_neighbours(
    layers: list[list[Option]],
) -> None:
    path = frontier(layers)
    points = [(damage_of(layers, choice), cost_of(layers, choice)) for choice in path]
    for choice in itertools.product(*(range(len(options)) for options in layers)):
        damage, cost = damage_of(layers, choice), cost_of(layers, choice)
        assert cost >= mixed(points, damage) - 1e-9


def mixed(points: list[tuple[float, float]], damage: float) -> float:
    """The cost of the mixture of neighbours that has a damage: the lower hull of all choices."""
    for (low, high_cost), (high, low_cost) in itertools.pairwise(points):
        if low <= damage <= high:
            share = (damage - low) / (high - low) if high > low else 1.0
            return high_cost + share * (low_cost - high_cost)
    return points[-1][1] if damage >= points[-1][0] else float("-inf")


@given(st.lists(OPTIONS, min_size=1, max_size=6))
def test_from_one_choice_to_the_next_one_layer_changes_and_the_cost_falls(layers: list[list[Option]]) -> None:
    path = frontier(layers)
    for before, after in itertools.pairwise(path):
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
        assert cost_of(layers, after) < cost_of(layers, before)
    least = sum(min(option.damage for option in options) for options in layers)
    cheapest = sum(min(option.cost for option in options) for options in layers)
    assert damage_of(layers, path[0]) == least
    assert cost_of(layers, path[-1]) == cheapest
