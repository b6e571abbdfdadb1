"""Which arm is called when."""

import json
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precbench.errors import UsageError
from precbench.timing.schedule import ProcessPlan, check_arms

few = settings(max_examples=50, deadline=None)

seeds = st.integers(0, 2**40)


def plan_of(count=2, **changes):
    return ProcessPlan(
        **{"replicate": 0, "process": 0, "arms": tuple(f"arm {i}" for i in range(count)), "seed": 0, **changes}
    )


def blocks_of(plan, count):
    return list(islice(plan.block_orders(), count))


@few
@given(st.integers(1, 12), seeds, st.integers(0, 99))
def test_every_block_reads_the_same_backwards_and_has_each_arm_twice(arms, seed, process):
    for order in blocks_of(plan_of(arms, seed=seed, process=process), 20):
        assert order == order[::-1]
        assert Counter(order) == dict.fromkeys(range(arms), 2)


def test_two_arms_are_called_in_abba_or_baab_about_equally_often():
    counts = Counter(map(tuple, blocks_of(plan_of(seed=3), 1000)))
    assert set(counts) == {(0, 1, 1, 0), (1, 0, 0, 1)}
    assert 440 < counts[0, 1, 1, 0] < 560


def test_three_arms_are_called_in_all_six_orders():
    assert len(set(map(tuple, blocks_of(plan_of(3), 200)))) == 6


@few
@given(seeds, st.integers(0, 99), st.integers(0, 30))
def test_orders_depend_on_seed_and_process_alone_and_a_longer_run_only_adds_to_them(seed, process, fewer):
    short = blocks_of(plan_of(3, seed=seed, process=process, blocks=1, calls=7, measure_s=9, replicate=1), fewer)
    assert short == blocks_of(plan_of(3, seed=seed, process=process), 30)[:fewer]


def test_another_seed_or_process_has_other_orders():
    first, seed, process = (blocks_of(plan_of(3, **change), 30) for change in ({}, {"seed": 1}, {"process": 1}))
    assert first != seed != process != first


def test_a_warm_up_round_calls_every_arm_once_and_in_an_order_of_its_own():
    plan = plan_of(4)
    rounds = list(islice(plan.warmup_orders(), 50))
    assert all(sorted(order) == [0, 1, 2, 3] for order in rounds)
    assert rounds == list(islice(plan.warmup_orders(), 50))
    assert rounds != [order[:4] for order in blocks_of(plan, 50)]


@few
@given(st.integers(1, 8), st.integers(0, 5), seeds)
def test_over_as_many_replicates_as_arms_each_arm_is_made_once_in_every_place(arms, cycle, seed):
    orders = [plan_of(arms, replicate=arms * cycle + turn, seed=seed).creation_order() for turn in range(arms)]
    for place in zip(*orders, strict=True):
        assert sorted(place) == sorted(plan_of(arms).arms)


def test_the_order_of_making_is_drawn_anew_after_each_round():
    orders = {tuple(plan_of(4, replicate=4 * cycle).creation_order()) for cycle in range(20)}
    assert len(orders) > 10


@few
@given(
    replicate=st.integers(0, 9),
    process=st.integers(0, 9),
    seed=seeds,
    blocks=st.none() | st.integers(1, 1000),
    calls=st.none() | st.integers(1, 50),
    measure_s=st.floats(0, 1e6),
    warmup_s=st.floats(0, 1e6),
    room_s=st.floats(0, 1e6) | st.just(float("inf")),
)
def test_a_plan_survives_json(**values):
    plan = plan_of(3, **values)
    assert ProcessPlan.from_json(json.loads(json.dumps(plan.to_json(), allow_nan=False))) == plan


@pytest.mark.parametrize(
    ("change", "problem", "remedy"),
    [
        ({"seed": -1}, "the seed -1 is negative", "give a whole number from 0"),
        ({"replicate": -1}, "the replicate -1 is negative", "give a whole number from 0"),
        ({"process": -2}, "the process -2 is negative", "give a whole number from 0"),
        ({"blocks": 0}, "0 blocks is outside 1..100000", "give a number in 1..100000"),
        ({"calls": 51}, "51 calls is outside 1..50", "give a number in 1..50"),
        ({"measure_s": float("nan")}, "nan s of measuring have no end", "give seconds from 0"),
        ({"measure_s": float("inf")}, "inf s of measuring have no end", "give seconds from 0"),
        ({"warmup_s": -1.0}, "-1.0 s of warming up have no end", "give seconds from 0"),
        ({"arms": ()}, "the arms [] are none, or not all different", "give each arm a name of its own"),
        ({"arms": ("a", "a")}, "the arms ['a', 'a'] are none, or not all different", "give each arm a name of its own"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused_when_built_and_when_read(change, problem, remedy):
    with pytest.raises(UsageError) as caught:
        plan_of(**change)
    assert (caught.value.problem, caught.value.remedy) == (problem, remedy)
    with pytest.raises(UsageError):
        ProcessPlan.from_json({**plan_of().to_json(), **change})


@pytest.mark.parametrize("value", [None, [], {}, {**plan_of().to_json(), "seed": "x"}])
def test_json_that_is_no_plan_raises_what_the_reader_of_a_record_expects(value):
    with pytest.raises((KeyError, TypeError, ValueError)):
        ProcessPlan.from_json(value)


def test_arms_of_different_names_are_fine():
    check_arms(["base", "control"])
