"""One batch at a time, as `predict_batches` runs it: filled up to a fixed size before, cut back to its rows after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import DataError, ModelError
from precbench.runtime.inputs import fixed_batch
from precbench.runtime.tensors import TensorSpec

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadyBatch:
    """What a session is run with for one batch.

    Attributes:
        feeds: one array per input.
        rows: how many rows the batch has.
        ran: how many the feeds have: more where the model fixes its batch size and the batch had to be filled up.
    """

    feeds: Arrays
    rows: int
    ran: int


def ready_batch(specs: Sequence[TensorSpec], feeds: Arrays) -> ReadyBatch:
    """Return a batch as `predict_batches` feeds it to a session with these inputs.

    Raises:
        DataError: it has no rows, different numbers of rows, or more than the model takes.
    """
    names = batched_names(specs)
    rows = rows_of(feeds, names)
    fixed = fixed_batch([spec for spec in specs if spec.name in names])
    return ReadyBatch(
        feeds=feeds if fixed is None else _padded(feeds, names, rows, fixed), rows=rows, ran=fixed or rows
    )


def store_rows(
    outputs: dict[str, NDArray[Any]], found: Mapping[str, NDArray[Any]], batch: ReadyBatch, *, done: int, rows: int
) -> None:
    """Put a batch's outputs where `predict_batches` puts them.

    Args:
        outputs: of all rows; an output is added when it is first found.
        found: the batch's.
        batch: that was run.
        done: rows of the batches before it.
        rows: of all batches.

    Raises:
        ModelError: an output has not one row per input row, or another size than in the batches before.
    """
    for name, array in found.items():
        if array.ndim == 0 or len(array) != batch.ran:
            raise ModelError(
                f"the output {name!r} has the shape {list(array.shape)} for {batch.ran} rows of input, so its "
                f"batches cannot be joined",
                "use a model whose outputs have one row per input row",
            )
        if name not in outputs:
            outputs[name] = np.empty((rows, *array.shape[1:]), dtype=array.dtype)
        target = outputs[name]
        if target.shape[1:] != array.shape[1:]:
            raise ModelError(
                f"the output {name!r} changes its shape from batch to batch: {list(target.shape[1:])}, "
                f"then {list(array.shape[1:])}",
                "use a model whose outputs have one size",
            )
        target[done : done + batch.rows] = array[: batch.rows]


def batched_names(specs: Sequence[TensorSpec]) -> list[str]:
    """Return the inputs that are cut into batches: those whose number of rows is open, else all that have rows."""
    with_rows = [spec for spec in specs if spec.shape]
    symbolic = [spec.name for spec in with_rows if not isinstance(spec.shape[0], int)]
    return symbolic or [spec.name for spec in with_rows] or [spec.name for spec in specs]


def rows_of(feeds: Arrays, names: Sequence[str]) -> int:
    """Return how many rows the named feeds have.

    Raises:
        DataError: none, or different numbers.
    """
    counts = {name: len(feeds[name]) if np.ndim(feeds[name]) else 0 for name in names if name in feeds}
    if not counts or min(counts.values()) == 0:
        raise DataError("the inputs have no rows", "give at least one row for each input")
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise DataError(f"the inputs have different numbers of rows ({shown})", "give every input the same rows")
    return next(iter(counts.values()))


def _padded(feeds: Arrays, names: Sequence[str], count: int, fixed: int) -> Arrays:
    if count > fixed:
        raise DataError(f"a batch of {count} rows is given to a model fixed to {fixed}", f"give at most {fixed} rows")
    if count == fixed:
        return feeds
    return {
        name: np.concatenate([array, np.repeat(array[-1:], fixed - count, axis=0)]) if name in names else array
        for name, array in feeds.items()
    }
