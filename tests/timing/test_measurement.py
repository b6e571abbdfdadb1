"""Measuring in one process, against a clock that knows the exact times."""

import gc
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from precbench.errors import UsageError
from precbench.timing.journal import Kind
from precbench.timing.measurement import measure, time_calls
from precbench.timing.samples import ProcessSamples
from precbench.timing.schedule import ProcessPlan
from precbench.timing.simulation import Machine, Noise
from precbench.timing.statistics import estimate

MS = 1_000_000


def plan_of(*arms, **changes):
    return ProcessPlan(**{"replicate": 0, "process": 0, "arms": arms, "seed": 5, "blocks": 4, **changes})


def measured(clock, plan, durations_ns, *, making_ns=0, observe=None):
    """Carry out a plan with callables of known length; return what was kept, put together."""
    records = []

    def make(arm):
        clock.now_ns += making_ns if isinstance(making_ns, int) else making_ns[arm]
        return clock.callable(arm, durations_ns[arm])

    measure(make, plan, lambda kind, words: records.append((kind, list(words))), clock=clock, observe=observe)
    return ProcessSamples.from_records(plan, records)


def test_every_time_is_kept_under_its_arm_whatever_the_order(clock):
    samples = measured(clock, plan_of("c", "a", "b", calls=3), {"a": 10, "b": 20, "c": 30})
    for arm, duration in (("a", 10), ("b", 20), ("c", 30)):
        assert samples.of(arm).tolist() == [[[duration] * 3] * 2] * 4
    assert samples.of("a").dtype == np.int64
    assert samples.started_ns.ravel().tolist() == sorted(samples.started_ns.ravel().tolist())
    assert (samples.started_ns + samples.elapsed_ns).ravel()[:-1].tolist() == samples.started_ns.ravel()[1:].tolist()


def test_the_calls_follow_the_plan_from_the_first_to_the_last(clock):
    plan = plan_of("a", "b", calls=8)
    samples = measured(clock, plan, {"a": 3, "b": 4})
    rounds = len(samples.warmup_ns)
    expected = plan.creation_order()
    expected += [arm for order in islice(plan.warmup_orders(), rounds) for i in order for arm in ["ab"[i]] * 2]
    expected += [arm for order in islice(plan.block_orders(), 4) for i in order for arm in ["ab"[i]] * 9]
    assert clock.calls == expected


def test_creation_and_first_run_are_recorded_per_arm(clock):
    durations = {"a": iter([500, *[5] * 999]).__next__, "b": iter([700, *[5] * 999]).__next__}
    samples = measured(clock, plan_of("a", "b", calls=1), durations, making_ns={"a": 11, "b": 22})
    assert samples.creation_ns == {"a": 11, "b": 22}
    assert samples.first_run_ns == {"a": 500, "b": 700}
    assert set(samples.elapsed_ns.ravel().tolist()) == {5}


def test_the_first_call_after_a_switch_is_kept_and_not_used():
    machine = Machine(times_s={"a": 0.01, "b": 0.02}, noise=Noise(jitter=0, switch=2.0), seed=0)
    samples = machine.run_process(plan_of("a", "b", calls=2))
    switches = samples.elapsed_ns[:, :, 0]
    turned = samples.order[:, 1] == samples.order[:, 2]
    assert turned.all()
    assert (switches[:, [1, 3]] >= 3 * samples.elapsed_ns[:, [1, 3], 1] - 9).all()
    assert set(samples.of("a").ravel().tolist()) == {10 * MS}
    assert samples.log_times()[0] == pytest.approx(np.log([10 * MS, 20 * MS]))


@pytest.mark.parametrize(
    ("call_ns", "calls"),
    [(126 * MS, 1), (100 * MS, 3), (10 * MS, 3), (2 * MS, 5), (1 * MS, 10), (MS // 3, 31), (1_000, 50), (0, 50)],
)
def test_a_position_lasts_about_ten_milliseconds_with_3_to_50_calls_or_1_if_it_is_long(clock, call_ns, calls):
    samples = measured(clock, plan_of("a", "b", warmup_s=0.0), {"a": call_ns, "b": 7})
    assert samples.calls == calls
    assert samples.elapsed_ns.shape == (4, 4, 1 + calls)


def test_a_long_call_is_not_made_five_times_to_learn_its_length(clock):
    measured(clock, plan_of("a", blocks=1, warmup_s=1.0), {"a": 60_000 * MS})
    first, probe, warm_up, positions = 1, 1, 1, 4
    assert len(clock.calls) == first + probe + warm_up + positions


def test_drift_that_is_linear_within_blocks_cancels_exactly(clock):
    """Every call takes 0.1 % longer than the one before it, whatever it calls."""

    def drifting(base_ns):
        return lambda: round(base_ns * 1.001 ** len(clock.calls))

    samples = measured(clock, plan_of("base", "variant", "other", calls=2), {
        "base": drifting(1e15), "variant": drifting(0.8e15), "other": drifting(1.1e15)
    })  # fmt: skip
    logs = samples.log_times()
    assert samples.of("base")[-1, 0, 0] > 1.05 * samples.of("base")[0, 0, 0]
    np.testing.assert_allclose(logs[:, 1] - logs[:, 0], np.log(0.8), rtol=1e-12)
    np.testing.assert_allclose(logs[:, 2] - logs[:, 0], np.log(1.1), rtol=1e-12)
    assert estimate([samples], arm="variant", base="base").mean == pytest.approx(np.log(0.8), rel=1e-12)


def test_the_warm_up_ends_when_the_process_is_warm_and_not_before(clock):
    """At the start calls take twice as long; after 0.3 s nothing of that is left."""

    def warming():
        return MS + max(0, MS - clock.now_ns // 300)

    samples = measured(clock, plan_of("a", "b", calls=10, warmup_s=5.0), {"a": warming, "b": warming})
    one_round_ns = 4 * MS
    assert samples.steady
    assert 300 * MS <= samples.warm_ns <= 300 * MS + 10 * one_round_ns
    assert set(samples.of("a").ravel().tolist()) == {MS}


def test_the_time_discarded_is_that_of_the_warm_up_rounds_which_are_kept(clock):
    samples = measured(clock, plan_of("a", "b", calls=8), {"a": 3 * MS, "b": 4 * MS})
    assert samples.steady
    assert len(samples.warmup_ns) == 10
    assert samples.warm_ns == samples.warmup_ns.sum() == 10 * 2 * (3 + 4) * MS
    for order, times in zip(samples.warmup_order, samples.warmup_ns, strict=True):
        assert times.tolist() == [[6 * MS, 8 * MS][arm] for arm in order]


def test_a_process_that_never_gets_steady_is_measured_all_the_same_and_says_so(clock):
    growing = {"a": lambda: 1000 * 2 ** min(40, len(clock.calls) // 4)}
    samples = measured(clock, plan_of("a", calls=4, warmup_s=0.5), growing)
    assert not samples.steady
    assert samples.warm_ns >= 0.5e9
    assert samples.blocks == 4


@pytest.mark.parametrize(("measure_s", "blocks"), [(0.0, 1), (0.1, 1), (0.41, 3), (1.0, 5)])
def test_without_a_number_of_blocks_it_measures_until_its_time_is_over(clock, measure_s, blocks):
    samples = measured(
        clock, plan_of("a", "b", blocks=None, calls=1, measure_s=measure_s), {"a": 20 * MS, "b": 30 * MS}
    )
    assert samples.blocks == blocks


def test_a_process_keeps_to_the_room_that_is_left_for_it(clock):
    plan = plan_of("a", "b", blocks=None, calls=1, measure_s=100.0, warmup_s=1.0, room_s=5.0)
    measured(clock, plan, {"a": 20 * MS, "b": 30 * MS})
    assert 5.0 <= clock.now_ns / 1e9 <= 5.0 + 0.2


def test_no_process_makes_more_blocks_than_a_plan_can_repeat(clock, monkeypatch):
    monkeypatch.setattr("precbench.timing.measurement.MAX_BLOCKS", 7)
    samples = measured(clock, plan_of("a", blocks=None, calls=1, measure_s=1e9), {"a": 1})
    assert samples.blocks == 7


def test_no_room_for_a_block_is_refused_with_its_time(clock):
    with pytest.raises(UsageError, match=r"a block takes about 0\.2 s and 0\.09 s of the budget are left") as caught:
        measured(clock, plan_of("a", "b", calls=1, warmup_s=0.0, room_s=0.19), {"a": 20 * MS, "b": 30 * MS})
    assert caught.value.remedy == "give a longer --budget, a smaller --batch, or fewer models in one call"


def test_a_disturbed_call_is_kept(clock):
    times = iter([5] * 14 + [5, 5, 1_000_000, 5, 5, 5])
    samples = measured(clock, plan_of("a", calls=2, blocks=1, warmup_s=1.0), {"a": lambda: next(times, 5)})
    assert samples.elapsed_ns.size == 6
    assert (samples.elapsed_ns == 1_000_000).sum() + (samples.warmup_ns == 1_000_000).sum() == 1


def test_what_is_observed_after_each_block_is_kept_with_it(clock):
    temperatures = iter([61, 62, 63, 64])
    samples = measured(clock, plan_of("a", calls=1), {"a": 1}, observe=lambda: {"celsius": next(temperatures)})
    assert samples.readings == tuple({"celsius": t} for t in (61, 62, 63, 64))


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_garbage_collection_is_off_while_measuring_and_then_as_before_also_after_an_error(clock, enabled, fails):
    seen = []

    def call():
        seen.append(gc.isenabled())
        if fails and len(seen) == 20:
            raise KeyError("arm")

    (gc.enable if enabled else gc.disable)()
    try:
        measure(lambda _: call, plan_of("a", calls=1), lambda *_: None, clock=clock)
    except KeyError:
        assert fails
    finally:
        after = gc.isenabled()
        gc.enable()
    assert after is enabled
    assert Counter(seen) == {False: 20 if fails else 1 + 10 + 16}


def test_an_arm_that_fails_half_way_passes_its_error_on_and_the_blocks_before_are_kept(clock):
    plan, records = plan_of("a", "b", calls=1), []

    def make(arm):
        def call():
            clock.now_ns += 10
            if len([kind for kind, _ in records if kind is Kind.BLOCK]) == 2 and arm == "b":
                raise OSError("gone")

        return call

    with pytest.raises(OSError, match="gone"):
        measure(make, plan, lambda kind, words: records.append((kind, list(words))), clock=clock)
    samples = ProcessSamples.from_records(plan, records, ended="failed: gone")
    assert (samples.blocks, samples.lost_block) == (2, 2)
    assert set(samples.elapsed_ns.ravel().tolist()) == {10}


def test_the_real_clock_sees_real_time():
    records = []
    plan = plan_of("a", blocks=1, calls=1, warmup_s=0.0)
    measure(lambda _: lambda: sum(range(1000)), plan, lambda *record: records.append(record))
    assert (ProcessSamples.from_records(plan, records).elapsed_ns > 0).all()


def test_calls_are_timed_one_by_one(clock):
    durations = iter([3, 1, 4])
    assert time_calls(clock.callable("a", lambda: next(durations)), 3, clock) == ([0, 3, 4], [3, 1, 4])
    assert time_calls(clock.callable("a", 1), 0, clock) == ([], [])
