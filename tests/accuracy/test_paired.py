"""Flips between two models on the same images."""

import json
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precbench.accuracy import flips
from precbench.errors import DataError, UsageError


def test_gained_lost_and_changed_are_counted_apart():
    labels = np.array([0, 0, 0, 0, 0, 0])
    found = flips(np.array([1, 0, 0, 1, 0, 2]), np.array([0, 1, 1, 2, 0, 2]), labels)
    assert (found.gained, found.lost, found.changed, found.total) == (1, 2, 4, 6)
    assert (found.reference_correct, found.variant_correct) == (3, 2)
    assert found.difference_points == pytest.approx(-100 / 6)
    assert found.low_points < found.difference_points < found.high_points
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["variant_correct"] == 2


def test_no_flip_has_p_1_and_an_interval_around_0():
    same = np.array([0, 1, 2, 0])
    found = flips(same, same, np.array([0, 1, 1, 1]))
    assert (found.gained, found.lost, found.changed, found.p_value, found.difference_points) == (0, 0, 0, 1.0, 0)
    assert found.low_points < 0 < found.high_points
    assert found.shown_margin_points == -found.low_points


def test_flips_that_leave_no_loss_in_the_interval_show_every_margin():
    labels = np.zeros(100, dtype=int)
    found = flips(np.ones(100, dtype=int), labels, labels)
    assert found.low_points > 0
    assert found.shown_margin_points == found.to_json()["shown_margin_points"] == 0


def test_the_p_value_is_the_exact_binomial_one():
    labels = np.zeros(10, dtype=int)
    variant = np.array([1] * 9 + [0])
    found = flips(np.array([0] * 9 + [1]), variant, labels)
    assert (found.gained, found.lost) == (1, 9)
    assert found.p_value == pytest.approx(2 * (comb(10, 0) + comb(10, 1)) / 2**10)


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=60))
def test_swapping_the_models_swaps_gained_and_lost_and_keeps_p(rows):
    reference, variant, labels = np.array(rows).T
    there, back = flips(reference, variant, labels), flips(variant, reference, labels)
    assert (there.gained, there.lost, there.changed) == (back.lost, back.gained, back.changed)
    assert there.p_value == back.p_value
    assert there.low_points == pytest.approx(-back.high_points, abs=1e-9)
    assert there.gained + there.lost <= there.changed


def test_predictions_for_other_images_are_refused():
    with pytest.raises(DataError, match="there are 2 labels and 3 variant predictions"):
        flips(np.array([0, 1]), np.array([0, 1, 1]), np.array([0, 1]))
    with pytest.raises(DataError, match="there are 2 labels and 1 reference predictions"):
        flips(np.array([0]), np.array([0, 1]), np.array([0, 1]))


def test_a_level_that_is_none_is_refused():
    with pytest.raises(UsageError, match="the level 2 is not inside"):
        flips(np.array([0]), np.array([0]), np.array([0]), level=2)
