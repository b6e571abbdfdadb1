"""Accuracy and the intervals of shares."""

import json
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precbench.accuracy import accuracy_of, newcombe_interval, wilson_interval
from precbench.errors import DataError, UsageError

counts = st.integers(0, 500)


def test_accuracy_counts_the_predictions_that_equal_their_label():
    found = accuracy_of(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2], dtype=np.int32))
    assert (found.correct, found.total, found.fraction) == (3, 4, 0.75)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["correct"] == 3


def test_the_papers_accuracy_has_the_half_width_of_two_thirds_of_a_point():
    found = wilson_interval(8691, 10_000)
    assert (found.high - found.low) / 2 == pytest.approx(0.0066, abs=5e-5)


def test_wilson_agrees_with_its_closed_form():
    z, n, p = 1.959963984540054, 50, 0.9
    centre, half = (p + z * z / 2 / n) / (1 + z * z / n), z * sqrt(p * (1 - p) / n + z * z / 4 / n**2) / (1 + z * z / n)
    found = wilson_interval(45, 50)
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=1e-12)


@given(st.integers(1, 1000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_stays_inside_0_to_1_holds_the_share_and_has_a_width(pair):
    count, total = pair
    found = wilson_interval(count, total)
    assert 0 <= found.low <= count / total + 1e-12
    assert count / total - 1e-12 <= found.high <= 1
    assert found.high > found.low


def test_newcombe_agrees_with_the_worked_example_of_altman_2000_table_6_2():
    found = newcombe_interval(both=14, first_only=5, second_only=0, neither=22)
    assert (-found.high, -found.low) == pytest.approx((0.011, 0.226), abs=5e-4)


def test_newcombe_agrees_with_the_worked_example_of_fagerland_2014():
    found = newcombe_interval(both=1, first_only=1, second_only=7, neither=12)
    assert (found.low, found.high) == pytest.approx((0.026, 0.507), abs=5e-4)


@given(counts, counts, counts, counts)
def test_newcombe_turns_its_sign_when_the_two_are_swapped_and_holds_the_difference(both, one, other, neither):
    if both + one + other + neither == 0:
        return
    there = newcombe_interval(both=both, first_only=one, second_only=other, neither=neither)
    back = newcombe_interval(both=both, first_only=other, second_only=one, neither=neither)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-9)
    assert there.low - 1e-9 <= (other - one) / (both + one + other + neither) <= there.high + 1e-9


def test_newcombe_has_a_width_where_no_image_flips():
    found = newcombe_interval(both=9385, first_only=0, second_only=0, neither=615)
    assert found.low < 0 < found.high


@pytest.mark.parametrize("level", [0, 1, -0.5, 95])
def test_a_level_outside_0_to_1_is_refused(level):
    with pytest.raises(UsageError, match=f"the level {level} is not inside 0..1"):
        wilson_interval(1, 2, level=level)


def test_different_lengths_are_refused():
    with pytest.raises(DataError, match="there are 3 labels and 2 predicted classes"):
        accuracy_of(np.array([0, 1, 1]), np.array([0, 1]))
