"""Accuracy and the intervals of shares."""

import json
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precbench.accuracy import accuracy_of, wilson_interval
from precbench.errors import DataError, UsageError


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


@settings(deadline=None)
@given(st.integers(1, 1000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_stays_inside_0_to_1_holds_the_share_and_has_a_width(pair):
    count, total = pair
    found = wilson_interval(count, total)
    assert 0 <= found.low <= count / total + 1e-12
    assert count / total - 1e-12 <= found.high <= 1
    assert found.high > found.low


@pytest.mark.parametrize("level", [0, 1, -0.5, 95])
def test_a_level_outside_0_to_1_is_refused(level):
    with pytest.raises(UsageError, match=f"the level {level} is not inside 0..1"):
        wilson_interval(1, 2, level=level)


def test_different_lengths_are_refused():
    with pytest.raises(DataError, match="there are 3 labels and 2 predicted classes"):
        accuracy_of(np.array([0, 1, 1]), np.array([0, 1]))
