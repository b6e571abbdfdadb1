"""One batch at a time, as `predict_batches` runs it: filled up to a fixed size before, cut back to its rows after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from precbench.runtime.inputs import fixed_batch
from precbench.runtime.prediction import Arrays, _batched_names, _padded, _rows, _store
from precbench.runtime.tensors import TensorSpec


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
    names = _batched_names(specs)
    rows = _rows(feeds, names)
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
    _store(outputs, found, done=done, count=batch.rows, ran=batch.ran, rows=rows)
