"""Laws that every grid keeps, what is written for it, and a grid of one's own."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from precbench.errors import UsageError
from precbench.grids import Grid, parse_grid
from precbench.grids.grid import bits_of
from precbench.grids.parsing import EXAMPLES

NARROW = st.floats(width=32, allow_nan=False, allow_infinity=False)
WEIGHTS = st.floats(-8, 8, width=32)
TENSORS = hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=WEIGHTS | NARROW)
TEXTS = st.sampled_from(EXAMPLES)


@given(TEXTS, TENSORS)
@settings(max_examples=300, deadline=None)
def test_what_is_on_the_grid_does_not_move_and_is_held(text: str, values: Any) -> None:
    grid = parse_grid(text).fitted(values, channel_axis=0)
    once = grid.nearest(values)
    assert once.dtype == values.dtype
    assert once.shape == values.shape
    assert np.array_equal(grid.nearest(once), once)
    assert grid.holds(once)


@given(TEXTS, hnp.arrays(np.float32, st.tuples(st.just(1), st.integers(2, 20)), elements=WEIGHTS | NARROW))
@settings(max_examples=300, deadline=None)
def test_the_order_of_two_values_is_never_turned_round(text: str, values: Any) -> None:
    grid = parse_grid(text).fitted(values, channel_axis=0)
    assert (np.diff(grid.nearest(np.sort(values))) >= 0).all()


@given(TEXTS, TENSORS)
@settings(max_examples=300, deadline=None)
def test_codes_are_equal_where_values_are_and_ordered_as_they_are(text: str, values: Any) -> None:
    row = values[:1]
    grid = parse_grid(text).fitted(row, channel_axis=0)
    points = np.sort(grid.nearest(row).ravel())[None]
    codes = grid.codes(points)
    if isinstance(codes, str):
        assert "beyond 2^" in codes
        return
    assert codes.shape == points.shape
    assert np.array_equal(np.diff(codes) == 0, np.diff(points) == 0)
    assert (np.diff(codes) >= 0).all()
    bits = grid.bits(points)
    assert bits is not None
    assert bits >= bits_of(codes)


@pytest.mark.parametrize("text", EXAMPLES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_each_floating_type_is_kept_and_the_values_given_are_not_modified(text: str, dtype: Any) -> None:
    values = np.linspace(-1, 1, 12, dtype=dtype).reshape(3, 4)
    before = values.copy()
    rounded = parse_grid(text).fitted(values, channel_axis=0).nearest(values)
    assert rounded.dtype == dtype
    assert np.array_equal(values, before)
    assert not np.shares_memory(rounded, values)


@pytest.mark.parametrize("text", EXAMPLES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(text: str, bad: float) -> None:
    grid = parse_grid(text).fitted(np.ones((1, 2), np.float32), channel_axis=0)
    with pytest.raises(ValueError, match="finite values only"):
        grid.nearest(np.array([[1, bad]], np.float32))


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_grid_is_known_by_its_text(text: str) -> None:
    assert str(parse_grid(text)) == text
    assert parse_grid(text) == parse_grid(f" {text} ")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        *(("decimals:4", "decimal:4"), ("pow:5", "pow2:5"), ("float8_e4m2", "float8_e4m3"), ("bfloat", "bfloat16")),
        *(("posit:8", "posit:8,0"), ("int8", "int:8"), ("int:8:chanel", "int:8:channel"), ("fixed:0.7", "fixed:Q0.7")),
    ],
)
def test_a_misspelt_grid_is_refused_with_the_nearest_form(typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"{typed!r} is no grid") as caught:
        parse_grid(typed)
    assert meant in caught.value.remedy.split(";")[0]


@pytest.mark.parametrize(
    "typed",
    [
        *("decimal:13", "step:0", "step:-1", "step:1e50", "1-2-5:1", "r10:17", "fixed:Q9.9", "fixed:Q0.200"),
        *("fixed:auto:1", "pow2:1", "pow2:9", "int:1", "int:99", "posit:2,0", "posit:17,1", "posit:8,9"),
    ],
)
def test_a_number_out_of_range_is_refused_with_the_range(typed: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_grid(typed)
    assert caught.value.remedy.startswith("give ")


class Thirds(Grid):
    """A grid of one's own: multiples of a third."""

    def __str__(self) -> str:
        return "thirds"

    def nearest(self, values: Any) -> Any:
        return (np.rint(values * 3) / 3).astype(values.dtype)


def test_a_grid_of_ones_own_needs_a_text_and_a_nearest_point() -> None:
    values = np.array([0.3, 0.7, 0.3], np.float32)
    points = Thirds().nearest(values)
    assert Thirds().fitted(values).holds(points)
    assert not Thirds().holds(values)
    assert Thirds().codes(values) == "not on the grid thirds"
    codes = Thirds().codes(points)
    assert not isinstance(codes, str)
    assert codes.tolist() == [0, 1, 0]
    assert Thirds().bits(points) == 1


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1))
def test_so_many_bits_hold_the_codes_and_one_fewer_do_not(codes: list[int]) -> None:
    bits = bits_of(np.array(codes))
    signed = min(codes) < 0

    def hold(width: int) -> bool:
        low, high = (-(1 << (width - 1)), 1 << (width - 1)) if signed else (0, 1 << width)
        return all(low <= code < high for code in codes)

    assert hold(bits)
    assert bits == 1 or not hold(bits - 1)
