"""Tango's score, its interval and its test."""

from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from scipy.special import xlogy

from precbench.accuracy import tango_interval
from precbench.accuracy.tango import noninferiority_p, smallest_margin, tango_score
from precbench.errors import UsageError

unhurried = settings(deadline=None)
tables = st.integers(1, 2000).flatmap(
    lambda total: st.integers(0, min(total, 60)).flatmap(
        lambda gained: st.tuples(st.just(gained), st.integers(0, min(total - gained, 60)), st.just(total))
    )
)
margins = st.floats(1e-4, 0.9)


def interval(gained, lost, total, level=0.95):
    found = tango_interval(gained=gained, lost=lost, total=total, level=level)
    return found.low, found.high


def test_it_agrees_with_the_worked_example_of_tango_1998():
    """Soft contact lenses, 44 patients, one of them content with the second treatment alone; 90 %."""
    assert interval(0, 1, 44, 0.9) == pytest.approx((-0.096, 0.037), abs=5e-4)


def test_it_agrees_with_the_worked_example_of_fagerland_2014():
    assert interval(7, 1, 21) == pytest.approx((0.026, 0.517), abs=5e-4)


def test_it_agrees_with_the_worked_example_of_agresti_and_min_2005():
    assert interval(16, 8, 86) == pytest.approx((-0.020, 0.207), abs=5e-4)


@pytest.mark.parametrize(("total", "points"), [(10_000, 0.0384), (1_000, 0.383), (360, 1.056)])
def test_without_a_flip_it_is_wilson_s_interval_of_0_to_both_sides(total, points):
    low, high = interval(0, 0, total)
    assert (100 * low, 100 * high) == pytest.approx((-points, points), abs=5e-4)
    assert high == pytest.approx(stats.binomtest(0, total).proportion_ci(method="wilson").high)
    assert high == pytest.approx(smallest_margin(total))


@pytest.mark.parametrize("total", [1, 5])
def test_where_all_images_flip_one_way_it_ends_there(total):
    assert interval(0, total, total)[0] == -1
    assert interval(total, 0, total)[1] == 1


def test_against_no_difference_the_test_is_mcnemar_s():
    assert tango_score(gained=4, lost=13, total=100, difference=0) == pytest.approx((4 - 13) / sqrt(4 + 13))


@unhurried
@given(tables, margins)
def test_the_standard_error_is_that_of_the_likeliest_shares_at_the_supposed_difference(table, loss):
    """Found here by maximising the likelihood, there from its derivative's root."""
    gained, lost, total = table

    def unlikelihood(share):
        shares = (share, share - loss, 1 - 2 * share + loss)
        return -float(xlogy((lost, gained, total - lost - gained), shares).sum())

    found = optimize.minimize_scalar(unlikelihood, bounds=(loss, (1 + loss) / 2), options={"xatol": 1e-12})
    error = sqrt((2 * found.x - loss - loss**2) / total)
    score = tango_score(gained=gained, lost=lost, total=total, difference=-loss)
    assert score == pytest.approx(((gained - lost) / total + loss) / error, rel=1e-3, abs=1e-3)


@unhurried
@given(tables)
def test_the_interval_holds_the_observed_difference_and_has_a_width(table):
    gained, lost, total = table
    low, high = interval(gained, lost, total)
    assert -1 <= low <= (gained - lost) / total <= high <= 1
    assert low < high


@unhurried
@given(tables)
def test_swapping_gained_and_lost_turns_it_round(table):
    gained, lost, total = table
    low, high = interval(gained, lost, total)
    assert interval(lost, gained, total) == (-high, -low)


@unhurried
@given(tables)
def test_one_more_gained_image_moves_both_ends_up(table):
    gained, lost, total = table
    if gained + lost == total:
        return
    before, after = interval(gained, lost, total), interval(gained + 1, lost, total)
    assert before[0] <= after[0] + 1e-12
    assert before[1] <= after[1] + 1e-12


@unhurried
@given(tables, st.floats(0.5, 0.98))
def test_a_higher_level_widens_it(table, level):
    low, high = interval(*table, level)
    wider_low, wider_high = interval(*table, level + 0.01)
    assert wider_low <= low
    assert high <= wider_high


@unhurried
@given(tables, margins)
def test_the_p_value_is_below_a_fortieth_exactly_where_the_interval_lies_above_the_margin(table, margin):
    gained, lost, total = table
    p = noninferiority_p(gained=gained, lost=lost, total=total, margin=margin)
    assert (p < 0.025) is (interval(gained, lost, total)[0] > -margin)


@unhurried
@given(tables, margins, margins)
def test_a_wider_margin_is_shown_more_easily(table, one, other):
    gained, lost, total = table
    narrow, wide = (
        noninferiority_p(gained=gained, lost=lost, total=total, margin=margin) for margin in sorted((one, other))
    )
    assert wide <= narrow + 1e-12


@unhurried
@given(st.integers(1, 10**6))
def test_the_smallest_margin_is_where_the_test_without_a_flip_begins_to_reject(total):
    margin = smallest_margin(total)
    assert noninferiority_p(gained=0, lost=0, total=total, margin=margin * (1 + 1e-6)) < 0.025
    assert noninferiority_p(gained=0, lost=0, total=total, margin=margin * (1 - 1e-6)) > 0.025


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_outside_0_to_1_is_refused(level):
    with pytest.raises(UsageError, match=f"the level {level} is not inside 0..1"):
        interval(0, 0, 10, level)
    with pytest.raises(UsageError, match=f"the level {level} is not inside 0..1"):
        smallest_margin(10, level=level)
