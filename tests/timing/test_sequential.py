"""The paper's way of timing."""

import pytest

from precbench.timing.sequential import Pass, measure_sequential


def passes_of(clock, durations_ns, *, making_ns=0, **options):
    def make(arm):
        clock.now_ns += making_ns
        clock.calls.append(f"make {arm}")
        return clock.callable(arm, durations_ns[arm])

    asked = {"calls": 3, "most_s": 1.0, **options}
    return dict(measure_sequential(make, list(durations_ns), **asked, clock=clock))


def test_one_model_after_the_other_each_made_when_its_turn_comes(clock):
    passes = passes_of(clock, {"base": 10, "a": 20, "b": 5})
    assert clock.calls == ["make base", *["base"] * 3, "make a", *["a"] * 3, "make b", *["b"] * 3]
    assert list(passes) == ["base", "a", "b"]
    assert {arm: one.elapsed_ns for arm, one in passes.items()} == {"base": (10,) * 3, "a": (20,) * 3, "b": (5,) * 3}
    assert [one.total_ns for one in passes.values()] == [30, 60, 15]


def test_the_first_and_cold_call_counts_and_making_does_not(clock):
    durations = iter([1000, 10, 10, 10, 10, 10])
    passes = passes_of(clock, {"base": lambda: next(durations), "a": lambda: next(durations)}, making_ns=777)
    assert passes["base"] == Pass(creation_ns=777, elapsed_ns=(1000, 10, 10))
    assert passes["base"].total_ns == 1020
    assert passes["a"].total_ns == 30


@pytest.mark.parametrize(("most_s", "calls"), [(0.0, 1), (0.25, 3), (0.3, 3), (99.0, 10)])
def test_a_cut_in_the_first_pass_decides_how_many_calls_all_passes_have(clock, most_s, calls):
    passes = passes_of(clock, {"base": 100_000_000, "a": 900_000_000}, calls=10, most_s=most_s)
    assert [len(one.elapsed_ns) for one in passes.values()] == [calls, calls]


def test_a_pass_is_told_as_soon_as_it_is_over(clock):
    told = measure_sequential(lambda arm: clock.callable(arm, 10), ["base", "a"], calls=2, most_s=1.0, clock=clock)
    assert next(told) == ("base", Pass(creation_ns=0, elapsed_ns=(10, 10)))
    assert clock.calls == ["base", "base"]
