"""Damage against SciPy, costs against exact cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax
from scipy.stats import entropy

from precbench.errors import UsageError
from precbench.grids import DecimalGrid
from precbench.search.costs import Objective, layer_cost, parse_objective
from precbench.search.damage import damage, divergences, finite_scores, lead_shifts, log_probabilities

SCORES = hnp.arrays(np.float64, (4, 5), elements=st.floats(-8, 8))


@given(SCORES, SCORES)
def test_scores_and_probabilities_give_the_divergence_of_their_classes(one: np.ndarray, other: np.ndarray) -> None:
    p, q = (np.exp(log_softmax(scores, axis=1)) for scores in (one, other))
    expected = entropy(p, q, axis=1)
    assert divergences(log_probabilities(one - 9), log_probabilities(other - 9)) == pytest.approx(expected, abs=1e-9)
    assert divergences(log_probabilities(p), log_probabilities(q)) == pytest.approx(expected, abs=1e-9)


def test_nothing_diverges_from_itself() -> None:
    scores = log_probabilities(np.array([[0.0, 1.0, 0.0], [0.2, 0.3, 0.5]]))
    assert divergences(scores, scores).tolist() == [0, 0]


def test_bits_are_those_of_the_codes_and_bytes_fall_with_the_decimals() -> None:
    values = np.array([0.11, -0.34, 0.52], np.float32)
    assert layer_cost([values], DecimalGrid(1), Objective.BITS) == 3 * 4  # codes 1, -3, 5
    assert layer_cost([values], DecimalGrid(2), Objective.BITS) == 3 * 7  # 11, -34, 52
    many = np.random.default_rng(0).normal(0, 0.1, 20_000).astype(np.float32)
    sizes = [layer_cost([many], DecimalGrid(n), Objective.BYTES) for n in range(6)]
    assert sizes == sorted(sizes)
    assert layer_cost([many, many], DecimalGrid(2), Objective.BYTES) == 2 * sizes[2]


def test_a_misspelt_objective_is_refused_with_the_nearest() -> None:
    assert parse_objective("bits") is Objective.BITS
    with pytest.raises(UsageError, match="no objective 'byte'") as caught:
        parse_objective("byte")
    assert "the nearest are bytes" in caught.value.remedy or "the nearest is bytes" in caught.value.remedy


@given(st.floats(0.1, 5), st.integers(0, 99))
def test_a_common_scale_and_shift_of_the_logits_is_no_shift_of_a_lead(scale: float, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(6, 5))
    found = lead_shifts(log_probabilities(scores - 9), log_probabilities(scale * scores - 99))
    assert found == pytest.approx(0, abs=1e-9)


def test_a_lead_that_halves_shifts_by_a_half_and_one_that_is_lost_by_more_than_the_whole() -> None:
    one = np.log(np.array([[0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.8, 0.2]] * 50))
    other = one.copy()
    other[0] = np.log([2 / 3, 1 / 3])  # log 4 becomes log 2
    other[1] = np.log([0.3, 0.7])
    other[2] = np.log([8 / 9, 1 / 9])  # log 8
    found = lead_shifts(one, other)
    assert found[0] == pytest.approx(-0.5, abs=0.02)
    assert found[1] < -1
    assert found[2] == pytest.approx(0.5, abs=0.02)
    assert found[3] == pytest.approx(0, abs=0.01)
    assert damage(found[:3]) == pytest.approx((0.25 + 1 + 0.25) / 3, rel=0.05)


def test_small_shifts_add_up() -> None:
    rng = np.random.default_rng(0)
    base, one, other = (scale * rng.normal(size=(400, 5)) for scale in (1, 1e-4, 1e-4))
    reference = log_probabilities(base)
    apart = lead_shifts(reference, log_probabilities(base + one)) + lead_shifts(
        reference, log_probabilities(base + other)
    )
    assert lead_shifts(reference, log_probabilities(base + one + other)) == pytest.approx(apart, abs=1e-3)


def test_scores_that_are_no_numbers_say_nothing_and_the_rest_stays() -> None:
    scores = np.array([[1.0, 2.0], [np.nan, 2.0], [np.inf, 0.0]])
    assert finite_scores(scores).tolist() == [[1, 2], [0.5, 0.5], [0.5, 0.5]]
    reference = np.log([[0.8, 0.2]] * 3)
    assert lead_shifts(reference, np.log([[0.5, 0.5]] * 3)).tolist() == [-10, -10, -10]
