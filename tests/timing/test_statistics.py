"""From times to a ratio: exact cases, laws, coverage."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from precbench.errors import UsageError
from precbench.timing import Samples, fewest_pairs, measure, paired_ratio, plan_schedule

times = hnp.arrays(np.int64, st.tuples(st.integers(6, 40), st.just(2)), elements=st.integers(1, 10**12))


def samples_of(elapsed_ns):
    elapsed = np.asarray(elapsed_ns, dtype=np.int64)
    schedule = plan_schedule(["base", "variant"], rounds=len(elapsed), warmup_rounds=0, seed=0)
    return Samples(schedule=schedule, elapsed_ns=elapsed, warmup_ns=np.empty((0, 2), dtype=np.int64))


def test_a_known_ratio_is_recovered_exactly_with_a_clean_interval():
    found = paired_ratio(samples_of([[200, 100]] * 10), base="base", variant="variant", seed=0)
    assert (found.point, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5), rel=1e-15)
    assert (found.level, found.pairs) == (0.95, 10)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["pairs"] == 10


def test_an_arm_against_itself_is_exactly_1():
    found = paired_ratio(samples_of([[7, 1], [9, 1]] * 5), base="base", variant="base", seed=0)
    assert (found.point, found.low, found.high) == (1, 1, 1)


def test_drift_that_doubles_every_time_cancels_because_pairs_are_adjacent():
    drift = np.exp2(np.arange(12))
    found = paired_ratio(
        samples_of(np.stack([1000 * drift, 1500 * drift], axis=1)), base="base", variant="variant", seed=0
    )
    assert (found.point, found.low, found.high) == pytest.approx((1.5, 1.5, 1.5), rel=1e-12)


def test_slow_drift_of_a_fake_machine_cancels_through_the_whole_pipeline():
    now = [0]

    def arm(cost_ns):
        def call():
            now[0] += int(cost_ns * (1 + now[0] / 1e9))

        return call

    samples = measure(
        {"base": arm(1_000_000), "variant": arm(800_000)},
        plan_schedule(["base", "variant"], rounds=400, warmup_rounds=5, seed=1),
        clock=lambda: now[0],
    )
    assert samples.of("base")[-1] > 1.5 * samples.of("base")[0]
    found = paired_ratio(samples, base="base", variant="variant", seed=2)
    drift_within_a_round = 1.8e-3
    assert found.point == pytest.approx(0.8, rel=drift_within_a_round)
    assert found.low <= 0.8 <= found.high
    assert found.high - found.low < 0.8 * drift_within_a_round


def test_a_few_disturbed_rounds_do_not_move_the_ratio():
    elapsed = np.array([[100, 90]] * 50)
    elapsed[::10, 0] = 100_000
    found = paired_ratio(samples_of(elapsed), base="base", variant="variant", seed=0)
    assert found.point == pytest.approx(0.9)


def test_the_same_seed_gives_the_same_interval():
    noise = np.random.default_rng(0).integers(900, 1100, size=(50, 2))
    first, second = (paired_ratio(samples_of(noise), base="base", variant="variant", seed=3) for _ in range(2))
    assert first == second


@settings(max_examples=15, deadline=None)
@given(times)
def test_the_interval_holds_the_point_and_no_figure_is_nan(elapsed):
    found = paired_ratio(samples_of(elapsed), base="base", variant="variant", seed=0)
    assert 0 < found.low <= found.point * (1 + 1e-12)
    assert found.point <= found.high * (1 + 1e-12) < np.inf


@settings(max_examples=15, deadline=None)
@given(times)
def test_swapping_base_and_variant_inverts_the_ratio(elapsed):
    there = paired_ratio(samples_of(elapsed), base="base", variant="variant", seed=0)
    back = paired_ratio(samples_of(elapsed), base="variant", variant="base", seed=0)
    assert there.point == pytest.approx(1 / back.point, rel=1e-9)


def test_the_interval_covers_the_truth_about_95_times_of_100_and_a_to_a_covers_1():
    generator, covered, runs = np.random.default_rng(11), 0, 120
    for run in range(runs):
        shared = generator.lognormal(0, 0.2, size=(60, 1))
        own = generator.lognormal(0, 0.03, size=(60, 2))
        found = paired_ratio(samples_of(1e6 * shared * own), base="base", variant="variant", seed=run)
        covered += found.low <= 1 <= found.high
    assert 0.89 <= covered / runs <= 0.995


@pytest.mark.parametrize(("level", "least"), [(0.5, 2), (0.9, 5), (0.95, 6), (0.99, 8)])
def test_the_fewest_pairs_are_those_whose_range_covers_the_median(level, least):
    assert fewest_pairs(level) == least
    assert 2 * 0.5**least <= 1 - level + 1e-12


def test_too_few_rounds_are_refused_with_the_number_needed():
    with pytest.raises(UsageError, match="5 rounds are too few for an interval") as caught:
        paired_ratio(samples_of([[1, 2]] * 5), base="base", variant="variant", seed=0)
    assert caught.value.remedy == "measure at least 6 rounds"


def test_a_sample_that_took_no_time_is_refused():
    with pytest.raises(UsageError, match="took no time that the clock could see"):
        paired_ratio(samples_of([[1, 0]] * 9), base="base", variant="variant", seed=0)


def test_an_unknown_arm_is_refused():
    with pytest.raises(UsageError, match="there is no arm 'dp4'"):
        paired_ratio(samples_of([[1, 1]] * 9), base="base", variant="dp4", seed=0)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_outside_0_to_1_is_refused(level):
    with pytest.raises(UsageError, match="is not inside 0"):
        paired_ratio(samples_of([[1, 1]] * 9), base="base", variant="variant", seed=0, level=level)
