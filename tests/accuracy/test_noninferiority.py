"""What flips show, in a few words."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precbench.accuracy import Change, Flips, decide, flips, smallest_margin_points
from precbench.errors import UsageError

GAIN, NO_LOSS, SMALL_LOSS, LOSS, UNDECIDED = Change


def of(gained, lost, total=10_000, level=0.95) -> Flips:
    """Flips with so many images gained and lost, half of the others right."""
    labels, reference = np.zeros(total, dtype=int), np.zeros(total, dtype=int)
    reference[:gained] = reference[gained + lost :: 2] = 1
    variant = reference.copy()
    variant[:gained], variant[gained : gained + lost] = 0, 1
    return flips(reference, variant, labels, level=level)


@pytest.mark.parametrize(
    ("gained", "lost", "total", "word", "reason"),
    [
        (0, 0, 10_000, NO_LOSS, "the whole interval lies above -0.5 points"),
        (9, 12, 10_000, NO_LOSS, "the whole interval lies above -0.5 points"),
        (50, 10, 10_000, GAIN, "more images are right"),
        (20, 50, 10_000, SMALL_LOSS, "the whole interval lies between -0.5 points and 0"),
        (0, 4, 10_000, SMALL_LOSS, "the whole interval lies between -0.5 points and 0"),
        (60, 130, 10_000, LOSS, "fewer images are right, perhaps by more than 0.5 points"),
        (10, 400, 10_000, LOSS, "fewer images are right, by more than 0.5 points"),
        (300, 310, 10_000, UNDECIDED, "the interval reaches below -0.5 points, and no difference is shown"),
        (0, 0, 360, UNDECIDED, "so few images do not show a margin of 0.5 points: with no flip at all, 360 show 1.1"),
    ],
)
def test_a_word_and_its_reason(gained, lost, total, word, reason):
    [decision] = decide([of(gained, lost, total)], margin_points=0.5)
    assert (decision.change, decision.reason) == (word, reason)
    assert decision.smallest_margin_points == smallest_margin_points(total)


def test_the_words_are_plain():
    assert [str(change) for change in Change] == ["gain", "no loss", "loss within the margin", "loss", "undecided"]


def test_alone_it_would_do_and_as_one_of_three_it_does_not():
    alone, crowd = of(100, 120), of(300, 320)
    assert decide([alone], margin_points=0.5)[0].change is NO_LOSS
    first, *_ = decide([alone, crowd, crowd], margin_points=0.5)
    assert first.change is UNDECIDED
    assert first.reason == "its interval would do for one variant, not for the 3 of this experiment (Holm)"
    assert first.p_within_margin_holm == pytest.approx(3 * first.p_within_margin)
    assert first.p_difference == alone.p_value


def test_a_difference_is_corrected_too():
    """Six of six has p = 1/32: a gain alone, none as one of two."""
    six = of(6, 0)
    assert decide([six], margin_points=0.5)[0].change is GAIN
    first, _ = decide([six, of(0, 0)], margin_points=0.5)
    assert (first.change, first.p_difference_holm) == (NO_LOSS, pytest.approx(1 / 16))


def test_a_loss_that_its_own_interval_shows_is_never_called_none():
    """Among forty variants its p-value is no longer small enough; its interval still lies below 0."""
    first, *_ = decide([of(20, 45), *[of(0, 0)] * 40], margin_points=0.5)
    assert (first.change, first.p_difference_holm > 0.05) == (SMALL_LOSS, True)


def test_a_decision_is_plain_json():
    [decision] = decide([of(20, 50)], margin_points=0.5)
    told = json.loads(json.dumps(decision.to_json(), allow_nan=False))
    assert (told["change"], told["margin_points"]) == ("loss within the margin", 0.5)
    assert told["p_difference_holm"] == told["p_difference"] == of(20, 50).p_value


def test_no_variant_no_decision():
    assert decide([], margin_points=0.5) == []


unhurried = settings(deadline=None)
experiments = st.lists(
    st.builds(of, st.integers(0, 40), st.integers(0, 90), st.sampled_from([400, 10_000])), max_size=4
)


@unhurried
@given(experiments, st.sampled_from([0.1, 0.5, 5]))
def test_each_word_is_borne_out_by_the_interval_that_is_printed_beside_it(experiment, margin):
    for found, decision in zip(experiment, decide(experiment, margin_points=margin), strict=True):
        if decision.change in (NO_LOSS, SMALL_LOSS):
            assert found.low_points > -margin
            assert found.shown_margin_points < margin
        assert decision.within_margin or decision.change not in (NO_LOSS, SMALL_LOSS)
        assert not decision.within_margin or decision.change not in (LOSS, UNDECIDED)
        if decision.change in (SMALL_LOSS, LOSS):
            assert found.high_points < 0
        if decision.change is GAIN:
            assert found.low_points > 0
        if decision.change is NO_LOSS:
            assert found.high_points >= 0


@unhurried
@given(experiments, st.randoms())
def test_the_order_of_the_variants_changes_nothing(experiment, random):
    order = list(range(len(experiment)))
    random.shuffle(order)
    there = decide(experiment, margin_points=0.5)
    assert [there[i] for i in order] == decide([experiment[i] for i in order], margin_points=0.5)


@unhurried
@given(experiments, experiments)
def test_more_variants_only_take_back_what_was_said(experiment, others):
    fewer = decide(experiment, margin_points=0.5)
    more = decide([*experiment, *others], margin_points=0.5)
    weaker = {GAIN: {NO_LOSS, UNDECIDED}, NO_LOSS: {UNDECIDED}, SMALL_LOSS: {LOSS, UNDECIDED}, LOSS: {UNDECIDED}}
    for before, after in zip(fewer, more, strict=False):
        assert after.change is before.change or after.change in weaker[before.change]
        assert before.p_within_margin_holm <= after.p_within_margin_holm


@pytest.mark.parametrize("margin", [0, -0.5, 100, float("nan")])
def test_a_margin_that_is_none_is_refused(margin):
    with pytest.raises(UsageError, match=r"the margin .* is not inside 0..100\ngive percentage points such as 0.5"):
        decide([of(0, 0)], margin_points=margin)


def test_intervals_of_different_levels_are_refused():
    with pytest.raises(UsageError, match=r"the levels \[0.9, 0.95\]"):
        decide([of(0, 0), replace(of(0, 0), level=0.9)], margin_points=0.5)


def test_no_image_shows_no_margin():
    with pytest.raises(UsageError, match="0 images show no margin"):
        smallest_margin_points(0)
