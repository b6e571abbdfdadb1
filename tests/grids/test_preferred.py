"""Preferred steps, against Python's `decimal`, over all of float32."""

import decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from precbench.errors import ModelError
from precbench.grids.preferred import R10, preferred_steps


@example(1e7)
@example(1e-13)
@example(8e5)
@example(0.01)
@example(0.01250001)
@given(st.floats(1e-36, 1e37))
def test_the_first_step_is_the_nearest_that_is_not_below(least: float) -> None:
    (step,) = preferred_steps(np.array([least]), finer=0, coarser=0)[0]
    (below,), _ = preferred_steps(np.array([least]), finer=1, coarser=0)
    assert below < least * (1 + 1e-11)
    assert least * (1 - 1e-11) <= step < least * 1.281


@given(st.floats(1e-36, 1e37))
def test_every_step_is_a_decimal_of_three_digits_of_the_series(least: float) -> None:
    steps = preferred_steps(np.array([least]), finer=2, coarser=2)[:, 0]
    for step in steps:
        number = decimal.Decimal(repr(float(step)))
        assert float(number.scaleb(-number.adjusted())) in R10
    assert (np.diff(steps) > 0).all()
    assert (np.float32(steps) >= np.finfo(np.float32).smallest_normal).all()
    assert np.isfinite(np.float32(steps)).all()


@pytest.mark.parametrize("least", [1e-38, 1e-37, 7e37, 1e39, np.inf])
def test_steps_that_float32_does_not_hold_are_refused(least: float) -> None:
    with pytest.raises(ModelError, match=r"steps of 1e-37 to 8e\+37 exist") as refusal:
        preferred_steps(np.array([0.1, least]), finer=2, coarser=2)
    assert "another form" in refusal.value.remedy
