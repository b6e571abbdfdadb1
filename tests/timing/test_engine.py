"""One fresh process after another, on machines that do not exist."""

from collections.abc import Callable

import numpy as np
import pytest

from precbench.errors import ModelError, NoTimeError, UsageError
from precbench.timing.engine import Design, measure_processes, replay
from precbench.timing.samples import INTERRUPTED, ProcessSamples
from precbench.timing.schedule import ProcessPlan
from precbench.timing.simulation import Machine, Noise
from precbench.timing.statistics import estimate
from precbench.timing.verdict import Comparison

COMPARISON = Comparison(arm="variant", base="base", control="control")
GROUP = ("base", "control", "variant")
CALL_S = 0.01
OFFSETS = Noise(jitter=0.01, offset=0.004, switch=0.3, cold=3.0)


def design_of(**changes):
    return Design(**{"groups": (GROUP,), "comparisons": (COMPARISON,), "budget_s": 30.0, **changes})


def machine_of(ratio=1.0, *, noise=OFFSETS, call_s=CALL_S, seed=0, **changes):
    times_s = {"base": call_s, "control": call_s, "variant": ratio * call_s}
    return Machine(times_s=times_s, noise=noise, seed=seed, **changes)


def measured(machine, **changes):
    return measure_processes(design_of(**changes), machine.run_process, clock=machine.clock)


def interrupting(machine: Machine, number: int, error: BaseException) -> Callable[[ProcessPlan], ProcessSamples]:
    """Run processes as the machine does, but raise in the one of this number."""

    def run(plan: ProcessPlan) -> ProcessSamples:
        if plan.process == number:
            raise error
        return machine.run_process(plan)

    return run


def failing(machine: Machine, number: int, error: ModelError) -> Callable[[ProcessPlan], ProcessSamples]:
    """Run processes as the machine does, but the one of this number ends with an error after its blocks."""

    def run(plan: ProcessPlan) -> ProcessSamples:
        if plan.process != number:
            return machine.run_process(plan)
        return ProcessSamples.from_records(plan, [], ended=f"failed: {error.problem}", failure=error)

    return run


@pytest.mark.parametrize("budget_s", [10.0, 30.0, 120.0])
@pytest.mark.parametrize("start_s", [0.05, 0.25, 2.0])
def test_it_keeps_to_its_budget_and_is_one_process_over_it_at_most(budget_s, start_s):
    machine = machine_of(start_s=start_s)
    measurement = measured(machine, budget_s=budget_s)
    one_block_s = 6 * 2 * CALL_S
    assert measurement.ended == "budget spent"
    assert measurement.complete
    assert measurement.elapsed_s == machine.now_ns / 1e9
    assert 0.7 * budget_s <= measurement.elapsed_s <= budget_s + 1.4 * start_s + 3 * one_block_s


@pytest.mark.parametrize(
    ("budget_s", "start_s", "call_s", "least", "most"),
    [(60, 0.25, 0.01, 20, 40), (300, 0.05, 0.005, 250, 400), (20, 2.0, 0.01, 5, 5), (6, 2.0, 0.01, 2, 3)],
)
def test_it_chooses_5_processes_or_as_many_as_the_budget_holds(budget_s, start_s, call_s, least, most):
    """Fewer than five only where not even five with two blocks each fit."""
    measurement = measured(machine_of(start_s=start_s, call_s=call_s), budget_s=budget_s)
    assert least <= len(measurement.processes) <= most
    assert [samples.plan.replicate for samples in measurement.processes] == list(range(len(measurement.processes)))
    assert measurement.findings[0].ratio.units == len(measurement.processes)


def test_most_of_the_time_is_measured():
    measurement = measured(machine_of(), budget_s=60.0)
    measuring_s = sum(samples.elapsed_ns.sum() for samples in measurement.processes) / 1e9
    assert measuring_s > 0.6 * measurement.elapsed_s


@pytest.mark.parametrize("processes", [1, 2, 7])
def test_it_makes_as_many_processes_as_asked(processes):
    measurement = measured(machine_of(), processes=processes)
    assert len(measurement.processes) == processes
    assert measurement.ended == "plan done"
    assert measurement.complete
    assert 25 < measurement.elapsed_s < 31
    assert measurement.findings[0].ratio.unit == ("batch of blocks" if processes == 1 else "process")


def test_processes_asked_for_that_do_not_fit_the_budget_are_not_made():
    measurement = measured(machine_of(start_s=1.0), processes=40, budget_s=20.0)
    assert 5 < len(measurement.processes) < 20
    assert measurement.ended == "budget spent"


def test_a_single_process_keeps_to_the_budget_even_if_it_never_gets_steady():
    machine = machine_of(noise=Noise(jitter=0, warming=1e6, warming_s=8.0), call_s=1e-7)
    assert measured(machine, processes=1, budget_s=10.0).elapsed_s < 11


def test_a_target_width_stops_at_a_look_before_the_budget_is_spent():
    measurement = measured(machine_of(0.97), target_width=0.012, budget_s=60.0)
    [finding] = measurement.findings
    assert measurement.ended == "width reached"
    assert measurement.complete
    assert measurement.elapsed_s < 50
    assert len(measurement.processes) == measurement.looks[-1] == finding.ratio.units
    for ratio in (finding.ratio, finding.control):
        assert ratio.high - ratio.low <= 0.012
    assert finding.ratio.low < 0.97 < finding.ratio.high
    assert finding.verdict == "faster"


def test_a_width_out_of_reach_spends_the_budget_and_its_last_interval_is_little_wider_than_without_looks():
    looked, not_looked = (measured(machine_of(), target_width=width, budget_s=120.0) for width in (1e-6, None))
    assert looked.ended == "budget spent"
    assert len(looked.looks) == 5
    assert [len(s.order) for s in looked.processes] == [len(s.order) for s in not_looked.processes]
    wide, narrow = (run.findings[0].ratio for run in (looked, not_looked))
    assert wide.point == narrow.point
    assert 1 < np.log(wide.high / wide.low) / np.log(narrow.high / narrow.low) < 1.06


def test_calls_per_position_are_found_once_and_then_kept():
    measurement = measured(machine_of(call_s=0.004, noise=Noise(jitter=0.2)))
    assert {samples.calls for samples in measurement.processes} == {measurement.processes[0].calls}
    assert measurement.processes[0].plan.calls is None
    assert {samples.plan.calls for samples in measurement.processes[1:]} == {measurement.processes[0].calls}


def test_arms_that_may_not_share_a_process_have_one_each_in_every_replicate():
    machine = machine_of()
    machine.times_s = {**machine.times_s, "base alone": CALL_S, "control alone": CALL_S, "flushed": 0.9 * CALL_S}
    measurement = measured(
        machine,
        groups=(GROUP, ("base alone",), ("control alone",), ("flushed",)),
        comparisons=(COMPARISON, Comparison(arm="flushed", base="base alone", control="control alone")),
    )
    replicates = {}
    for samples in measurement.processes:
        replicates.setdefault(samples.plan.replicate, []).append(samples.plan.arms)
    *whole, last = replicates.values()
    assert all(sorted(arms) == sorted(whole[0]) for arms in whole)
    assert set(last) <= set(whole[0])
    assert len(set(map(tuple, whole))) > 1
    assert len(whole[0]) == 4
    shared, apart = measurement.findings
    assert shared.verdict in ("equivalent", "inconclusive")
    assert (apart.verdict, apart.ratio.unit) == ("faster", "process")
    assert apart.ratio.units - len(whole) in (0, 1)
    assert measurement.elapsed_s < 32


def test_the_first_block_not_fitting_is_refused_with_its_time_and_a_remedy():
    with pytest.raises(UsageError, match=r"a block takes about 5\.\d+ s and 2\.\d+ s of the budget are left") as caught:
        measured(machine_of(call_s=1.0), budget_s=8.0)
    assert "--budget" in caught.value.remedy


def test_a_killed_process_loses_its_block_and_the_rest_stands():
    measurement = measured(machine_of(dies=frozenset({0, 3})))
    assert measurement.ended == "budget spent"
    killed = [samples for samples in measurement.processes if samples.ended != "done"]
    assert [(s.plan.process, s.ended, s.blocks, s.lost_block) for s in killed] == [
        (0, "killed by signal 9", 2, 2),
        (3, "killed by signal 9", 2, 2),
    ]
    assert measurement.findings[0].ratio.units == len(measurement.processes) > 5
    assert measurement.failure is None


def test_three_killed_in_a_row_end_it_with_what_was_measured():
    measurement = measured(machine_of(dies=frozenset({2, 5, 6, 7})))
    assert len(measurement.processes) == 8
    assert measurement.ended == "failed: 3 measuring processes in a row died (killed by signal 9)"
    assert not measurement.complete
    assert isinstance(measurement.failure, ModelError)
    assert "--batch" in measurement.failure.remedy
    assert measurement.findings[0].ratio.units == 8


def test_a_model_that_fails_half_way_ends_it_with_what_was_measured():
    error = ModelError("out of memory", "use a smaller --batch")
    machine = machine_of()
    measurement = measure_processes(design_of(), failing(machine, 4, error), clock=machine.clock)
    assert (measurement.ended, measurement.failure) == ("failed: out of memory", error)
    assert [samples.ended for samples in measurement.processes] == ["done"] * 4 + ["failed: out of memory"]
    assert measurement.findings[0].ratio.units == 4


def test_a_model_that_fails_at_once_passes_its_error_on():
    error, machine = ModelError("out of memory", "use a smaller --batch"), machine_of()
    with pytest.raises(ModelError) as caught:
        measure_processes(design_of(), failing(machine, 0, error), clock=machine.clock)
    assert caught.value is error


@pytest.mark.parametrize("error", [OSError(12, "Cannot allocate memory"), MemoryError(), RuntimeError("a traceback")])
def test_what_was_measured_before_any_error_is_kept(error):
    machine, runs = machine_of(), iter(range(100))

    def run(plan):
        if next(runs) == 4:
            raise error
        return machine.run_process(plan)

    measurement = measure_processes(design_of(), run, clock=machine.clock)
    assert len(measurement.processes) == 4
    assert measurement.failure is error
    assert measurement.ended == f"failed: {type(error).__name__}, see its traceback"
    assert measurement.findings[0].ratio.units == 4


def test_a_call_so_slow_that_no_block_fits_is_refused_after_the_first_one():
    machine = machine_of(call_s=30.0)
    with pytest.raises(NoTimeError, match="a block takes about"):
        measured(machine, budget_s=10.0)
    one_cold_call_s = 160
    assert machine.now_ns / 1e9 < one_cold_call_s


def test_no_room_for_one_more_block_is_a_budget_spent_and_no_failure():
    machine = machine_of()
    refusal = NoTimeError("a block takes about 1 s and 0.5 s of the budget are left for it", "give a longer --budget")
    measurement = measure_processes(design_of(), failing(machine, 4, refusal), clock=machine.clock)
    assert (measurement.ended, measurement.failure) == ("budget spent", None)
    assert measurement.complete


@pytest.mark.parametrize("in_child", [True, False])
def test_ctrl_c_keeps_what_was_measured(in_child):
    machine = machine_of()

    def run(plan):
        if plan.process == 3 and not in_child:
            raise KeyboardInterrupt
        samples = machine.run_process(plan)
        return samples if plan.process < 3 else ProcessSamples.from_records(plan, [], ended=INTERRUPTED)

    measurement = measure_processes(design_of(), run, clock=machine.clock)
    assert measurement.ended == "interrupted"
    assert not measurement.complete
    assert measurement.failure is None
    assert measurement.findings[0].ratio.units == 3


def test_ctrl_c_before_anything_was_measured_is_passed_on():
    machine = machine_of()
    with pytest.raises(KeyboardInterrupt):
        measure_processes(design_of(), interrupting(machine, 0, KeyboardInterrupt()), clock=machine.clock)


def test_an_interrupted_measurement_of_which_a_look_was_taken_is_judged_at_the_level_left():
    machine = machine_of()
    measurement = measure_processes(
        design_of(target_width=1e-6, budget_s=60.0), interrupting(machine, 15, KeyboardInterrupt()), clock=machine.clock
    )
    assert measurement.looks[-1] == 15
    assert measurement.looks == tuple(sorted(measurement.looks))
    json = measurement.findings[0].to_json()
    assert json["ratio"]["units"] == 15


def width_of(ratio):
    return float(np.log(ratio.high / ratio.low))


def t_width_of(measurement):
    found = estimate(measurement.processes, arm="variant", base="base", control="control")
    return 2 * found.half_width(0.05)


def test_one_look_at_the_end_has_the_plain_t_interval_also_where_the_end_comes_early():
    whole, machine = measured(machine_of()), machine_of()
    cut = measure_processes(design_of(), interrupting(machine, 5, KeyboardInterrupt()), clock=machine.clock)
    assert (whole.looks, cut.looks) == ((len(whole.processes),), (5,))
    for measurement in (whole, cut):
        assert width_of(measurement.findings[0].ratio) == pytest.approx(t_width_of(measurement), rel=1e-6)


def test_at_the_plans_end_a_width_that_is_reached_changes_nothing_any_more():
    measurement = measured(machine_of(), processes=5, target_width=0.9)
    assert (measurement.ended, measurement.looks) == ("plan done", (5,))
    assert width_of(measurement.findings[0].ratio) == pytest.approx(t_width_of(measurement), rel=1e-6)


def test_a_replay_repeats_the_orders_the_blocks_and_the_calls_whatever_they_take():
    first = measured(machine_of(dies=frozenset({2})), seed=4)
    plans = [ProcessPlan.from_json(plan) for plan in first.plan_json()]
    slower = machine_of(call_s=7 * CALL_S, seed=9)
    again = replay(design_of(seed=4, budget_s=0.1), plans, slower.run_process)
    assert again.ended == "plan done"
    assert len(again.processes) == len(first.processes)
    for old, new in zip(first.processes, again.processes, strict=True):
        assert new.plan.creation_order() == old.plan.creation_order()
        assert new.order.tolist() == old.order.tolist()
        assert (new.calls, new.blocks) == (old.calls, old.blocks)
    assert again.plan_json() == first.plan_json()


def test_a_replay_leaves_out_processes_that_measured_nothing():
    error, machine = ModelError("gone", "look for it"), machine_of()
    measurement = measure_processes(design_of(), failing(machine, 2, error), clock=machine.clock)
    assert [plan["process"] for plan in measurement.plan_json()] == [0, 1]


def test_a_replay_that_is_interrupted_is_judged_too():
    first = measured(machine_of(), budget_s=10.0)
    plans = [ProcessPlan.from_json(plan) for plan in first.plan_json()]
    again = replay(design_of(), plans, interrupting(machine_of(), 2, KeyboardInterrupt()))
    assert (again.ended, again.findings[0].ratio.units) == ("interrupted", 2)


def test_the_same_seed_on_the_same_machine_gives_the_same_samples_and_another_other_orders():
    one, same, other = (measured(machine_of(seed=1), seed=seed, budget_s=10.0) for seed in (3, 3, 5))
    assert one.findings == same.findings
    for here, there in zip(one.processes, same.processes, strict=True):
        np.testing.assert_array_equal(here.started_ns, there.started_ns)
        np.testing.assert_array_equal(here.elapsed_ns, there.elapsed_ns)
        np.testing.assert_array_equal(here.warmup_ns, there.warmup_ns)
    assert [s.order.tolist() for s in one.processes] != [s.order.tolist() for s in other.processes]


def test_progress_goes_up_to_the_budget():
    class Counting:
        def track(self, label, total):
            self.label, self.total, self.done = label, total, []
            return self

        def __enter__(self):
            return self.done.append

        def __exit__(self, *_):
            return None

    machine, progress = machine_of(), Counting()
    measure_processes(design_of(), machine.run_process, clock=machine.clock, progress=progress)
    assert progress.label == "timing"
    assert min(progress.done) >= 0
    assert 0.9 * progress.total < sum(progress.done) <= progress.total


@pytest.mark.parametrize(
    ("change", "problem", "remedy"),
    [
        ({"budget_s": 0}, "a budget of 0 s measures nothing", "give seconds, such as 60"),
        ({"budget_s": float("nan")}, "a budget of nan s measures nothing", "give seconds, such as 60"),
        ({"budget_s": float("inf")}, "a budget of inf s measures nothing", "give seconds, such as 60"),
        ({"processes": 0}, "0 processes is outside 1..1000", "give 5 or more, or leave it out"),
        ({"target_width": 0}, "the target width 0 is not inside 0..1", "give 0.005 for 0.5 %"),
        ({"level": 95}, "the level 95 is not inside 0..1", "give a level such as 0.95"),
        ({"margin": 2}, "the margin 2 is not inside 0..1", "give a fraction such as 0.01 for 1 %"),
        ({"groups": (("a", "b"), ("a",))}, "the arms ['a', 'b', 'a'] are none, or not all different", None),
        ({"groups": ()}, "the arms [] are none, or not all different", "give each arm a name of its own"),
    ],
)
def test_a_design_that_cannot_be_measured_is_refused(change, problem, remedy):
    with pytest.raises(UsageError) as caught:
        design_of(**change)
    assert caught.value.problem == problem
    assert remedy is None or caught.value.remedy == remedy
