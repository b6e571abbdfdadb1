"""What calibration counts, and the machines on which only a variant is disturbed."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from precbench.timing.simulation import Noise

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
OWN = ("laboratory", "calibration", "arms")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The modules calibration and laboratory."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import calibration
    import laboratory

    yield calibration, laboratory
    for name in OWN:
        del sys.modules[name]


def test_the_interval_of_a_share_is_clopper_and_pearson_s(scripts: Any) -> None:
    _, laboratory = scripts
    for count, of in ((0, 200), (3, 200), (200, 200)):
        exact = stats.binomtest(count, of).proportion_ci(0.95, method="exact")
        told = laboratory.share(count, of)
        assert (told["low"], told["high"]) == pytest.approx((exact.low, exact.high))
    assert laboratory.percent(laboratory.share(3, 200)) == "1.5 % (3/200; 0.3 to 4.3)"
    assert laboratory.percent(laboratory.share(0, 0)) == "0.0 % (0/0; 0.0 to 100.0)"


def test_variants_of_one_run_count_as_one_in_the_interval_of_a_share(scripts: Any) -> None:
    _, laboratory = scripts
    nine, one = laboratory.share(1746, 1800, runs=200), laboratory.share(194, 200)
    assert nine["share"] == one["share"]
    assert (nine["low"], nine["high"]) == pytest.approx((one["low"], one["high"]))
    assert laboratory.percent(nine) == "97.0 % (1746/1800 in 200 runs; 93.6 to 98.9)"


def test_the_coverage_of_nine_variants_counts_runs(scripts: Any) -> None:
    calibration, _ = scripts
    finding = {"verdict": "equivalent", "low": 0.99, "high": 1.01, "smallest_effect": 0.01, "units": 9}
    results = [{"findings": [finding] * 9, "elapsed_s": 60.0, "ended": "budget spent"}] * 5
    coverage = calibration.row_of({}, results, 0.0)["coverage"]
    assert (coverage["count"], coverage["of"], coverage["runs"]) == (45, 45, 5)
    assert coverage["low"] == pytest.approx(0.025 ** (1 / 5))


def passes(laboratory: Any, own: Any, calls: int) -> dict[str, list[int]]:
    """Nanoseconds of every call of each arm in each of 400 processes of a machine without other noise."""
    arms = (laboratory.BASE, laboratory.CONTROL, laboratory.VARIANT)
    kind = laboratory.Kind(noise=Noise(jitter=0), own=own)
    lab = laboratory.SimulatedLab(effects=dict.fromkeys(arms, 0.0), kind=kind, seed=1)
    asked = [laboratory.Pass(arm=arm, calls=calls) for arm in arms]
    processes = [lab.passes(asked) for _ in range(400)]
    return {arm: [times[number].tolist() for times in processes] for number, arm in enumerate(arms)}


def test_own_spikes_disturb_a_fifth_of_the_variant_s_calls_and_nothing_else(scripts: Any) -> None:
    _, laboratory = scripts
    own = laboratory.OWN_KINDS["own spikes"].own
    times = passes(laboratory, own, 10)
    assert {*np.ravel(times["base"])} == {*np.ravel(times["control"])} == {5_000_000}
    assert {*np.ravel(times["variant"])} == {5_000_000, 7_500_000}
    assert np.mean(times["variant"]) / 5_000_000 == pytest.approx(own.mean_ratio, abs=0.01)
    assert own.mean_ratio == pytest.approx(1.1)


def test_an_own_slow_mode_doubles_the_variant_s_calls_in_one_process_of_twenty(scripts: Any) -> None:
    _, laboratory = scripts
    own = laboratory.OWN_KINDS["own slow mode"].own
    times = passes(laboratory, own, 3)
    assert {*np.ravel(times["base"])} == {*np.ravel(times["control"])} == {5_000_000}
    assert {len({*process}) for process in times["variant"]} == {1}
    assert {*np.ravel(times["variant"])} == {5_000_000, 10_000_000}
    assert np.mean(times["variant"]) / 5_000_000 == pytest.approx(own.mean_ratio, abs=0.03)


def test_a_disturbed_variant_s_row_has_every_verdict_and_the_mean_s_coverage(scripts: Any) -> None:
    calibration, _ = scripts
    case = next(case for case in calibration.own_cases() if case["noise"] == "own spikes")
    row = calibration.own_row_of(case, [calibration.simulate(({**case, "budget_s": 5}, run)) for run in range(2)])
    assert sum(counted["count"] for counted in row["verdicts"].values()) == row["mean_coverage"]["of"] == 2
    assert row["verdicts"]["equivalent"]["count"] == 0
    assert row["median_mean_ratio"] == pytest.approx(1.1, abs=0.03)
    assert calibration.own_text(row)["true ratio of means"] == "1.1000"
