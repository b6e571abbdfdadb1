"""The order of calls."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precbench.errors import UsageError
from precbench.timing import Schedule, plan_schedule, rounds_for


@given(st.integers(1, 5), st.integers(1, 30), st.integers(0, 5), st.integers(0, 2**40))
def test_every_round_calls_every_arm_once(arms, rounds, warmup, seed):
    schedule = plan_schedule([f"arm{i}" for i in range(arms)], rounds=rounds, warmup_rounds=warmup, seed=seed)
    assert (schedule.rounds, schedule.warmup_rounds) == (rounds, warmup)
    assert schedule.order.dtype == np.intp
    for row in [*schedule.order.tolist(), *schedule.warmup_order.tolist()]:
        assert sorted(row) == list(range(arms))


def test_the_same_seed_gives_the_same_order_and_another_another():
    first, second, other = (plan_schedule("abc", rounds=50, warmup_rounds=2, seed=s).order for s in (7, 7, 8))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_the_warm_ups_order_does_not_depend_on_the_number_of_rounds():
    few, many = (plan_schedule("abc", rounds=r, warmup_rounds=9, seed=1).warmup_order for r in (1, 100))
    np.testing.assert_array_equal(few, many)


def test_each_arm_stands_first_about_as_often():
    first = plan_schedule("ab", rounds=2000, warmup_rounds=0, seed=3).order[:, 0]
    assert 900 < first.sum() < 1100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounds": 0}, "0 rounds is outside 1..1000000"),
        ({"rounds": 1_000_001}, "1000001 rounds is outside"),
        ({"warmup_rounds": -1}, "-1 warm-up rounds is outside 0..1000000"),
        ({"calls_per_sample": 0}, "0 calls per sample is outside 1..1000000"),
        ({"seed": -1}, "the seed -1 is negative"),
        ({"arms": []}, "are none, or not all different"),
        ({"arms": ["a", "a"]}, "are none, or not all different"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(UsageError, match=message):
        plan_schedule(**{"arms": ["a", "b"], "rounds": 5, "warmup_rounds": 1, "seed": 0, **change})


def test_an_order_that_calls_an_arm_twice_cannot_be_built():
    none = np.empty((0, 2), dtype=np.intp)
    with pytest.raises(UsageError, match="does not call every arm once in every round"):
        Schedule(arms=("a", "b"), order=np.array([[0, 0]]), warmup_order=none, seed=0)


def test_the_rounds_fill_the_budget_going_by_the_warm_rounds():
    warmup = np.array([[900_000_000, 900_000_000], [40_000_000, 60_000_000], [40_000_000, 60_000_000]])
    assert rounds_for(5.0, warmup) == 50


def test_one_warm_up_round_is_taken_as_it_is():
    assert rounds_for(1.0, np.array([[10_000_000]])) == 100


def test_the_rounds_keep_their_bounds():
    warmup = np.array([[1_000_000_000]])
    assert rounds_for(1.0, warmup, least=20) == 20
    assert rounds_for(1e9, warmup, most=500) == 500
    assert rounds_for(1.0, np.array([[0]]), most=500) == 500


@pytest.mark.parametrize("budget", [0, -1, float("inf"), float("nan")])
def test_a_budget_that_is_no_time_is_refused(budget):
    with pytest.raises(UsageError, match="is not a positive number"):
        rounds_for(budget, np.array([[1]]))


def test_a_budget_without_warm_up_is_refused():
    with pytest.raises(UsageError, match="a time budget needs at least one warm-up round"):
        rounds_for(1.0, np.empty((0, 2), dtype=np.int64))


def test_bounds_without_a_number_between_them_are_refused():
    with pytest.raises(UsageError, match="between 10 and 5 rounds there is none"):
        rounds_for(1.0, np.array([[1]]), least=10, most=5)
