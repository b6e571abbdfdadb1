"""One of four words per comparison."""

import json
from dataclasses import replace
from math import exp, expm1, inf, log, log1p

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from precbench.errors import UsageError
from precbench.timing.statistics import BATCH, PROCESS, Estimate
from precbench.timing.verdict import Comparison, Verdict, check_margin, judge

few = settings(max_examples=50, deadline=None)

FASTER, SLOWER, EQUIVALENT, INCONCLUSIVE = Verdict


def of(mean, error=0.001, units=30, unit=PROCESS):
    return Estimate(mean=mean, error=error, units=units, unit=unit)


def judged(*pairs, margin=0.01, p=0.05):
    """Judge pairs of an arm's and a control's estimate; the arms are a, b, c..."""
    compared = [
        (Comparison(arm=name, base="base", control="control"), arm, control)
        for name, (arm, control) in zip("abcdefgh", pairs, strict=False)
    ]
    return judge(compared, margin=margin, p=p)


estimates = st.builds(
    Estimate,
    mean=st.floats(-0.05, 0.05),
    error=st.floats(1e-4, 0.02),
    units=st.integers(2, 60),
    unit=st.sampled_from([PROCESS, PROCESS, BATCH]),
)
controls = estimates
pairs = st.lists(st.tuples(estimates, controls), min_size=1, max_size=5)
levels = st.sampled_from([0.05, 0.0422, 0.01])


@pytest.mark.parametrize(
    ("arm", "control", "word", "reason"),
    [
        (of(-0.05), of(0.002), FASTER, "the whole interval lies beyond what the base shows against itself"),
        (of(+0.05), of(0.002), SLOWER, "the whole interval lies beyond what the base shows against itself"),
        (
            of(-0.006, 0.0005),
            of(0.0, 0.0005),
            FASTER,
            "the whole interval lies beyond what the base shows against itself; by less than the margin of 1 %",
        ),
        (of(0.003), of(0.002), EQUIVALENT, "the whole interval lies within the margin of 1 %"),
        (
            of(0.009),
            of(0.01),
            INCONCLUSIVE,
            "the interval reaches beyond the margin of 1 %, and not beyond what the base shows against itself",
        ),
        (
            of(0.0, 0.01),
            of(0.0),
            INCONCLUSIVE,
            "the interval is too wide for a margin of 1 %, whatever the ratio",
        ),
        (of(0.5, inf, 1), of(0.0), INCONCLUSIVE, "too few blocks for an interval"),
        (of(0.0, inf, 0), of(0.0, inf, 0), INCONCLUSIVE, "too few blocks for an interval"),
        (of(-0.05), of(0.0, inf, 1), INCONCLUSIVE, None),
    ],
)
def test_each_word_has_its_case_and_its_reason(arm, control, word, reason):
    [finding] = judged((arm, control))
    assert finding.verdict is word
    assert reason is None or finding.reason == reason
    json.dumps(finding.to_json(), allow_nan=False)
    assert finding.to_json()["verdict"] == word.value


def test_the_words_are_these_four():
    assert list(Verdict) == ["faster", "slower", "equivalent", "inconclusive"]


@few
@given(estimates, controls, levels)
def test_one_arm_is_faster_where_the_printed_interval_lies_wholly_beyond_the_printed_outer_bound(arm, control, p):
    [finding] = judged((arm, control), p=p)
    if finding.outer_bound is None or finding.ratio.low is None:
        assert finding.verdict in (EQUIVALENT, INCONCLUSIVE)
        return
    bound, low, high = log(finding.outer_bound), log(finding.ratio.low), log(finding.ratio.high)
    assume(min(abs(high + bound), abs(low - bound)) > 1e-9)
    assert (finding.verdict is FASTER) == (high < -bound)
    assert (finding.verdict is SLOWER) == (low > bound)


@few
@given(estimates, controls, levels, st.floats(0.001, 0.05))
def test_one_arm_is_equivalent_where_it_is_neither_and_the_printed_interval_lies_within_the_margin(
    arm, control, p, margin
):
    [finding] = judged((arm, control), p=p, margin=margin)
    low, high = finding.ratio.low or 0.0, finding.ratio.high or inf
    assume(min(abs(high / (1 + margin) - 1), abs(low * (1 + margin) - 1)) > 1e-9)
    is_single = BATCH in (arm.unit, control.unit)
    within = 1 / (1 + margin) < low and high < 1 + margin and not is_single
    assert (finding.verdict is EQUIVALENT) == (within and finding.verdict not in (FASTER, SLOWER))


@pytest.mark.parametrize("units", [(BATCH, BATCH), (BATCH, PROCESS), (PROCESS, BATCH)])
def test_one_process_is_never_called_equivalent_since_it_has_not_seen_how_processes_differ(units):
    arm, control = (of(0.0, 1e-6, unit=unit) for unit in units)
    [finding] = judged((arm, control))
    assert finding.verdict is INCONCLUSIVE
    assert finding.widening is None


def test_an_equal_usual_call_is_not_called_equivalent_where_the_mean_time_is_shown_to_differ():
    arm, control = of(0.0005, 0.0004), of(0.0, 0.0004)
    comparison = Comparison(arm="a", base="base", control="control")
    verdicts = {
        mean.mean: judge([(comparison, arm, control)], means=[mean], margin=0.01, p=0.05)[0]
        for mean in (of(0.0, 0.002), of(0.09, 0.01), of(-0.09, 0.01), of(0.02, 0.02), of(0.008, 0.001))
    }
    assert {mean: finding.verdict for mean, finding in verdicts.items()} == {
        0.0: EQUIVALENT, 0.09: INCONCLUSIVE, -0.09: INCONCLUSIVE, 0.02: EQUIVALENT, 0.008: EQUIVALENT
    }  # fmt: skip
    assert verdicts[0.09].reason.startswith("the usual call lies within the margin of 1 %, the mean time does not")
    assert verdicts[0.09].mean_ratio.point == pytest.approx(exp(0.09))


def test_a_verdict_that_only_the_correction_for_several_comparisons_denies_says_so():
    one, nine = judged((of(0.0066, 0.0016), of(0.0, 0.0002))), judged(*[(of(0.0066, 0.0016), of(0.0, 0.0002))] * 9)
    assert one[0].verdict is EQUIVALENT or one[0].verdict is SLOWER
    assert nine[0].verdict is SLOWER or "for the 9 of this call (Holm)" in nine[0].reason


def test_with_one_process_an_effect_has_to_reach_further_the_more_are_compared():
    arm, control = of(0.05, 1e-6, unit=BATCH), of(0.002, 1e-6, unit=BATCH)
    assert judged((arm, control))[0].verdict is SLOWER
    assert {finding.verdict for finding in judged(*[(arm, control)] * 9)} == {INCONCLUSIVE}


@few
@given(pairs, levels)
def test_swapping_base_and_arm_mirrors_faster_and_slower(compared, p):
    mirror = {FASTER: SLOWER, SLOWER: FASTER, EQUIVALENT: EQUIVALENT, INCONCLUSIVE: INCONCLUSIVE}
    there = judged(*compared, p=p)
    back = judged(*[(replace(arm, mean=-arm.mean), control) for arm, control in compared], p=p)
    assert [mirror[finding.verdict] for finding in there] == [finding.verdict for finding in back]
    assert [finding.reason for finding in there] == [finding.reason for finding in back]


@few
@given(pairs, levels)
def test_what_the_control_shows_in_one_direction_counts_in_the_other(compared, p):
    there = judged(*compared, p=p)
    back = judged(*[(arm, replace(control, mean=-control.mean)) for arm, control in compared], p=p)
    assert [finding.verdict for finding in there] == [finding.verdict for finding in back]


@few
@given(pairs, st.randoms(use_true_random=False), levels)
def test_the_order_of_the_arms_does_not_matter(compared, random, p):
    order = list(range(len(compared)))
    random.shuffle(order)
    there, shuffled = judged(*compared, p=p), judged(*[compared[i] for i in order], p=p)
    assert [there[i].verdict for i in order] == [finding.verdict for finding in shuffled]


@few
@given(pairs, levels, st.data())
def test_an_estimate_just_beyond_the_smallest_effect_is_called_and_one_just_inside_is_not(compared, p, data):
    index = data.draw(st.integers(0, len(compared) - 1))
    smallest = judged(*compared, p=p)[index].smallest_effect
    assume(smallest is not None)
    arm, control = compared[index]
    for factor, called in ((1 + 1e-6, True), (1 - 1e-6, False)):
        for sign, word in ((-1, FASTER), (1, SLOWER)):
            moved = replace(arm, mean=sign * factor * log1p(smallest))
            finding = judged(*compared[:index], (moved, control), *compared[index + 1 :], p=p)[index]
            assert (finding.verdict is word) is called
            assert finding.smallest_effect == pytest.approx(smallest)


def test_no_effect_could_be_called_without_an_interval_of_the_control():
    [finding] = judged((of(-9.0), of(0.0, inf, 1)))
    assert (finding.outer_bound, finding.smallest_effect, finding.verdict) == (None, None, INCONCLUSIVE)


def test_of_several_arms_each_has_the_printed_interval_of_one_and_the_verdict_of_all():
    """Alone, p = 0.03 calls it; as the best of three it needs 0.0167."""
    control = of(0.0, 0.0, 30)
    arm = of(-float(stats.t.isf(0.015, 29)) * 0.01, 0.01, 30)
    [alone] = judged((arm, control))
    first, *_ = judged((arm, control), (of(0.0), control), (of(0.0), control))
    assert (alone.verdict, first.verdict) == (FASTER, INCONCLUSIVE)
    assert alone.ratio == first.ratio
    assert (alone.p_difference, first.p_difference) == (pytest.approx(0.03), pytest.approx(0.09))
    assert first.smallest_effect > alone.smallest_effect
    both, clear = judged((arm, control), (of(-0.5), control))
    assert (both.verdict, clear.verdict) == (FASTER, FASTER)
    assert both.smallest_effect == pytest.approx(alone.smallest_effect)


@pytest.mark.parametrize("units", [(BATCH, BATCH), (BATCH, PROCESS), (PROCESS, BATCH)])
def test_with_one_process_an_effect_has_to_reach_12_7_times_beyond_the_control(units):
    arm, control = (of(0.0, unit=unit) for unit in units)
    [several], [single] = judged((of(0.0), of(0.0))), judged((arm, control))
    assert log(single.outer_bound) / log(several.outer_bound) == pytest.approx(12.706, abs=0.001)


def test_the_interval_at_an_early_look_is_as_wide_as_its_level_asks():
    [early] = judged((of(-0.0065), of(0.0)), p=0.0008)
    [only] = judged((of(-0.0065), of(0.0)), p=0.05)
    width = stats.t.isf(0.0004, 29) / stats.t.isf(0.025, 29)
    assert log(early.ratio.high / early.ratio.low) == pytest.approx(width * log(only.ratio.high / only.ratio.low))
    assert (early.verdict, only.verdict) == (INCONCLUSIVE, FASTER)
    assert early.ratio.level == only.ratio.level == 0.95


def test_widening_is_how_much_longer_for_an_interval_half_as_wide_as_the_margin():
    half = 2.5 * log1p(0.01)
    [finding] = judged((of(0.0, half / float(stats.t.isf(0.025, 29))), of(0.0)))
    assert finding.verdict is INCONCLUSIVE
    assert finding.widening == pytest.approx(25.0)


@pytest.mark.parametrize(
    ("arm", "control"), [(of(0.0), of(0.0)), (of(-0.5), of(0.0)), (of(0.012, 0.001), of(0.02)), (of(0, inf, 1), of(0))]
)
def test_no_widening_where_the_verdict_or_the_margin_does_not_ask_for_it(arm, control):
    assert judged((arm, control))[0].widening is None


@pytest.mark.parametrize("margin", [0, 1, -0.01, float("nan")])
def test_a_margin_outside_0_to_1_is_refused(margin):
    with pytest.raises(UsageError, match=r"is not inside 0\.\.1") as caught:
        check_margin(margin)
    assert caught.value.remedy == "give a fraction such as 0.01 for 1 %"
    with pytest.raises(UsageError):
        judged((of(0.0), of(0.0)), margin=margin)


def test_the_outer_bound_is_as_far_as_the_controls_interval_reaches_on_either_side():
    [finding] = judged((of(0.0), of(-0.004)))
    assert finding.outer_bound == pytest.approx(exp(0.004 + 0.001 * stats.t.isf(0.025, 29)))
    assert finding.outer_bound == pytest.approx(1 / finding.control.low)
    assert finding.smallest_effect == pytest.approx(expm1(0.004 + 2 * 0.001 * stats.t.isf(0.025, 29)))
