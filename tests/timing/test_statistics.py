"""From raw times to a ratio: exact cases, laws, coverage."""

import json
from math import exp, inf, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from precbench.timing.samples import ProcessSamples
from precbench.timing.schedule import ProcessPlan
from precbench.timing.simulation import Machine, Noise
from precbench.timing.statistics import (
    BATCH,
    PROCESS,
    Estimate,
    estimate,
    latencies,
    mean_estimate,
    process_log_ratios,
    ratio_of,
)

few = settings(max_examples=40, deadline=None)

blocks = st.lists(st.tuples(st.integers(1, 10**12), st.integers(1, 10**12)), min_size=1, max_size=9)
runs = st.lists(blocks, min_size=1, max_size=5)


def test_a_known_ratio_is_recovered_exactly(process_of):
    found = estimate([process_of([[200, 100]] * 3, replicate=r) for r in range(4)], arm="variant", base="base")
    assert found == Estimate(mean=pytest.approx(log(0.5), rel=1e-15), error=0.0, units=4, unit=PROCESS)
    ratio = ratio_of(found, level=0.95, p=0.05)
    assert (ratio.point, ratio.low, ratio.high) == pytest.approx((0.5, 0.5, 0.5), rel=1e-15)


def biweight_oracle(groups):
    """The root of the sum of Tukey's psi nearest the median, and its error from sums over groups, step by step."""
    values = [value for group in groups for value in group]
    middle = np.median(values)
    scale = 1.4826 * stats.median_abs_deviation(values) or 1.2533 * np.mean(np.abs(values - middle))
    if 1 < len(groups) < 10:
        scale = max(scale, np.std([np.median(group) for group in groups], ddof=1))

    def psi(value, at):
        part = (value - at) / (6 * scale)
        return (value - at) * (1 - part**2) ** 2 if abs(part) < 1 else 0.0

    def total(at):
        return sum(psi(value, at) for value in values)

    mean = optimize.newton(total, middle, tol=1e-14 * scale)
    step = 1e-6 * scale
    slopes = [(psi(value, mean - step) - psi(value, mean + step)) / (2 * step) for value in values]
    sums = [sum(psi(value, mean) for value in group) for group in groups]
    count = len(groups)
    few = 1 + np.var(slopes) / np.mean(slopes) ** 2 / count
    return mean, few * np.sqrt(count / (count - 1) * np.sum(np.square(sums))) / np.sum(slopes)


@few
@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(1, 9), st.sampled_from([1.5, 3.0, 100.0]))
def test_the_estimate_is_the_biweight_of_all_blocks_and_its_error_counts_processes(
    process_of, seed, count, most, tails
):
    rng = np.random.default_rng(seed)
    groups = [0.02 * rng.standard_t(tails, rng.integers(1, most + 1)) + rng.normal(0, 0.01) for _ in range(count)]
    times = [[[10**12, round(10**12 * exp(value))] for value in group] for group in groups]
    found = estimate([process_of(t, replicate=r) for r, t in enumerate(times)], arm="variant", base="base")
    mean, error = biweight_oracle(groups)
    assert (found.units, found.unit) == (count, PROCESS)
    assert found.mean == pytest.approx(mean, abs=1e-9)
    assert found.error == pytest.approx(error, rel=1e-4)


def test_where_nothing_is_odd_it_is_nearly_the_mean_with_the_error_of_a_mean(process_of):
    logs = np.random.default_rng(3).normal(0, 0.01, 400)
    times = [[[10**12, round(10**12 * exp(value))]] for value in logs]
    found = estimate([process_of(t, replicate=r) for r, t in enumerate(times)], arm="variant", base="base")
    assert found.mean == pytest.approx(logs.mean(), abs=0.1 * stats.sem(logs))
    assert found.error == pytest.approx(stats.sem(logs), rel=0.03)
    ratio = ratio_of(found, level=0.95, p=0.05)
    low, high = stats.t.interval(0.95, 399, loc=found.mean, scale=found.error)
    assert (ratio.point, ratio.low, ratio.high) == pytest.approx((exp(found.mean), exp(low), exp(high)))
    assert json.loads(json.dumps(ratio.to_json(), allow_nan=False))["units"] == 400


def test_blocks_far_off_count_for_nothing_wherever_they_lie(process_of):
    rng = np.random.default_rng(4)
    times = [[[1000, int(t)] for t in rng.integers(990, 1010, 9)] for _ in range(8)]
    spoilt = [[*part[:-1], [1000, 9000]] for part in times]
    worse = [[*part[:-1], [1000, 10**9]] for part in times]
    found = [
        estimate([process_of(part, replicate=r) for r, part in enumerate(some)], arm="variant", base="base")
        for some in (spoilt, worse)
    ]
    assert found[0] == found[1]
    assert abs(found[0].mean) < 0.002


@pytest.mark.parametrize("seed", range(3))
def test_skewed_noise_that_all_arms_have_alike_makes_no_difference(process_of, seed):
    rng, names = np.random.default_rng(seed), ["base", "control", "variant"]
    logs = rng.exponential(1, (400, 10, 3)) ** 2 / 10
    times = np.rint(10**9 * np.exp(logs)).astype(int)
    processes = [process_of(part, arms=names, replicate=r) for r, part in enumerate(times)]
    found = estimate(processes, arm="variant", base="base", control="control")
    assert abs(found.mean) < 3 * found.error
    assert found.error < 0.004


@pytest.mark.parametrize("within", [0.001, 0.3, 2.0])
@pytest.mark.parametrize("count", [3, 5, 9, 10])
def test_few_processes_that_differ_much_are_covered_too(process_of, count, within):
    rng, held, runs = np.random.default_rng(count), 0, 400
    for _ in range(runs):
        logs = 0.01 * (rng.normal(0, 1, (count, 1)) + rng.normal(0, within, (count, 6)))
        times = np.stack([np.full_like(logs, 10**9), np.rint(10**9 * np.exp(logs))], axis=2).astype(int)
        found = estimate([process_of(part, replicate=r) for r, part in enumerate(times)], arm="variant", base="base")
        held += abs(found.mean) <= found.half_width(0.05)
    assert 0.92 < held / runs < 0.98


def test_where_half_the_blocks_lie_elsewhere_there_is_no_interval_to_trust(process_of):
    times = [[[1000, t] for t in (1000, 1001, 1040, 1041)] for _ in range(5)]
    found = estimate([process_of(part, replicate=r) for r, part in enumerate(times)], arm="variant", base="base")
    assert log(1.0) < found.mean < log(1.041)
    assert found.half_width(0.05) < inf


def test_with_a_control_the_base_is_both_of_them(process_of):
    names = ["base", "control", "variant"]
    processes = [
        process_of([[100, 121, 220]], arms=names, replicate=0),
        process_of([[100, 100, 300]], arms=names, replicate=1),
    ]
    found = estimate(processes, arm="variant", base="base", control="control")
    mean, error = biweight_oracle([[log(2.2), log(220 / 121)], [log(3), log(3)]])
    assert (found.mean, found.error, found.units) == (pytest.approx(mean), pytest.approx(error, rel=1e-4), 2)
    alone = process_log_ratios(processes, arm="variant", base="base", control="control")
    assert alone == pytest.approx([log(2), log(3)])
    mean = mean_estimate(processes, arm="variant", base="base", control="control")
    assert exp(mean.mean) == pytest.approx(np.mean([220 / 110.5, 3]))


def test_a_replicate_without_the_control_counts_for_nothing(process_of):
    alone = [
        process_of([[times]], arms=[arm], replicate=replicate, process=replicate)
        for replicate in range(3)
        for arm, times in (("base", 100), ("control", 400), ("variant", 600))
        if (arm, replicate) != ("control", 1)
    ]
    for find in (estimate, mean_estimate):
        assert find(alone, arm="variant", base="base", control="control").units == 2
    found = estimate(alone, arm="variant", base="base", control="control")
    assert exp(found.mean) == pytest.approx(3)


def test_two_sessions_of_the_base_know_it_better_than_one():
    plans = [
        ProcessPlan(
            replicate=r, process=r, arms=("base", "control", "variant"), seed=0, blocks=4, calls=3, warmup_s=0.0
        )
        for r in range(200)
    ]
    machine = Machine(times_s=dict.fromkeys(plans[0].arms, 0.01), noise=Noise(jitter=0.004, offset=0.005), seed=0)
    processes = [machine.run_process(plan) for plan in plans]
    one = estimate(processes, arm="variant", base="base").error
    both = estimate(processes, arm="variant", base="base", control="control").error
    assert both / one == pytest.approx(0.75**0.5, rel=0.15)


@few
@given(runs)
def test_swapping_base_and_arm_inverts_the_ratio(process_of, times):
    processes = [process_of(part, replicate=r) for r, part in enumerate(times)]
    there = estimate(processes, arm="variant", base="base")
    back = estimate(processes, arm="base", base="variant")
    assert there.mean == pytest.approx(-back.mean, rel=1e-9, abs=1e-12)
    assert there.error == pytest.approx(back.error, rel=1e-9, abs=1e-12)
    assert (there.units, there.unit) == (back.units, back.unit)


@few
@given(runs, st.integers(2, 1000))
def test_the_unit_of_time_does_not_matter(process_of, times, unit):
    one, other = (
        estimate(
            [process_of(np.multiply(part, factor), replicate=r) for r, part in enumerate(times)],
            arm="variant",
            base="base",
        )
        for factor in (1, unit)
    )
    assert one.mean == pytest.approx(other.mean, rel=1e-9, abs=1e-9)


@few
@given(runs)
def test_an_arm_against_itself_is_exactly_one(process_of, times):
    found = estimate([process_of(part, replicate=r) for r, part in enumerate(times)], arm="base", base="base")
    assert found.mean == 0
    assert found.error in (0, inf)


def test_arms_in_processes_of_their_own_are_compared_by_replicate(process_of):
    processes = [
        process_of([[100], [400], [200]], arms=["base alone"], replicate=0, process=0),
        process_of([[500]], arms=["flushed"], replicate=0, process=1),
        process_of([[900], [900]], arms=["flushed"], replicate=1, process=2),
        process_of([[300]], arms=["base alone"], replicate=1, process=3),
    ]
    found = estimate(processes, arm="flushed", base="base alone")
    units = [[log(500) - log(200)], [log(3)]]
    assert (found.units, found.unit) == (2, PROCESS)
    assert found.mean == pytest.approx(np.mean(units))
    assert found.error == pytest.approx(biweight_oracle(units)[1], rel=1e-4)


def test_a_replicate_without_a_whole_block_of_both_counts_for_nothing(process_of):
    processes = [
        process_of([[100, 200]], replicate=0),
        process_of([], replicate=1, ended="killed by SIGKILL"),
        process_of([[100, 50]], replicate=2),
        process_of([[1]], arms=["base"], replicate=3),
        process_of([[1, 7]], arms=["other", "control"], replicate=4),
    ]
    assert estimate(processes, arm="variant", base="base").units == 2


def test_a_single_process_is_cut_into_batches_of_blocks(process_of):
    times = [[100, 100 + block] for block in range(40)]
    found = estimate([process_of(times)], arm="variant", base="base")
    logs = np.log([1 + block / 100 for block in range(40)])
    mean, error = biweight_oracle([logs[start : start + 4] for start in range(0, 40, 4)])
    assert (found.units, found.unit) == (10, BATCH)
    assert (found.mean, found.error) == (pytest.approx(mean), pytest.approx(error, rel=1e-4))


def test_one_process_in_which_all_went_wrong_hardly_widens_the_interval(process_of):
    times = np.random.default_rng(0).integers(990, 1010, 20).tolist()
    calm = [process_of([[1000, t]], replicate=i) for i, t in enumerate(times)]
    wild = [*calm[:-1], process_of([[1000, 3000]], replicate=19)]
    widths = [estimate(some, arm="variant", base="base").half_width(0.05) for some in (calm, wild)]
    assert widths[1] < 1.3 * widths[0]


@pytest.mark.parametrize(("count", "units"), [(1, 1), (3, 1), (4, 2), (7, 3), (19, 9), (20, 10), (500, 10)])
def test_a_batch_has_two_blocks_at_least_and_there_are_ten_at_most(process_of, count, units):
    found = estimate([process_of([[3, 4]] * count)], arm="variant", base="base")
    assert (found.units, found.unit) == (units, BATCH)


def test_with_one_unit_there_is_a_ratio_and_no_interval_and_with_none_neither(process_of):
    one = estimate([process_of([[100, 200]])], arm="variant", base="base")
    ratio = ratio_of(one, level=0.95, p=0.05)
    assert (ratio.point, ratio.low, ratio.high) == (pytest.approx(2), None, None)
    assert (one.half_width(0.05), one.p_beyond(0.0), one.p_within(9.0)) == (inf, 1.0, 1.0)
    none = ratio_of(estimate([], arm="variant", base="base"), level=0.95, p=0.05)
    assert (none.point, none.low, none.high, none.units) == (None, None, None, 0)


def test_an_interval_wider_than_any_ratio_is_none():
    wild = Estimate(mean=3.0, error=20.0, units=2, unit=PROCESS)
    ratio = ratio_of(wild, level=0.95, p=0.05)
    assert (ratio.point, ratio.low, ratio.high) == (pytest.approx(exp(3)), None, None)


estimates = st.builds(
    Estimate,
    mean=st.floats(-0.2, 0.2),
    error=st.floats(1e-5, 0.1),
    units=st.integers(2, 60),
    unit=st.just(PROCESS),
)


@few
@given(estimates, st.floats(0, 0.2))
def test_p_beyond_is_the_level_at_which_the_whole_interval_just_lies_beyond(found, bound):
    p = found.p_beyond(bound)
    if 1e-12 < p < 1:
        assert abs(found.mean) - found.half_width(p) == pytest.approx(bound, abs=1e-9)
        assert abs(found.mean) - found.half_width(p * 1.01) > bound > abs(found.mean) - found.half_width(p * 0.99)
    elif p == 1:
        assert abs(found.mean) <= bound + 1e-9


@few
@given(estimates, st.floats(1e-4, 0.2))
def test_p_within_is_the_level_at_which_the_whole_interval_just_lies_within(found, margin):
    p = found.p_within(margin)
    if 1e-12 < p < 1:
        assert abs(found.mean) + found.half_width(p) == pytest.approx(margin, abs=1e-9)
    elif p == 1:
        assert abs(found.mean) >= margin - 1e-9


@pytest.mark.parametrize(("mean", "beyond", "within"), [(0.03, 0.0, 1.0), (0.02, 1.0, 1.0), (0.01, 1.0, 0.0)])
def test_without_any_scatter_the_mean_decides(mean, beyond, within):
    found = Estimate(mean=mean, error=0.0, units=5, unit=PROCESS)
    assert (found.p_beyond(0.02), found.p_within(0.02)) == (beyond, within)


def simulated_runs(*, count, processes):
    """Runs of a machine on which each arm is steadily off by about 0.5 % in each process."""
    for seed in range(count):
        machine = Machine(times_s={"base": 0.01, "variant": 0.0097}, noise=Noise(jitter=0.004, offset=0.005), seed=seed)
        plans = [
            ProcessPlan(replicate=r, process=r, arms=("base", "variant"), seed=seed, blocks=6, calls=1, warmup_s=0.0)
            for r in range(processes)
        ]
        yield [machine.run_process(plan) for plan in plans]


def block_by_block(processes: list[ProcessSamples]) -> Estimate:
    """What one gets who takes the blocks for independent units."""
    logs = np.concatenate([samples.log_times() for samples in processes])
    units = logs[:, 1] - logs[:, 0]
    return Estimate(mean=float(units.mean()), error=float(stats.sem(units)), units=len(units), unit="block")


def test_the_interval_covers_the_truth_95_times_of_100_although_processes_differ_and_blocks_would_not():
    truth, covered, by_blocks, widths, count = log(0.97), 0, 0, [], 250
    for processes in simulated_runs(count=count, processes=8):
        found, naive = estimate(processes, arm="variant", base="base"), block_by_block(processes)
        covered += abs(found.mean - truth) <= found.half_width(0.05)
        by_blocks += abs(naive.mean - truth) <= naive.half_width(0.05)
        widths.append(2 * found.half_width(0.05))
    assert 0.91 <= covered / count <= 0.985
    assert by_blocks / count < 0.75
    expected = 2 * stats.t.isf(0.025, 7) * 0.005 * (2 / 8) ** 0.5
    assert 0.9 * expected <= np.mean(widths) <= 1.2 * expected


def test_the_same_thing_twice_is_as_often_above_one_as_below():
    above = 0
    for seed in range(200):
        machine = Machine(times_s={"base": 0.01, "variant": 0.01}, noise=Noise(jitter=0.01), seed=seed)
        plan = ProcessPlan(replicate=0, process=0, arms=("base", "variant"), seed=seed, blocks=3, calls=1, warmup_s=0.0)
        above += estimate([machine.run_process(plan)], arm="variant", base="base").mean > 0
    assert 75 < above < 125


def test_latencies_are_those_of_all_timed_calls_of_an_arm(process_of):
    times = [[10 * (block + 1), 7] for block in range(60)]
    found = latencies([process_of(times, replicate=r) for r in range(2)])
    calls = np.repeat([10 * (block + 1) for block in range(60)], 4)
    assert list(found) == ["base", "variant"]
    assert found["base"]["calls"] == 240
    assert found["base"]["mean_ns"] == calls.mean()
    assert found["base"]["median_ns"] == np.median(calls)
    for name, share in (("p90_ns", 0.9), ("p95_ns", 0.95), ("p99_ns", 0.99)):
        assert found["base"][name] == np.quantile(calls, share)
    assert found["variant"]["p99_ns"] == 7
    assert found["variant"]["outliers"] == {"mild": 0, "severe": 0}
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("calls", "given"), [(8, []), (10, ["p90_ns"]), (20, ["p90_ns", "p95_ns"]), (100, ["p90_ns", "p95_ns", "p99_ns"])]
)
def test_a_percentile_needs_as_many_calls_as_one_of_them_lies_beyond_it(process_of, calls, given):
    found = latencies([process_of([[5, 5]] * (calls // 2))])["base"]
    assert [name for name in ("p90_ns", "p95_ns", "p99_ns") if found[name] is not None] == given


def test_the_cold_start_is_the_median_over_processes_and_outliers_are_counted_per_process():
    plans = [ProcessPlan(replicate=r, process=r, arms=("a",), seed=0, blocks=40, calls=1) for r in range(3)]
    machine = Machine(times_s={"a": 0.001}, noise=Noise(jitter=0.01, cold=9.0, spikes=0.05, spike_size=5.0), seed=1)
    processes = [machine.run_process(plan) for plan in plans]
    found = latencies(processes)["a"]
    assert found["first_run_ns"] == sorted(samples.first_run_ns["a"] for samples in processes)[1]
    assert found["first_run_ns"] > 8e6
    assert found["creation_ns"] == 0
    assert found["outliers"]["severe"] > 3
    assert found["calls"] == 240


def test_the_latency_of_an_arm_without_a_call_is_empty(process_of):
    found = latencies([process_of([], ended="killed by SIGKILL")])["base"]
    assert (found["calls"], found["median_ns"], found["first_run_ns"]) == (0, None, None)


def disturbed(process_of, *, slow_calls=0.0, slow_processes=0.0, count=40):
    """Processes in which the variant is like the base, but for a share of its calls or of its processes."""
    generator, processes = np.random.default_rng(3), []
    for replicate in range(count):
        factor = 2.0 if generator.random() < slow_processes else 1.0
        base = 1000 * np.exp(generator.normal(0, 0.01, 50))
        variant = 1000 * np.exp(generator.normal(0, 0.01, 50)) * factor
        variant[generator.random(50) < slow_calls] *= 1.5
        rows = np.stack([base, variant], axis=1).astype(int).tolist()
        processes.append(process_of(rows, replicate=replicate))
    return processes


def test_the_mean_ratio_has_the_slow_calls_in_it_that_the_usual_call_has_not(process_of):
    processes = disturbed(process_of, slow_calls=0.2)
    usual, mean = (f(processes, arm="variant", base="base") for f in (estimate, mean_estimate))
    assert np.exp(usual.mean) == pytest.approx(1.0, abs=0.02)
    assert np.exp(mean.mean) == pytest.approx(1.1, abs=0.02)


def test_the_mean_ratio_has_the_slow_processes_in_it(process_of):
    processes = disturbed(process_of, slow_processes=0.1)
    usual, mean = (f(processes, arm="variant", base="base") for f in (estimate, mean_estimate))
    assert np.exp(usual.mean) == pytest.approx(1.0, abs=0.01)
    assert mean.mean > 0.03
