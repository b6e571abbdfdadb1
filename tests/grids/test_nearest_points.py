"""Each grid against an oracle of its own, in exact rational arithmetic, written from the format's definition."""

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from precbench.grids import Grid, parse_grid
from precbench.grids.fixed import AutoFixedGrid, FixedGrid, bits_by_layer
from precbench.grids.floats import FloatGrid
from precbench.grids.integer import FittedIntegers, ScaledIntegers
from precbench.grids.posit import PositGrid, decode
from precbench.grids.pow2 import FittedPowersOfTwo, PowersOfTwo, largest_part
from precbench.grids.step import SERIES, StepGrid
from precbench.grids.table import TableGrid

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def near(grid: TableGrid) -> st.SearchStrategy[float]:
    """Points, borders and what lies next to them: where a grid goes wrong first; and any float."""
    table = grid.table()
    special = np.concatenate([table.points, table.borders]).astype(np.float32).astype(np.float64)
    at = st.integers(0, len(special) - 1).map(lambda index: float(special[index]))
    shifted = st.tuples(at, st.sampled_from([-np.inf, np.inf])).map(
        lambda pair: float(np.nextafter(np.float32(pair[0]), np.float32(pair[1])))
    )
    return (at | shifted | FLOATS | st.floats(-4, 4, width=32)).filter(np.isfinite)


def one(grid: Grid, value: float) -> Fraction:
    return Fraction(float(grid.nearest(np.array([value], np.float64))[0]))


# Floating-point formats: exponent bits, fraction bits, bias, the largest finite significand at the top exponent.

FORMATS = {"float16": (5, 10, 15, False), "bfloat16": (8, 7, 127, False), "float8_e5m2": (5, 2, 15, False)}
FORMATS["float8_e4m3"] = (4, 3, 7, True)  # no infinity: the top exponent has numbers, all but the last, which is NaN


def float_points(name: str) -> dict[Fraction, int]:
    """Magnitude to its fraction field, of every finite number, zero and subnormals among them."""
    exponents, fractions, bias, has_top = FORMATS[name]
    found = {Fraction(fraction, 2**fractions) * Fraction(2) ** (1 - bias): fraction for fraction in range(2**fractions)}
    for exponent in range(1, 2**exponents - (0 if has_top else 1)):
        for fraction in range(2**fractions - (1 if has_top and exponent == 2**exponents - 1 else 0)):
            found[(1 + Fraction(fraction, 2**fractions)) * Fraction(2) ** (exponent - bias)] = fraction
    return found


POINTS = {name: float_points(name) for name in FORMATS}
ORDERED = {name: sorted(points) for name, points in POINTS.items()}


def nearest_float(name: str, value: float) -> Fraction:
    magnitude, ordered = abs(Fraction(value)), ORDERED[name]
    best = min(
        ordered[max(0, np.searchsorted([float(p) for p in ordered], float(magnitude)) - 2) :][:4],
        key=lambda point: (abs(point - magnitude), POINTS[name][point] % 2),
    )
    return -best if value < 0 else best


@pytest.mark.parametrize("name", ["float8_e4m3", "float8_e5m2", "bfloat16"])
def test_a_float_goes_to_the_nearest_number_ties_to_the_even_significand(name: str) -> None:
    grid = FloatGrid(name)

    @given(near(grid))
    @settings(max_examples=150, deadline=None)
    def law(value: float) -> None:
        assert one(grid, value) == nearest_float(name, value)

    law()


@given(hnp.arrays(np.float32, 20, elements=FLOATS))
def test_float16_is_numpys_cast_where_that_is_finite(values: Any) -> None:
    with np.errstate(over="ignore"):
        cast = values.astype(np.float16).astype(np.float32)
    expected = np.where(np.isfinite(cast), cast, np.copysign(np.float32(65504), values))
    assert np.array_equal(FloatGrid("float16").nearest(values), expected)


@pytest.mark.parametrize(
    ("name", "largest", "smallest"),
    [
        ("float8_e4m3", 448, 2**-9),
        ("float8_e5m2", 57344, 2**-16),
        ("float16", 65504, 2**-24),
        ("bfloat16", None, 2**-133),
    ],
)
def test_range_subnormals_and_the_sign_of_zero(name: str, largest: float | None, smallest: float) -> None:
    grid = FloatGrid(name)
    if largest is not None:
        assert grid.nearest(np.array([1e30, -1e30])).tolist() == [largest, -largest]
    assert grid.nearest(np.array([smallest, smallest * 0.51, smallest * 0.5])).tolist() == [smallest, smallest, 0]
    assert np.signbit(grid.nearest(np.array([-smallest / 4], np.float64)))[0]


# Fixed point and integers.


@given(st.integers(-2, 6), st.integers(0, 9), FLOATS | st.floats(-70, 70, width=32))
def test_fixed_point_rounds_half_to_even_and_saturates(integer_bits: int, fraction_bits: int, value: float) -> None:
    if not 2 <= 1 + integer_bits + fraction_bits <= 16:
        return
    step = Fraction(1, 2**fraction_bits)
    code = round(Fraction(value) / step)  # Python rounds a fraction half to even
    low, high = -(2 ** (integer_bits + fraction_bits)), 2 ** (integer_bits + fraction_bits) - 1
    assert one(FixedGrid(integer_bits, fraction_bits), value) == min(max(code, low), high) * step


@given(hnp.arrays(np.float32, 30, elements=st.floats(-2, 2, width=32)), st.integers(2, 10))
def test_the_automatic_point_has_the_highest_sqnr_of_all_places(values: Any, bits: int) -> None:
    def noise(integer_bits: int) -> float:
        rounded = FixedGrid(integer_bits, bits - 1 - integer_bits).nearest(values.astype(np.float64))
        return float(np.square(rounded - values).sum())

    chosen = AutoFixedGrid(bits).fitted(values)
    assert (
        noise(chosen.integer_bits) <= min(noise(integer) for integer in range(-20, 6))
        or not values.any()
        or (np.abs(values).max() < 2.0**-20)
    )


@pytest.mark.parametrize("value", [1e-43, 1e-30, 3e38])
def test_the_smallest_and_the_largest_float_have_an_automatic_point(value: float) -> None:
    values = np.array([value, -value / 2], np.float32)
    grid = AutoFixedGrid(8).fitted(values)
    assert np.isfinite(grid.nearest(values)).all()
    assert np.abs(grid.nearest(values) - values).max() <= np.abs(values).max()


def test_half_as_many_weights_get_half_a_bit_more_and_the_average_is_kept() -> None:
    bits = bits_by_layer([400, 200, 100], 8)
    assert bits[1] - bits[0] == pytest.approx(0.5)
    assert bits[2] - bits[1] == pytest.approx(0.5)
    assert np.average(bits, weights=[400, 200, 100]) == pytest.approx(8)


def test_layers_that_are_rounded_together_share_the_bits_of_fixed_auto_and_of_no_other_grid() -> None:
    shared = AutoFixedGrid(6).shared([100_000, 100_000 // 16, 100_000 // 256, 0])
    assert list(map(str, shared)) == ["fixed:auto:6", "fixed:auto:8", "fixed:auto:10", "fixed:auto:14"]
    assert AutoFixedGrid(2).shared([10**6, 10**6])[0] == AutoFixedGrid(2)
    assert [grid.bits_wide for grid in AutoFixedGrid(16).shared([10**6, 1])] == [16, 16]
    assert AutoFixedGrid(8).shared([0, 0]) == [AutoFixedGrid(8)] * 2
    assert FixedGrid(0, 7).shared([100, 1]) == [FixedGrid(0, 7)] * 2


@given(st.integers(2, 12), st.floats(2.0**-20, 100, width=32), FLOATS | st.floats(-100, 100, width=32))
def test_scaled_integers_round_half_to_even_and_are_cut_off(bits: int, step: float, value: float) -> None:
    limit = 2 ** (bits - 1) - 1
    code = min(max(round(Fraction(value) / Fraction(step)), -limit), limit)
    assert one(ScaledIntegers(bits, step), value) == code * Fraction(step)


@given(hnp.arrays(np.float32, (3, 5), elements=st.floats(-4, 4, width=32)), st.integers(2, 10))
def test_the_largest_magnitude_gets_the_largest_integer_in_each_channel(values: Any, bits: int) -> None:
    limit = 2 ** (bits - 1) - 1
    grid = FittedIntegers(bits, per_channel=True).fitted(values, 1)
    codes = grid.codes(grid.nearest(values))
    assert not isinstance(codes, str)
    for channel, column in enumerate(codes.T):
        top = np.abs(values[:, channel]).max()
        if top > 1e-30:
            assert np.abs(column).max() == limit
        assert np.abs(column).max() <= limit


# Powers of two: the rule as the paper writes it.


@given(st.integers(-9, 3), st.integers(0, 7), FLOATS | st.floats(-30, 30, width=32))
def test_powers_of_two_follow_the_papers_rule(smallest: int, more: int, value: float) -> None:
    largest = smallest + more
    points = [Fraction(0), *(Fraction(2) ** k for k in range(smallest, largest + 1))]
    magnitude, expected = abs(Fraction(value)), Fraction(0)
    for alpha, beta in itertools.pairwise(points):
        if (alpha + beta) / 2 <= magnitude < 3 * beta / 2:
            expected = beta
    if magnitude >= 3 * points[-1] / 2:
        expected = points[-1]
    assert one(PowersOfTwo(smallest, largest, 5), value) == (expected if value > 0 else -expected)


@given(st.floats(2.0**-60, 2.0**60, width=32), st.integers(2, 8))
def test_the_exponents_are_those_of_the_paper(largest: float, bits: int) -> None:
    grid = FittedPowersOfTwo(bits).fitted(np.array([largest / 2, -largest], np.float32))
    assert Fraction(2) ** grid.largest <= 4 * Fraction(largest) / 3 < Fraction(2) ** (grid.largest + 1)
    assert grid.smallest == grid.largest + 1 - 2 ** (bits - 1) // 2


def test_a_part_of_the_weights_are_the_largest_and_what_is_held_stays_held() -> None:
    values = np.array([[0.1, -0.9], [0.5, -0.3]])
    half = largest_part(values, 0.5)
    assert half.tolist() == [[False, True], [True, False]]
    held = np.array([[True, False], [False, False]])
    assert largest_part(values, 0.5, held).tolist() == [[True, True], [False, False]]
    assert largest_part(values, 1.0).all()
    assert not largest_part(values, 0.0).any()


# Steps.


@given(st.sampled_from(["0.005", "0.3", "1e-7", "2.5", "0.015625", "7e3"]), FLOATS | st.floats(-1, 1, width=32))
def test_a_step_rounds_half_to_even_exactly_and_gives_the_nearest_float(step: str, value: float) -> None:
    exact = round(Fraction(value) / Fraction(step)) * Fraction(step)
    rounded = StepGrid(step).nearest(np.array([value], np.float32))[0]
    if abs(Fraction(value)) < 2**50 * Fraction(step):
        around = [rounded, np.nextafter(rounded, np.float32(np.inf)), np.nextafter(rounded, np.float32(-np.inf))]
        gaps = [abs(Fraction(float(each)) - exact) for each in around if np.isfinite(each)]
        assert gaps[0] == min(gaps)
    else:
        assert rounded == np.float32(value)


@given(st.sampled_from([*SERIES]), st.integers(2, 12), st.floats(2.0**-30, 2.0**30, width=32))
def test_the_step_of_a_series_is_the_smallest_that_holds_the_largest_weight(series: str, bits: int, top: float) -> None:
    fitted = parse_grid(f"{series}:{bits}").fitted(np.array([top, -top / 3], np.float32))
    limit = 2 ** (bits - 1) - 1
    step = Fraction(fitted.step)  # type: ignore[attr-defined]
    every = sorted(Fraction(f"{number:g}e{exponent}") for number in SERIES[series] for exponent in range(-37, 38))
    assert step == next(one for one in every if one * limit >= Fraction(top))


# Posits.


def posit_value(string: str, exponent_bits: int) -> Fraction:
    """The Posit Standard's formula: ((1 - 3s) + f) x 2^((1 - 2s) x (2^es r + e + s)), of the string as it is."""
    sign = int(string[0])
    body = string[1:]
    if "1" not in string:
        return Fraction(0)
    first = body[0]
    length = len(body) - len(body.lstrip(first))
    regime = length - 1 if first == "1" else -length
    left = body[length + 1 :]
    field = left[:exponent_bits] + "0" * max(0, exponent_bits - len(left))
    exponent = int(field, 2) if field else 0
    tail = left[exponent_bits:]
    fraction = Fraction(int(tail, 2), 2 ** len(tail)) if tail else Fraction(0)
    scale = (1 - 2 * sign) * (2**exponent_bits * regime + exponent + sign)
    return ((1 - 3 * sign) + fraction) * Fraction(2) ** scale


@pytest.mark.parametrize(("bits", "es"), [(8, 0), (8, 1), (8, 2), (6, 3), (16, 1)])
def test_every_posit_has_the_value_of_the_standards_formula(bits: int, es: int) -> None:
    for code in range(1 - 2 ** (bits - 1), 2 ** (bits - 1)):
        assert Fraction(decode(code, bits, es)) == posit_value(f"{code % 2**bits:0{bits}b}", es)


@pytest.mark.parametrize(("bits", "es"), [(8, 0), (8, 1), (16, 1)])
def test_a_value_goes_to_a_posit_by_the_standards_rule(bits: int, es: int) -> None:
    grid = PositGrid(bits, es)
    ordered = [posit_value(f"{code % 2**bits:0{bits}b}", es) for code in range(1 - 2 ** (bits - 1), 2 ** (bits - 1))]
    lowest = 1 - 2 ** (bits - 1)
    floats = np.array([float(point) for point in ordered])

    def expected(value: Fraction) -> Fraction:
        if value in (0, *ordered[:1], *ordered[-1:]):
            return value
        if value < ordered[0] or value > ordered[-1]:
            return ordered[0] if value < 0 else ordered[-1]
        below = int(np.searchsorted(floats, float(value), side="right")) - 1
        code = below + lowest
        if ordered[below] == value:
            return value
        if code == 0 or code + 1 == 0:  # between zero and the smallest: never zero
            return ordered[below + 1] if code == 0 else ordered[below]
        between = posit_value(f"{(2 * code + 1) % 2 ** (bits + 1):0{bits + 1}b}", es)
        if value < between or (value == between and code % 2 == 0):
            return ordered[below]
        return ordered[below + 1]

    @given(near(grid))
    @settings(max_examples=200, deadline=None)
    def law(value: float) -> None:
        assert one(grid, value) == expected(Fraction(value))

    law()


@pytest.mark.parametrize(("bits", "es", "name"), [(8, 0, "posit8"), (16, 1, "posit16")])
def test_posits_are_those_of_softposit(bits: int, es: int, name: str) -> None:
    softposit = pytest.importorskip("softposit", reason="softposit, an oracle for posits, is not installed")
    theirs, grid = getattr(softposit, name), PositGrid(bits, es)

    @given(near(grid))
    @settings(max_examples=300, deadline=None)
    def law(value: float) -> None:
        assert float(one(grid, value)) == float(theirs(value))

    law()
