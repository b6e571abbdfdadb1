"""Batches cover all rows once, in order; limits are positive."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precbench.errors import UsageError
from precbench.sweep import Batches, Limits


def nothing(_start: int, _stop: int) -> dict[str, Any]:
    return {}


@given(st.integers(1, 50), st.integers(1, 60))
def test_batches_cover_all_rows_in_order(rows: int, size: int) -> None:
    batches = Batches(rows=rows, size=size, make=lambda start, stop: {"x": np.arange(start, stop)})
    found = [feeds["x"] for feeds in batches]
    assert np.concatenate(found).tolist() == list(range(rows))
    assert len(batches) == len(found)
    assert all(len(each) == size for each in found[:-1])
    assert [batches.start(index) for index in range(len(batches))] == [int(each[0]) for each in found]


@pytest.mark.parametrize("index", [-1, 2])
def test_there_is_no_batch_outside(index: int) -> None:
    with pytest.raises(IndexError):
        Batches(rows=4, size=2, make=nothing)[index]


@pytest.mark.parametrize("numbers", [{"rows": 0, "size": 1}, {"rows": 1, "size": 0}])
def test_batches_of_nothing_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="at least one"):
        Batches(**numbers, make=nothing)


@pytest.mark.parametrize("limit", [{"sessions_bytes": 0}, {"activations_bytes": -1}, {"pass_s": float("nan")}])
def test_limits_that_are_not_positive_are_refused(limit: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(limit))}.*\n.*positive"):
        Limits(**limit)
