"""When a process is warm."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precbench.timing.warmup import WINDOW, is_steady

few = settings(max_examples=50, deadline=None)


def test_fewer_than_ten_rounds_are_never_steady():
    assert not is_steady([100.0] * (2 * WINDOW - 1))
    assert is_steady([100.0] * 2 * WINDOW)


@pytest.mark.parametrize(("after", "steady"), [(100.9, True), (99.1, True), (101.1, False), (98.9, False)])
def test_without_scatter_a_change_of_more_than_one_percent_is_not_steady(after, steady):
    assert is_steady([100.0] * WINDOW + [after] * WINDOW) is steady


def test_only_the_last_ten_rounds_count():
    assert is_steady([1e9] * 100 + [100.0] * 10)


def test_scatter_larger_than_the_change_is_steady_and_a_change_larger_than_the_scatter_is_not():
    scatter = [-5.0, 3.0, 0.0, -2.0, 6.0]
    assert is_steady([100 + s for s in scatter] + [102 + s for s in scatter])
    assert not is_steady([100 + s for s in scatter] + [130 + s for s in scatter])


@few
@given(st.lists(st.floats(1, 1e12), min_size=10, max_size=30), st.floats(0.01, 100))
def test_the_unit_of_time_does_not_matter(rounds, unit):
    logs = np.log(rounds[-10:])
    close = abs(abs(np.median(logs[5:]) - np.median(logs[:5])) - 0.01) < 1e-9
    assert close or is_steady(rounds) == is_steady([max(1.0, 100 * unit) * r for r in rounds])


def test_rounds_that_took_no_time_are_steady_and_no_error():
    assert is_steady([0.0] * 10)
