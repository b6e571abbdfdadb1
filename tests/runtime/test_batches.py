"""One batch at a time is what `predict_batches` makes of all of them; and memory can be looked at."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from precbench.errors import DataError, ModelError
from precbench.runtime import TensorSpec, predict_batches
from precbench.runtime.batches import ready_batch, store_rows
from precbench.runtime.memory import resident_bytes


class Doubling:
    """A session of y = 2 x that remembers what it was run with."""

    def __init__(self, batch: int | str) -> None:
        self.inputs = (TensorSpec(name="x", dtype=np.dtype(np.float32), shape=(batch, 2)),)
        self.ran: list[NDArray[Any]] = []

    def run(self, feeds: Any) -> dict[str, NDArray[Any]]:
        self.ran.append(feeds["x"])
        return {"y": 2 * feeds["x"]}


@given(st.integers(1, 20), st.integers(1, 6), st.booleans())
def test_batches_one_by_one_are_what_predict_batches_makes_of_them(rows: int, size: int, fixed: bool) -> None:
    whole, single = (Doubling(size if fixed else "batch") for _ in range(2))
    data = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    parts = [{"x": data[start : start + size]} for start in range(0, rows, size)]
    expected = predict_batches(whole, parts, rows=rows)
    outputs: dict[str, NDArray[Any]] = {}
    for index, part in enumerate(parts):
        batch = ready_batch(single.inputs, part)
        assert (batch.rows, batch.ran) == (len(part["x"]), len(batch.feeds["x"]))
        store_rows(outputs, single.run(batch.feeds), batch, done=index * size, rows=rows)
    np.testing.assert_array_equal(outputs["y"], expected["y"])
    assert [array.tolist() for array in single.ran] == [array.tolist() for array in whole.ran]


def test_a_batch_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        ready_batch(Doubling("n").inputs, {"x": np.empty((0, 2), np.float32)})


def test_outputs_that_cannot_be_joined_are_refused() -> None:
    batch = ready_batch(Doubling("n").inputs, {"x": np.ones((3, 2), np.float32)})
    with pytest.raises(ModelError, match="cannot be joined"):
        store_rows({}, {"y": np.ones(2)}, batch, done=0, rows=6)


def test_resident_memory_grows_with_what_is_held() -> None:
    before = resident_bytes()
    held = np.ones(64 << 20, np.uint8)
    assert resident_bytes() - before > held.nbytes // 2
