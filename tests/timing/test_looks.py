"""Looking at an interval more than once without spoiling it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from precbench.timing.looks import MOST_LOOKS, look_levels, planned_looks

few = settings(max_examples=50, deadline=None)

PUBLISHED = {
    2: [2.963, 1.969],
    3: [3.710, 2.511, 1.993],
    4: [4.333, 2.963, 2.359, 2.014],
    5: [4.877, 3.357, 2.680, 2.290, 2.031],
}
"""Boundaries of the O'Brien-Fleming-type spending function, two-sided, alpha 0.05, looks equally spaced: M. A.
Proschan, K. K. G. Lan, J. T. Wittes, "Statistical Monitoring of Clinical Trials", 2006; the R package ldbounds."""


@few
@given(st.integers(1, 200), st.integers(2, 10))
def test_it_is_looked_at_most_five_times_and_at_the_plans_end(planned, least):
    looks = planned_looks(planned, least=least)
    assert len(looks) <= MOST_LOOKS
    assert looks == sorted(set(looks))
    assert looks[-1] == planned
    assert all(count >= least for count in looks[:-1])


@pytest.mark.parametrize(
    ("planned", "looks"), [(60, [12, 24, 36, 48, 60]), (25, [5, 10, 15, 20, 25]), (10, [6, 8, 10]), (5, [5]), (1, [1])]
)
def test_the_looks_are_equally_spaced_and_not_before_the_fifth_process(planned, looks):
    assert planned_looks(planned, least=5) == looks


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.2])
@pytest.mark.parametrize(("units", "planned"), [(40, 40), (7, 40), (1, 1)])
def test_a_single_look_has_all_of_alpha(alpha, units, planned):
    assert look_levels([units], planned=planned, alpha=alpha, final=True) == pytest.approx([alpha], rel=1e-9)


@pytest.mark.parametrize("count", PUBLISHED)
def test_the_levels_of_equally_spaced_looks_are_the_published_ones(count):
    planned = 12 * count
    levels = look_levels(range(12, planned + 1, 12), planned=planned, alpha=0.05, final=True)
    assert stats.norm.isf(np.array(levels) / 2) == pytest.approx(PUBLISHED[count], abs=0.0006)


def test_a_look_that_is_not_the_last_leaves_alpha_over_and_a_last_one_before_the_plans_end_spends_it():
    early, last = (look_levels([20, 40], planned=100, alpha=0.05, final=final) for final in (False, True))
    assert early[0] == pytest.approx(last[0], rel=1e-9)
    assert early[1] < 0.001
    assert last[1] == pytest.approx(0.05, abs=1e-5)


def test_the_levels_do_not_depend_on_how_far_apart_the_looks_are_in_units():
    few, many = (look_levels([n, 2 * n, 3 * n], planned=3 * n, alpha=0.05, final=True) for n in (5, 300))
    assert few == pytest.approx(many, rel=1e-4)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(5, 59), min_size=1, max_size=3, unique=True))
def test_a_later_look_does_not_change_the_levels_of_the_ones_before(looks):
    looks = sorted(looks)
    before = look_levels(looks, planned=60, alpha=0.05, final=False)
    after = look_levels([*looks, 60], planned=60, alpha=0.05, final=True)
    assert after[:-1] == pytest.approx(before, rel=1e-9)
    assert 0.5 * 0.05 < after[-1] <= 0.05 * (1 + 1e-9)


def sums_of_normal_units(*, runs, units, seed):
    return np.random.default_rng(seed).normal(size=(runs, units)).cumsum(axis=1)


def crossings(sums, looks, boundaries):
    """Return the share of runs that crossed a boundary at or before each look."""
    scores = np.abs(sums[:, np.array(looks) - 1]) / np.sqrt(looks)
    return np.logical_or.accumulate(scores > boundaries, axis=1).mean(axis=0)


@pytest.mark.parametrize("looks", [[12, 24, 36, 48, 60], [10, 15, 50, 60], [30, 31]])
def test_of_simulated_runs_as_many_cross_by_each_look_as_is_spent_by_then(looks):
    """Whatever one does on seeing an interval, 95 of 100 runs have none that misses."""
    levels = look_levels(looks, planned=looks[-1], alpha=0.05, final=True)
    crossed = crossings(
        sums_of_normal_units(runs=40_000, units=60, seed=1), looks, stats.norm.isf(np.array(levels) / 2)
    )
    spent = 4 * stats.norm.sf(stats.norm.isf(0.0125) / np.sqrt(np.array(looks) / looks[-1]))
    assert crossed == pytest.approx(spent, abs=4 * np.sqrt(0.05 / 40_000))


def test_looking_five_times_at_the_usual_level_would_err_more_often_which_shows_that_the_check_can_fail():
    crossed = crossings(sums_of_normal_units(runs=10_000, units=60, seed=2), [12, 24, 36, 48, 60], [1.96] * 5)
    assert crossed[-1] > 0.12


@pytest.mark.parametrize("planned", [60, 25])
def test_with_t_intervals_too_the_family_of_looks_misses_about_five_times_of_a_hundred(planned):
    looks, runs = planned_looks(planned, least=5), 20_000
    levels = look_levels(looks, planned=planned, alpha=0.05, final=True)
    units = np.random.default_rng(3).normal(size=(runs, planned))
    missed = np.zeros(runs, dtype=bool)
    for count, level in zip(looks, levels, strict=True):
        seen = units[:, :count]
        missed |= np.abs(seen.mean(axis=1)) > stats.t.isf(level / 2, count - 1) * seen.std(axis=1, ddof=1) / count**0.5
    assert missed.mean() <= 0.05 + 0.003 + 3 * np.sqrt(0.05 / runs)
