"""The frontier against all choices there are, and by hand where changes cancel."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precbench.search.damage import damage
from precbench.search.frontier import Choice, Shifts, cost_of, frontier

Layers = list[list[tuple[float, float]]]
OPTIONS = st.lists(st.tuples(st.integers(0, 50).map(float), st.integers(0, 50).map(float)), min_size=3, max_size=3)


def apart(layers: Layers) -> tuple[list[list[float]], Shifts]:
    """Costs, and shifts of each layer on images of its own, so that damages add up to those given (over 100)."""
    shifts = np.zeros((len(layers), 3, len(layers)))
    for layer, options in enumerate(layers):
        for place, (_, harm) in enumerate(options):
            shifts[layer, place, layer] = np.sqrt(harm / 100)
    costs = [[cost for cost, _ in options] for options in layers]
    return costs, Shifts(around=np.zeros(len(layers)), options=shifts)


def harm_of(layers: Layers, choice: Choice) -> float:
    return sum(options[place][1] for options, place in zip(layers, choice, strict=True))


@given(st.lists(OPTIONS, min_size=1, max_size=4))
def test_where_no_image_is_shared_no_choice_costs_less_at_no_more_damage_but_between_two_neighbours(
    layers: Layers,
) -> None:
    costs, shifts = apart(layers)
    path = frontier(costs, shifts)
    points = [(harm_of(layers, choice), cost_of(costs, choice)) for choice in path]
    for choice in itertools.product(range(3), repeat=len(layers)):
        assert cost_of(costs, choice) >= mixed(points, harm_of(layers, choice)) - 1e-6


def mixed(points: list[tuple[float, float]], harm: float) -> float:
    """The least cost of the mixtures of neighbours that have a damage, or less: the lower hull of all choices."""
    found = [cost for least, cost in points if least <= harm]
    for (low, high_cost), (high, low_cost) in itertools.pairwise(points):
        if low <= harm < high:
            found.append(high_cost + (harm - low) / (high - low) * (low_cost - high_cost))
    return min(found, default=float("-inf"))


@given(st.lists(OPTIONS, min_size=1, max_size=6), st.integers(0, 99))
def test_from_one_choice_to_the_next_one_layer_changes_and_the_cost_falls_to_the_least(
    layers: Layers, seed: int
) -> None:
    costs = [[cost for cost, _ in options] for options in layers]
    options = np.random.default_rng(seed).normal(size=(len(layers), 3, 8))
    path = frontier(costs, Shifts(around=np.zeros(8), options=options))
    for before, after in itertools.pairwise(path):
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
        assert cost_of(costs, after) < cost_of(costs, before)
    assert cost_of(costs, path[0]) == sum(map(max, costs))
    assert cost_of(costs, path[-1]) == sum(map(min, costs))


def test_two_changes_that_cancel_are_worth_more_than_one_that_is_smaller() -> None:
    options = np.zeros((3, 2, 2))
    options[0, 1], options[1, 1], options[2, 1] = [0.5, 0.5], [-0.5, -0.5], [0.4, -0.4]
    path = frontier([[2.0, 1.0]] * 3, Shifts(around=np.zeros(2), options=options))
    assert path == [(0, 0, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1)]
    assert damage(options[0, 1] + options[1, 1]) == 0


def test_what_the_others_do_already_counts() -> None:
    options = np.zeros((2, 2, 1))
    options[0, 1], options[1, 1] = 0.5, -0.5
    path = frontier([[2.0, 1.0]] * 2, Shifts(around=np.array([0.5]), options=options))
    assert path[1] == (0, 1)


def test_around_a_plan_the_path_begins_with_finer_options_that_pay_for_coarser_ones() -> None:
    """Two layers, both at their middle option: the first one finer lets the second be coarser, and cheaper in all."""
    options = np.zeros((2, 3, 2))
    options[0, 0], options[0, 2] = [-0.4, 0], [0.5, 0]
    options[1, 0], options[1, 2] = [0, -0.01], [0, 0.1]
    path = frontier([[2.1, 2.0, 1.9], [9.1, 9.0, 5.0]], Shifts(around=np.array([0.5, 0.02]), options=options))
    assert path[0] == (0, 0)
    assert (0, 2) in path


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_option_that_was_not_measured_is_not_taken(place: int) -> None:
    options = np.zeros((2, 3, 4))
    options[:, 1], options[:, 2] = 0.1, 0.2
    options[1, place] = np.nan
    path = frontier([[3.0, 2.0, 1.0]] * 2, Shifts(around=np.zeros(4), options=options))
    assert all(choice[1] != place for choice in path)
    assert path[-1] == (2, 1 if place == 2 else 2)
