"""The decimal grid against Python's `decimal`."""

import decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from precbench.errors import UsageError
from precbench.grids import MAX_DECIMALS, decimals_needed, round_to_decimals

FLOATS = [np.float16, np.float32, np.float64]
DECIMALS = st.integers(0, MAX_DECIMALS)


def nearest_float(value: decimal.Decimal, dtype: Any) -> Any:
    """The float of `dtype` nearest to an exact decimal, ties to even, found by comparing exact neighbours."""
    start = dtype(float(value))
    with np.errstate(over="ignore"):
        candidates = [start, np.nextafter(start, dtype(np.inf)), np.nextafter(start, dtype(-np.inf))]
    finite = [c for c in candidates if np.isfinite(c)]
    width = {2: np.uint16, 4: np.uint32, 8: np.uint64}[np.dtype(dtype).itemsize]
    with decimal.localcontext() as context:
        context.prec = 1200
        best = min(finite, key=lambda c: (abs(decimal.Decimal(float(c)) - value), int(np.array(c).view(width)) & 1))
    return dtype(np.copysign(best, -1.0 if value.is_signed() else 1.0))


def oracle(value: Any, decimals: int) -> Any:
    with decimal.localcontext() as context:
        context.prec = 1200
        exact = decimal.Decimal(float(value)).quantize(
            decimal.Decimal(1).scaleb(-decimals), rounding=decimal.ROUND_HALF_EVEN
        )
    return nearest_float(exact, type(value))


@st.composite
def near_the_grid(draw: st.DrawFn) -> tuple[Any, int]:
    """Half steps of the grid and their neighbours: where a rounding can go wrong."""
    dtype, decimals = draw(st.sampled_from(FLOATS)), draw(DECIMALS)
    half_steps = draw(st.integers(-(2**40), 2**40) | st.integers(-2000, 2000))
    with np.errstate(over="ignore"):
        value = dtype(half_steps / (2 * 10**decimals))
        if not np.isfinite(value):
            value = dtype(0.5)
        for _ in range(draw(st.integers(0, 2))):
            value = np.nextafter(value, dtype(draw(st.sampled_from([-1, 1])) * 65504), dtype=dtype)
    return value, decimals


@st.composite
def anything(draw: st.DrawFn) -> tuple[Any, int]:
    dtype = draw(st.sampled_from(FLOATS))
    width = np.dtype(dtype).itemsize * 8
    return dtype(draw(st.floats(width=width, allow_nan=False, allow_infinity=False))), draw(DECIMALS)


@settings(max_examples=1500, deadline=None)
@given(anything() | near_the_grid())
@example((np.float32(2.0**-16), 12))
@example((np.float64(0.285), 2))
@example((np.float64(2.675), 2))
@example((np.float64(4503599627.3704955), 6))
@example((np.float64(9007.199254740993), 12))
@example((np.float16(7), 4))
@example((np.float16(6e-8), 7))
@example((np.float32(-0.0), 3))
@example((np.float32(-1e-42), 5))
def test_each_value_goes_to_the_float_nearest_to_the_nearest_decimal(case: tuple[Any, int]) -> None:
    value, decimals = case
    rounded = round_to_decimals(np.array([value]), decimals)[0]
    expected = oracle(value, decimals)
    assert rounded.dtype == value.dtype
    assert rounded.tobytes() == expected.tobytes(), (value, decimals, rounded, expected)


@given(anything() | near_the_grid())
def test_rounding_twice_changes_nothing_more(case: tuple[Any, int]) -> None:
    once = round_to_decimals(np.array([case[0]]), case[1])
    assert round_to_decimals(once, case[1]).tobytes() == once.tobytes()


@given(anything())
def test_a_value_whose_spacing_is_wider_than_the_step_stays(case: tuple[Any, int]) -> None:
    value, decimals = case
    below = abs(value) - np.nextafter(abs(value), np.zeros_like(value))
    if below >= 10.0**-decimals:
        assert round_to_decimals(np.array([value]), decimals)[0] == value


@given(
    hnp.arrays(np.float32, st.integers(2, 50), elements=st.floats(-10, 10, width=32)),
    DECIMALS,
)
def test_rounding_keeps_the_order_of_values(values: Any, decimals: int) -> None:
    ordered = np.sort(values)
    assert (np.diff(round_to_decimals(ordered, decimals)) >= 0).all()


@pytest.mark.parametrize(
    ("value", "decimals", "expected"),
    [(0.5, 0, 0.0), (1.5, 0, 2.0), (2.5, 0, 2.0), (-0.125, 2, -0.12), (0.375, 2, 0.38), (0.12345, 4, 0.1235)],
)
def test_ties_go_to_the_even_digit_and_only_exact_ties_are_ties(value: float, decimals: int, expected: float) -> None:
    assert round_to_decimals(np.array([value], np.float32), decimals)[0] == np.float32(expected)


def test_an_array_larger_than_a_block_is_rounded_throughout_and_its_input_kept() -> None:
    values = np.random.default_rng(1).normal(0, 0.1, (3, 70_001)).astype(np.float32)
    before = values.copy()
    rounded = round_to_decimals(values, 3)
    assert rounded.shape == values.shape
    np.testing.assert_array_equal(values, before)
    sample = np.random.default_rng(2).choice(values.size, 500, replace=False)
    for index in sample:
        assert rounded.reshape(-1)[index] == oracle(values.reshape(-1)[index], 3)


def test_a_transposed_or_empty_or_scalar_array_keeps_its_shape() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3).T / 7
    np.testing.assert_array_equal(round_to_decimals(values, 2), round_to_decimals(values.copy(), 2))
    assert round_to_decimals(np.zeros((0, 3), np.float16), 2).shape == (0, 3)
    assert round_to_decimals(np.array(0.26, np.float32), 1).shape == ()


@pytest.mark.parametrize("decimals", [-1, 13, 400])
def test_decimals_out_of_range_are_refused_with_the_range(decimals: int) -> None:
    with pytest.raises(
        UsageError, match=rf"is {decimals}, outside 0 to 12\ngive a whole number of decimals from 0 to 12"
    ):
        round_to_decimals(np.zeros(1, np.float32), decimals)


@pytest.mark.parametrize("decimals", [2.5, "4", None, True])
def test_decimals_that_are_no_whole_number_are_refused(decimals: Any) -> None:
    with pytest.raises(UsageError, match="not a whole number"):
        round_to_decimals(np.zeros(1, np.float32), decimals)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", FLOATS)
def test_values_that_are_not_finite_are_refused(bad: float, dtype: Any) -> None:
    with pytest.raises(ValueError, match="finite"):
        round_to_decimals(np.array([0.5, bad], dtype), 3)


def test_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="int64"):
        round_to_decimals(np.arange(3), 3)


@pytest.mark.parametrize(
    ("values", "needed"),
    [
        ([0.0, -0.0, 3.0], 0),
        ([0.5, 0.25], 2),
        ([0.1, 0.2], 1),
        ([1e-12], 12),
        ([1e-13], None),
        ([np.nan], None),
        ([], 0),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_decimals_needed_are_the_fewest_that_move_nothing(
    values: list[float], needed: int | None, dtype: Any
) -> None:
    assert decimals_needed(np.array(values, dtype)) == needed


@given(hnp.arrays(np.float32, 5, elements=st.floats(-100, 100, width=32)), DECIMALS)
def test_rounded_values_need_no_more_decimals_than_they_were_given(values: Any, decimals: int) -> None:
    needed = decimals_needed(round_to_decimals(values, decimals))
    assert needed is not None
    assert needed <= decimals
