"""Holm's correction, against closed testing."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precbench.holm import holm, holm_levels

few = settings(max_examples=50, deadline=None)
p_lists = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.0125, 0.025, 0.05]), min_size=1, max_size=6)
levels = st.floats(0.001, 0.2)


def test_holm_by_hand():
    """4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04 no less than the one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.02]) == [0.02]
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02, 0.02, 0.02]) == pytest.approx([0.06] * 3)
    assert holm([]) == []


def test_a_family_counts_tests_that_are_not_given():
    """As if the eight others ranked below: 10 x 0.001, 9 x 0.01."""
    assert holm([0.01, 0.001], family=10) == pytest.approx([0.09, 0.01])
    assert holm([0.01, 0.001], family=1) == holm([0.01, 0.001])
    assert holm_levels([0.01, 0.001], 0.05, family=10) == pytest.approx([0.05 / 9, 0.05 / 10])


def closed_testing(p_values, level):
    """Reject a hypothesis where Bonferroni rejects every family that it is in: what Holm does in steps."""
    indices = range(len(p_values))
    families = [family for size in indices for family in combinations(indices, size + 1)]
    rejected = [min(p_values[i] for i in family) * len(family) <= level for family in families]
    return [all(r for family, r in zip(families, rejected, strict=True) if i in family) for i in indices]


@few
@given(p_lists, levels)
def test_holm_rejects_what_closed_testing_rejects(p_values, level):
    assert [p <= level for p in holm(p_values)] == closed_testing(p_values, level)


@few
@given(p_lists, levels, st.data())
def test_the_level_that_holm_asks_of_a_p_value_is_where_its_rejection_begins(p_values, level, data):
    index = data.draw(st.integers(0, len(p_values) - 1))
    asked = holm_levels(p_values, level)[index]
    assert level / len(p_values) <= asked <= level
    for moved, rejected in ((asked * (1 - 1e-9), True), (asked * (1 + 1e-9), False)):
        assert (holm([*p_values[:index], moved, *p_values[index + 1 :]])[index] <= level) is rejected


@few
@given(p_lists)
def test_an_adjusted_p_value_is_no_smaller_and_keeps_its_rank(p_values):
    adjusted = holm(p_values)
    for i, one in enumerate(p_values):
        assert one <= adjusted[i] <= 1
        assert all(adjusted[i] <= adjusted[j] for j, other in enumerate(p_values) if one < other)
