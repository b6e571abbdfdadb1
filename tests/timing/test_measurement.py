"""Measuring, against a clock that knows the exact times."""

import gc
import json

import numpy as np
import pytest

from precbench.errors import DataError, UsageError
from precbench.timing import Samples, measure, measure_within, plan_schedule


class FakeClock:
    """A clock that only moves when an arm is called."""

    def __init__(self):
        self.now_ns = 0
        self.calls = []

    def __call__(self):
        return self.now_ns

    def arm(self, name, duration_ns):
        def call():
            self.calls.append(name)
            self.now_ns += duration_ns(self.now_ns) if callable(duration_ns) else duration_ns

        return call


@pytest.fixture
def clock():
    return FakeClock()


def test_every_time_is_kept_under_its_arm_whatever_the_order(clock):
    schedule = plan_schedule("abc", rounds=20, warmup_rounds=3, seed=5)
    arms = {name: clock.arm(name, time) for name, time in (("c", 30), ("a", 10), ("b", 20))}
    samples = measure(arms, schedule, clock=clock)
    assert samples.elapsed_ns.tolist() == [[10, 20, 30]] * 20
    assert samples.warmup_ns.tolist() == [[10, 20, 30]] * 3
    assert samples.elapsed_ns.dtype == np.int64
    assert samples.of("b").tolist() == [20] * 20


def test_the_calls_follow_the_schedule_warm_up_first(clock):
    schedule = plan_schedule("ab", rounds=9, warmup_rounds=2, seed=5)
    measure({name: clock.arm(name, 1) for name in "ab"}, schedule, clock=clock)
    planned = [*schedule.warmup_order.ravel(), *schedule.order.ravel()]
    assert clock.calls == ["ab"[arm] for arm in planned]


def test_a_disturbed_round_is_kept(clock):
    times = iter([5, 5, 1_000_000, 5])
    samples = measure(
        {"a": clock.arm("a", lambda _: next(times))}, plan_schedule("a", rounds=4, warmup_rounds=0, seed=0), clock=clock
    )
    assert samples.elapsed_ns.ravel().tolist() == [5, 5, 1_000_000, 5]


def test_a_sample_of_several_calls_is_timed_as_a_whole(clock):
    schedule = plan_schedule("a", rounds=2, warmup_rounds=1, seed=0, calls_per_sample=7)
    samples = measure({"a": clock.arm("a", 3)}, schedule, clock=clock)
    assert samples.elapsed_ns.tolist() == [[21], [21]]
    assert samples.median_ns("a") == 3
    assert len(clock.calls) == 21


def test_a_budget_fixes_the_rounds_from_the_warm_up(clock):
    arms = {"a": clock.arm("a", 30_000_000), "b": clock.arm("b", 20_000_000)}
    samples = measure_within(arms, budget_s=2.0, warmup_rounds=3, seed=4, clock=clock)
    assert samples.elapsed_ns.shape == (40, 2)
    replay = plan_schedule(("a", "b"), rounds=40, warmup_rounds=3, seed=4)
    np.testing.assert_array_equal(samples.schedule.order, replay.order)
    np.testing.assert_array_equal(samples.schedule.warmup_order, replay.warmup_order)
    assert clock.calls == ["ab"[arm] for arm in [*replay.warmup_order.ravel(), *replay.order.ravel()]]


def test_a_budget_without_warm_up_is_refused(clock):
    with pytest.raises(UsageError, match="needs at least one warm-up round"):
        measure_within({"a": clock.arm("a", 1)}, budget_s=1.0, warmup_rounds=0, seed=0, clock=clock)


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_off_while_measuring_and_then_as_before(clock, enabled):
    seen = []
    (gc.enable if enabled else gc.disable)()
    try:
        measure(
            {"a": lambda: seen.append(gc.isenabled())},
            plan_schedule("a", rounds=3, warmup_rounds=1, seed=0),
            clock=clock,
        )
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
    assert seen == [False] * 4


def test_an_arm_that_fails_passes_its_error_on_and_garbage_collection_comes_back(clock):
    def fail():
        raise KeyError("arm")

    with pytest.raises(KeyError):
        measure({"a": fail}, plan_schedule("a", rounds=1, warmup_rounds=0, seed=0), clock=clock)
    assert gc.isenabled()


def test_progress_is_stepped_once_a_round(clock):
    class Counting:
        def track(self, label, total):
            self.label, self.total, self.steps = label, total, []
            return self

        def __enter__(self):
            return self.steps.append

        def __exit__(self, *_):
            return None

    progress = Counting()
    measure(
        {"a": clock.arm("a", 1)}, plan_schedule("a", rounds=4, warmup_rounds=2, seed=0), clock=clock, progress=progress
    )
    assert (progress.label, progress.total, progress.steps) == ("timing", 6, [1] * 6)


def test_the_real_clock_sees_real_time():
    samples = measure({"a": lambda: sum(range(10_000))}, plan_schedule("a", rounds=5, warmup_rounds=1, seed=0))
    assert (samples.elapsed_ns > 0).all()


def test_other_arms_than_the_schedules_are_refused(clock):
    with pytest.raises(UsageError, match="the arms are a, c, the schedule's are a, b"):
        measure({"a": clock, "c": clock}, plan_schedule("ab", rounds=1, warmup_rounds=0, seed=0), clock=clock)


def test_samples_survive_json(clock):
    schedule = plan_schedule(["base", "dp4"], rounds=6, warmup_rounds=0, seed=9, calls_per_sample=2)
    samples = measure({"base": clock.arm("b", 7), "dp4": clock.arm("v", 9)}, schedule, clock=clock)
    value = json.loads(json.dumps(samples.to_json(), allow_nan=False))
    assert Samples.from_json(value).to_json() == samples.to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"elapsed_ns": [[1, 2]]},
        {"elapsed_ns": [[1.5, 2]] * 6},
        {"elapsed_ns": [[-1, 2]] * 6},
        {"order": [[0, 0]] * 6},
        {"arms": None},
        {"seed": "x"},
        {"elapsed_ns": [[1], [1, 2]]},
        {"elapsed_ns": "none"},
        {"calls_per_sample": 0},
        {"elapsed_ns": [[10**30, 1]] * 6},
    ],
)
def test_json_that_is_no_samples_is_refused(change):
    schedule = plan_schedule("ab", rounds=6, warmup_rounds=0, seed=9)
    value = measure({"a": int, "b": int}, schedule).to_json()
    with pytest.raises(DataError, match="these are no timing samples"):
        Samples.from_json({**value, **change})
    with pytest.raises(DataError, match="these are no timing samples"):
        Samples.from_json([])


def test_an_unknown_arm_is_refused_with_the_known_ones(clock):
    samples = measure({"a": clock.arm("a", 1)}, plan_schedule("a", rounds=1, warmup_rounds=0, seed=0), clock=clock)
    with pytest.raises(UsageError, match="there is no arm 'x'") as caught:
        samples.of("x")
    assert caught.value.remedy == "the arms are a"


def test_times_that_do_not_fit_the_schedule_cannot_be_built():
    schedule = plan_schedule("ab", rounds=2, warmup_rounds=0, seed=0)
    none = np.empty((0, 2), dtype=np.int64)
    with pytest.raises(DataError, match=r"times of shape \[2, 2\] and type float64 do not fit"):
        Samples(schedule=schedule, elapsed_ns=np.ones((2, 2)), warmup_ns=none)
