"""Integer codes of values on a decimal grid: the quotient gives each value back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from precbench.errors import UsageError
from precbench.grids import (
    codes_outside,
    count_outside,
    decimal_codes,
    decimals_needed,
    integer_type_bits,
    round_to_decimals,
)

finite = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=True)
weights = st.floats(-1.5, 1.5, width=32) | finite


@settings(max_examples=300, deadline=None)
@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=6), elements=weights), st.integers(0, 10))
def test_the_quotient_of_code_and_power_of_ten_is_the_rounded_value(values: np.ndarray, decimals: int) -> None:
    rounded = round_to_decimals(values, decimals)
    codes = decimal_codes(rounded, decimals)
    if isinstance(codes, str):
        assert np.rint(np.abs(rounded.astype(np.float64)) * 10.0**decimals).max() > 2**24
        assert "beyond 2^24" in codes
        return
    assert codes.dtype == np.int64
    assert codes.shape == values.shape
    quotient = codes.astype(np.float32) / np.float32(10**decimals)
    assert quotient.dtype == np.float32
    np.testing.assert_array_equal(quotient, rounded)


@settings(max_examples=300, deadline=None)
@given(st.integers(-(2**23), 2**23), st.integers(0, 10))
def test_every_code_up_to_2_to_the_23_is_given_back(code: int, decimals: int) -> None:
    value = np.array([code], np.float32) / np.float32(10**decimals)
    found = decimal_codes(value, decimals)
    assert not isinstance(found, str)
    assert found.tolist() == [code]  # beyond, two codes may stand for one float32


def test_a_value_that_two_codes_stand_for_is_given_back_all_the_same() -> None:
    codes = np.arange(2**24 - 40_000, 2**24 - 1)
    values = codes.astype(np.float32) / np.float32(1000)
    found = decimal_codes(values, 3)
    assert not isinstance(found, str)
    assert (found != codes).any()
    np.testing.assert_array_equal(found.astype(np.float32) / np.float32(1000), values)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(-(2**31), 2**31 - 1)))
def test_the_type_is_the_smallest_that_holds_all(codes: list[int]) -> None:
    array = np.array(codes, np.int64)
    bits = integer_type_bits(array)
    assert codes_outside(array, bits).size == 0
    assert bits == 4 or codes_outside(array, bits // 2).size > 0
    for narrow in (4, 8, 16):
        outside = [i for i, k in enumerate(codes) if not -(2 ** (narrow - 1)) <= k < 2 ** (narrow - 1)]
        assert codes_outside(array, narrow).tolist() == outside
        assert count_outside(array, narrow) == len(outside)


@pytest.mark.parametrize(
    ("codes", "bits"),
    [([], 4), ([7, -8], 4), ([8], 8), ([-9], 8), ([127, -128], 8), ([128], 16), ([-32769], 32), ([2**31 - 1], 32)],
)
def test_the_ends_of_each_type(codes: list[int], bits: int) -> None:
    assert integer_type_bits(np.array(codes, np.int64)) == bits


def test_codes_of_known_values() -> None:
    codes = decimal_codes(np.float32([[0.1, -0.25], [1.0, -0.0]]), 2)
    assert not isinstance(codes, str)
    np.testing.assert_array_equal(codes, [[10, -25], [100, 0]])


def test_more_elements_than_a_block_are_all_looked_at() -> None:
    values = np.full(40_000, 0.5, np.float32)
    codes = decimal_codes(values, 1)
    assert not isinstance(codes, str)
    assert codes.tolist() == [5] * 40_000
    values[-1] = 0.55
    assert decimal_codes(values, 1) == "not on a grid of 1 decimals"
    codes[[20_000, 39_999]] = 8
    assert codes_outside(codes, 4).tolist() == [20_000, 39_999]


@pytest.mark.parametrize("decimals", [11, 12])
def test_a_power_of_ten_that_float32_does_not_hold_is_refused(decimals: int) -> None:
    reason = decimal_codes(np.float32([0.5]), decimals)
    assert reason == f"{decimals} decimals: 10^{decimals} is not exact in float32"
    assert int(np.float32(10**decimals)) != 10**decimals
    assert int(np.float32(10**10)) == 10**10


def test_codes_beyond_2_to_the_24_are_refused_with_the_largest() -> None:
    assert decimals_needed(np.float32([7.8125])) == 4
    values = np.float32([7.8125, 2.0**-7])
    assert decimal_codes(values, 7) == "codes reach 78,125,000, beyond 2^24, which float32 does not hold exactly"
    assert str(decimal_codes(np.float32([np.finfo(np.float32).min]), 0)).startswith("codes reach 3.4e+38, beyond")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    assert decimal_codes(np.float32([0.5, bad]), 1) == "holds NaN or infinite values"


def test_values_off_the_grid_are_refused() -> None:
    assert decimal_codes(np.float32([0.5, 0.123]), 2) == "not on a grid of 2 decimals"


def test_wrong_arguments_are_errors() -> None:
    with pytest.raises(UsageError, match="outside 0 to 12"):
        decimal_codes(np.float32([0.5]), 13)
    with pytest.raises(TypeError, match="for float32, not float64"):
        decimal_codes(np.array([0.5]), 2)
    with pytest.raises(ValueError, match="need more than 32 bits"):
        integer_type_bits(np.array([2**31]))
