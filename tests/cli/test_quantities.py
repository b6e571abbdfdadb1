"""What a user types for a duration, a percentage and batch sizes is what is meant, or is refused with the remedy."""

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precbench.cli.quantities import parse_batches, parse_duration_s, parse_percent
from precbench.errors import UsageError

SECONDS = {"ms": Fraction(1, 1000), "s": 1, "m": 60, "h": 3600, "": 1}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("2m", 120), ("1.5h", 5400), ("500ms", 0.5), ("60", 60), ("60.0", 60), (".5 s", 0.5), (" 1. s ", 1),
     ("0.7ms", 0.0007), ("+3s", 3)],
)  # fmt: skip
def test_durations_are_read_in_their_units(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@given(st.decimals(min_value="0.001", max_value=10**6, places=3), st.sampled_from(list(SECONDS)))
def test_a_duration_is_its_number_times_its_unit(number, unit: str) -> None:
    assert parse_duration_s(f"{number}{unit}") == float(Fraction(str(number)) * SECONDS[unit])


@pytest.mark.parametrize("text", ["0", "0s", "0.00h", "-0m"])
def test_a_budget_of_zero_is_refused_as_such(text: str) -> None:
    with pytest.raises(UsageError, match=rf"^a budget of '{text}' is no time at all.*\ngive some, such as 20s or 2m$"):
        parse_duration_s(text)


@pytest.mark.parametrize(("text", "word"), [("-5s", "negative"), ("9" * 400, "endless")])
def test_a_duration_is_positive_and_finite(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=rf"is {word}\ngive some time, such as 60s"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    "text", ["", " ", "s", "sixty", "60 sec", "1m30s", "1e3s", "nan", "inf", "infs", "1,5h", "٣s", "60S", "1__0", "0x1"]
)
def test_what_is_no_duration_is_refused_with_the_forms_it_may_have(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no duration\nwrite a number with ms, s, m or h"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("text", "fraction"), [("1%", 0.01), ("0.5 %", 0.005), (" .7% ", 0.007), ("99.9%", 0.999), ("+2%", 0.02)]
)
def test_percentages_become_fractions(text: str, fraction: float) -> None:
    assert parse_percent(text) == fraction


@given(st.decimals(min_value="0.001", max_value="99.999", places=3))
def test_a_percentage_is_the_nearest_fraction(number) -> None:
    assert parse_percent(f"{number}%") == float(Fraction(str(number)) / 100)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [("1", "write 1%"), ("2.50", "write 2.50%"), ("0.01", "write 1% if it is a fraction, 0.01% if it is in percent"),
     ("0", "write a percentage between"), ("100", "write a percentage between"), ("-1", "write a percentage between")],
)  # fmt: skip
def test_a_bare_number_is_refused_with_what_may_be_meant(text: str, remedy: str) -> None:
    with pytest.raises(UsageError, match="does not say whether it is in percent") as refused:
        parse_percent(text)
    assert refused.value.remedy.startswith(remedy)


@pytest.mark.parametrize("text", ["0%", "100%", "-1%", "250 %", "0.000%", "99.99999999999999999999%"])
def test_a_percentage_lies_between_0_and_100(text: str) -> None:
    with pytest.raises(UsageError, match="is not between 0 % and 100 %"):
        parse_percent(text)


@pytest.mark.parametrize("text", ["", "%", "one %", "1 percent", "1%%", "nan%", "0,5%", "1e0%"])
def test_what_is_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no percentage\nwrite a number and the sign"):
        parse_percent(text)


@pytest.mark.parametrize(("text", "sizes"), [("1", (1,)), ("1,32", (1, 32)), (" 32 , 1,008", (32, 1, 8))])
def test_batch_sizes_keep_their_order(text: str, sizes: tuple[int, ...]) -> None:
    assert parse_batches(text) == sizes


@given(st.lists(st.integers(1, 999_999_999), min_size=1, unique=True))
def test_every_list_of_batch_sizes_is_read_back(sizes: list[int]) -> None:
    assert parse_batches(",".join(map(str, sizes))) == tuple(sizes)


@pytest.mark.parametrize("text", ["", ",", "1,,2", "0", "1,0", "-1", "1.5", "1;2", "1e2", "one", "9" * 12, "²"])
def test_what_is_no_list_of_batch_sizes_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no list of batch sizes\nwrite whole numbers from 1"):
        parse_batches(text)


def test_a_batch_size_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'8,1,08' has the batch size 8 more than once\ngive each size once"):
        parse_batches("8,1,08")


@given(st.text())
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    for parse in (parse_duration_s, parse_percent, parse_batches):
        with contextlib.suppress(UsageError):
            assert parse(text)
