"""Fidelity of arrays."""

import json
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from precbench.accuracy import fidelity
from precbench.errors import DataError

finite = hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=5), elements=st.floats(-1e300, 1e300))


def test_equal_outputs_have_infinite_sqnr_and_strict_json():
    found = fidelity(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32))
    assert (found.sqnr_db, found.max_abs_error, found.top1_agreement, found.elements) == (inf, 0, 1, 9)
    assert found.cosine == pytest.approx(1)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["sqnr_db"] == "inf"


def test_an_error_of_a_tenth_everywhere_is_20_decibels():
    found = fidelity(np.full((2, 3, 4), 10.0), np.full((2, 3, 4), 11.0))
    assert found.sqnr_db == pytest.approx(20)
    assert (found.max_abs_error, found.top1_agreement, found.excluded, found.note) == (1, None, 0, None)


def test_top1_agreement_is_the_share_of_rows_with_the_same_largest_column():
    found = fidelity(np.array([[1.0, 2], [3, 1], [0, 1], [5, 4]]), np.array([[1.0, 3], [1, 3], [0, 1], [9, 4]]))
    assert found.top1_agreement == 0.75


@pytest.mark.parametrize("output", [np.zeros((3, 1)), np.zeros(3), np.zeros((3, 4), dtype=np.int64)])
def test_outputs_that_are_no_scores_have_no_top1_agreement(output):
    assert fidelity(output, output).top1_agreement is None


def test_a_reference_of_zeros_has_sqnr_minus_infinity_and_no_cosine():
    found = fidelity(np.zeros(4), np.ones(4))
    assert (found.sqnr_db, found.cosine) == (-inf, None)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["sqnr_db"] == "-inf"


def test_infinities_on_one_side_give_words_and_no_figures():
    found = fidelity(np.array([1.0, 2, 3]), np.array([1.0, np.nan, np.inf]))
    assert (found.sqnr_db, found.max_abs_error, found.cosine, found.top1_agreement) == (None, None, None, None)
    assert found.note == "2 of 3 elements are NaN or infinite on one side, or differently on the two"
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["sqnr_db"] is None


def test_an_infinity_of_the_other_sign_is_a_difference():
    assert fidelity(np.array([1.0, np.inf]), np.array([1.0, -np.inf])).sqnr_db is None


def test_the_same_infinities_on_both_sides_are_left_out_and_counted():
    found = fidelity(np.array([[-np.inf, 1.0], [np.nan, 2]]), np.array([[-np.inf, 1.0], [np.nan, 2]]))
    assert (found.elements, found.excluded, found.sqnr_db) == (2, 2, inf)
    assert found.note == "2 of 4 elements are the same NaN or infinity on both sides"


def test_nothing_but_the_same_nan_gives_words():
    found = fidelity(np.array([np.nan]), np.array([np.nan]))
    assert (found.elements, found.sqnr_db) == (0, None)
    assert found.note == "all 1 elements are the same NaN or infinity on both sides"


@given(finite)
def test_no_finite_output_gives_nonsense_numbers(reference):
    found = fidelity(reference, reference / 2)
    assert found.sqnr_db is not None
    assert not np.isnan(found.sqnr_db)
    assert found.cosine is None or -1 <= found.cosine <= 1
    json.dumps(found.to_json(), allow_nan=False)


@given(finite.filter(lambda array: np.abs(array).max() > 1e-100), st.sampled_from([0.5, 4.0, 2.0**-30]))
def test_sqnr_does_not_depend_on_the_scale(reference, factor):
    variant = reference * 0.75
    expected = fidelity(reference, variant).sqnr_db
    assert fidelity(reference * factor, variant * factor).sqnr_db == pytest.approx(expected, abs=1e-6)


def test_other_shapes_are_refused():
    with pytest.raises(DataError, match=r"the outputs have the shapes \[2, 3\] and \[3, 2\]"):
        fidelity(np.zeros((2, 3)), np.zeros((3, 2)))


def test_outputs_without_elements_are_refused():
    with pytest.raises(DataError, match=r"the reference output of shape \[0, 3\] has no elements"):
        fidelity(np.zeros((0, 3)), np.zeros((0, 3)))


def test_outputs_that_are_no_numbers_are_refused():
    with pytest.raises(DataError, match="the reference output is <U1, not real numbers"):
        fidelity(np.array(["a"]), np.array(["a"]))
