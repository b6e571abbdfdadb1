"""The sequential test: answers, their errors, and the bets behind them."""

from itertools import product
from math import comb, exp, inf

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from precbench.accuracy import Answer, SequentialTest
from precbench.accuracy.sequential import Gambler
from precbench.errors import DataError, UsageError

HOLDS, FAILS, UNDECIDED = Answer
NEVER_BY_CHANCE = 1e-300  # of an error: only what is certain is then answered

unhurried = settings(deadline=None)
orders = st.lists(st.sampled_from([-1, 0, 0, 1]), min_size=1, max_size=40)
margins = st.sampled_from([0.5, 3, 12.5, 60])


def asked(steps, *, margin=0.5, alpha=0.05, images=None):
    """Ask about the first images of a set, in one block."""
    test = SequentialTest(images=images or len(steps), margin_points=margin, alpha=alpha)
    test.update(np.array(steps))
    return test


def population(gained, lost, total=10_000, seed=0):
    steps = np.zeros(total, dtype=np.int8)
    steps[:gained], steps[gained : gained + lost] = 1, -1
    np.random.default_rng(seed).shuffle(steps)
    return steps


def test_ten_thousand_images_without_a_flip_hold_within_half_a_point_after_less_than_seven_hundred():
    found = asked(population(0, 0))
    assert (found.answer, found.gained, found.lost) == (HOLDS, 0, 0)
    assert 570 < found.seen < 700  # 570: a bet of all on every image, which one lost image would ruin


def test_one_lost_image_at_the_start_delays_the_answer_and_does_not_prevent_it():
    found = asked(np.array([-1] + [0] * 9_999))
    assert (found.answer, found.lost) == (HOLDS, 1)
    assert found.seen < 1_500


@pytest.mark.parametrize(("gained", "lost", "most"), [(100, 3_000, 60), (0, 10_000, 10), (100, 1_000, 300)])
def test_a_heavy_loss_is_found_within_dozens(gained, lost, most):
    found = asked(population(gained, lost))
    assert (found.answer, found.seen < most) == (FAILS, True)


def test_a_gain_holds():
    assert asked(population(300, 10)).answer is HOLDS


@pytest.mark.parametrize(("points", "allowed"), [(0.29, 29), (0.07, 7), (0.5, 50), (0.005, 0), (1e-9, 0)])
def test_the_margin_allows_whole_images_and_is_not_rounded_in_binary(points, allowed):
    """100 * 0.29 is 28.999999999999996 as a float."""
    for lost, answer in ((allowed, HOLDS), (allowed + 1, FAILS)):
        assert asked(population(0, lost), margin=points, alpha=NEVER_BY_CHANCE).answer is answer


@unhurried
@given(orders, margins)
def test_the_last_image_brings_the_right_answer(steps, margin):
    found = asked(steps, margin=margin, alpha=NEVER_BY_CHANCE)
    assert found.answer is (HOLDS if -sum(steps) <= int(margin * len(steps) / 100) else FAILS)


@unhurried
@given(orders, margins)
def test_what_is_certain_is_answered_at_once(steps, margin):
    found = asked(steps, margin=margin, alpha=NEVER_BY_CHANCE)
    allowed = int(margin * len(steps) / 100)

    def open_after(seen):
        so_far, left = sum(steps[:seen]), len(steps) - seen
        return so_far - left < -allowed <= so_far + left

    assert [open_after(seen) for seen in (found.seen - 1, found.seen)] == [True, False]


@unhurried
@given(orders, margins, st.lists(st.integers(0, 40), max_size=5))
def test_blocks_are_one_sequence_however_it_is_cut(steps, margin, cuts):
    whole = asked(steps, margin=margin)
    cut = SequentialTest(images=len(steps), margin_points=margin)
    for block in np.split(np.array(steps), sorted(min(at, len(steps)) for at in cuts)):
        cut.update(block)
    assert (cut.answer, cut.seen, cut.gained, cut.lost) == (whole.answer, whole.seen, whole.gained, whole.lost)


@pytest.mark.parametrize(("lost", "wrong"), [(51, HOLDS), (50, FAILS)])  # more than gained
def test_images_that_were_chosen_do_not_make_wrong_answers_likelier(lost, wrong):
    """Nine flips of ten lie in a tenth of the images, which is looked at first, or after 653 images."""
    steps = np.zeros(10_000, dtype=np.int8)
    steps[:100], steps[100 : 200 + lost] = 1, -1
    places = np.r_[np.arange(0, 90), np.arange(115, 200 + lost)]  # of flips in the tenth
    tenth = np.r_[places, np.arange(5_000, 6_000 - len(places))]
    random, wrongs = np.random.default_rng(0), 0
    for number in range(400):
        order = random.permutation(10_000)
        first = order[: 653 * (number % 2)]
        chosen = np.setdiff1d(tenth, first)
        test = SequentialTest(images=10_000, margin_points=0.5)
        test.update(steps[first])
        test.update(steps[chosen], chosen=True)
        test.update(steps[order[~np.isin(order, first) & ~np.isin(order, chosen)]])
        wrongs += test.answer is wrong
    assert wrongs <= 30  # of 400 at 5 %: 20 expected at the most, more than 30 in one of a hundred such tests


@unhurried
@given(orders, margins)
def test_nothing_is_bet_on_images_that_were_chosen(steps, margin):
    test, careful = SequentialTest(images=len(steps), margin_points=margin), asked(steps, margin=margin, alpha=1e-300)
    test.update(np.array(steps), chosen=True)
    assert (test.answer, test.seen) == (careful.answer, careful.seen)


@unhurried
@given(orders, margins)
def test_an_answer_is_final(steps, margin):
    test = SequentialTest(images=len(steps), margin_points=margin)
    answers = [test.update(np.array([step])) for step in steps]
    first = next(i for i, answer in enumerate(answers) if answer is not UNDECIDED)
    assert {*answers[first:]} == {test.answer}
    assert (test.seen, test.lost) == (first + 1, steps[: first + 1].count(-1))


@unhurried
@given(orders, margins, st.data())
def test_one_lost_image_less_never_turns_holds_into_another_answer_or_makes_it_later(steps, margin, data):
    assume(-1 in steps)
    at = data.draw(st.sampled_from([i for i, step in enumerate(steps) if step == -1]))
    worse, better = asked(steps, margin=margin), asked([*steps[:at], 0, *steps[at + 1 :]], margin=margin)
    if worse.answer is HOLDS:
        assert (better.answer, better.seen <= worse.seen) == (HOLDS, True)


@st.composite
def sets_begun(draw):
    """A set of images by their steps, and the order of those that were seen first."""
    steps = draw(st.permutations(draw(orders)))
    seen = draw(st.integers(0, len(steps) - 1))
    return steps[:seen], steps[seen:]


@unhurried
@given(sets_begun(), st.integers(0, 3))
def test_a_fortune_is_not_expected_to_rise_where_the_statement_is_true(begun, more):
    """And stays as it is on average where the sum is just what is stated at most."""
    seen, left = begun
    images, most = len(seen) + len(left), sum(seen) + sum(left) + more
    assume(all(certain_only_later(seen[:n], images, most) for n in range(len(seen) + 1)))
    before = fortunes(seen, images, most)[-1]
    after = np.mean([fortunes([*seen, step], images, most)[-1] for step in left])
    assert after <= before * (1 + 1e-9)
    if more == 0 and {*left} != {-1}:  # no odds are fair on what is sure to be lost
        assert after == pytest.approx(before)


def certain_only_later(seen, images, most):
    left = images - len(seen)
    return sum(seen) - left <= most < sum(seen) + left


def fortunes(steps, images, most):
    """The fortune at the start and after each step."""
    path = Gambler(images=images, most=most).bet(np.array(steps, dtype=np.int64), seen=0, total=0)
    return [1.0, *(exp(min(log_fortune, 700)) if log_fortune < inf else inf for log_fortune in path)]


@pytest.mark.parametrize("alpha", [0.15, 0.3])
def test_no_set_of_seven_images_is_answered_wrongly_more_often_than_stated(alpha):
    """Every order of every set, one lost image allowed: the chance of a wrong answer, exactly."""
    images, answers = 7, {}
    for steps in product((-1, 0, 1), repeat=images):
        answers.setdefault((steps.count(1), steps.count(-1)), []).append(asked(steps, margin=15, alpha=alpha).answer)
    wrong = {
        (gained, lost): sum(answer is (HOLDS if lost - gained > 1 else FAILS) for answer in found)
        / (comb(images, gained) * comb(images - gained, lost))
        for (gained, lost), found in answers.items()
    }
    assert 0 < max(wrong.values()) <= alpha


@pytest.mark.parametrize(("gained", "lost", "wrong"), [(2, 12, FAILS), (2, 13, HOLDS), (0, 11, HOLDS)])
def test_just_beside_the_margin_wrong_answers_are_as_rare_as_stated(gained, lost, wrong):
    """Of 200 orders at 20 %, 40 are expected at most; more than 57 are seen once in a thousand times."""
    found = [asked(population(gained, lost, total=2_000, seed=seed), alpha=0.2).answer for seed in range(200)]
    assert 0 < found.count(wrong) <= 57


def test_an_empty_block_changes_nothing():
    test = SequentialTest(images=10, margin_points=10)
    assert (test.update(np.array([], dtype=int)), test.seen) == (UNDECIDED, 0)


def test_other_differences_are_refused():
    for bad in ([0, 2], [-2], [0.0, 1.0], [[0, 1]], [True, False], np.array([-128], dtype=np.int8)):
        with pytest.raises(DataError, match="not -1, 0 or 1 for each image"):
            SequentialTest(images=10, margin_points=10).update(np.array(bad))


def test_more_images_than_there_are_are_refused():
    test = SequentialTest(images=10, margin_points=10, alpha=NEVER_BY_CHANCE)
    test.update(np.zeros(4, dtype=int))
    with pytest.raises(DataError, match="7 images are given where 6 are left"):
        test.update(np.zeros(7, dtype=int))


@pytest.mark.parametrize(
    ("asked_for", "problem"),
    [
        ({"images": 0}, "0 images cannot be sampled"),
        ({"margin_points": 0}, "the margin 0 is not inside 0..100"),
        ({"alpha": 1}, "the chance of a wrong answer 1 is not inside 0..1"),
        ({"alpha": 0.0}, "the chance of a wrong answer 0.0 is not inside 0..1"),
    ],
)
def test_a_test_that_cannot_be_made_is_refused(asked_for, problem):
    with pytest.raises(UsageError, match=problem):
        SequentialTest(**{"images": 100, "margin_points": 0.5, **asked_for})
