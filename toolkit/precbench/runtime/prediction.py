"""Run a model over many rows in batches: memory for one batch of inputs, and for the outputs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from precbench.errors import DataError, UsageError
from precbench.progress import SILENT, Progress
from precbench.runtime.batches import Arrays, batched_names, ready_batch, rows_of, store_rows
from precbench.runtime.inputs import fixed_batch
from precbench.runtime.tensors import TensorSpec, check_names


class Runnable(Protocol):
    """What predict needs of a session."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Declared inputs."""
        ...

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """Run once."""
        ...


def predict(session: Runnable, inputs: Arrays, *, batch: int, progress: Progress = SILENT) -> dict[str, NDArray[Any]]:
    """Return the outputs for all rows, as one run over them all would give them, in batches.

    A model that fixes its batch size runs with that, whatever `batch` says: the last batch is filled up with its last
    row and the surplus outputs are cut off. In a model with an open batch, inputs whose first dimension is fixed go
    into every batch as they are. What fits into one run is one run, and its outputs may have any shape.

    Args:
        session: from `open_session`.
        inputs: one array per input, all with the same number of rows.
        batch: rows per run, at least 1.
        progress: stepped by the rows of each batch.

    Returns:
        Output name -> array [rows, …] (any shape after a single run).

    Raises:
        DataError: the inputs do not fit, or have no rows or different numbers of them.
        ModelError: several runs are needed and an output has not one row per input row.
        UsageError: the batch is below 1.
    """
    if batch < 1:
        raise UsageError(f"the batch {batch} is below 1", "give a batch of 1 or more")
    check_names(inputs, session.inputs)
    if _is_one_run(session.inputs, inputs):
        return session.run(inputs)
    names = batched_names(session.inputs)
    rows = rows_of(inputs, names)
    fixed = fixed_batch([spec for spec in session.inputs if spec.name in names])
    if fixed is None and rows <= batch:
        return session.run(inputs)
    return predict_batches(session, _batches(inputs, names, rows, fixed or batch), rows=rows, progress=progress)


def predict_batches(
    session: Runnable, batches: Iterable[Arrays], *, rows: int, progress: Progress = SILENT
) -> dict[str, NDArray[Any]]:
    """Return the outputs for batches that are made as they are needed, such as images preprocessed on the way.

    Args:
        session: from `open_session`.
        batches: feeds of at least one row each; where the model fixes the batch, of at most that many.
        rows: in all batches together, at least 1.
        progress: stepped by the rows of each batch.

    Raises:
        DataError: a batch does not fit, or the batches hold another number of rows.
        ModelError: an output has not one row per input row, or changes its other sizes from batch to batch.
    """
    outputs: dict[str, NDArray[Any]] = {}
    done = 0
    with progress.track("predicting", rows) as step:
        for feeds in batches:
            batch = ready_batch(session.inputs, feeds)
            if done + batch.rows > rows:
                raise DataError(f"the batches hold more than {rows} rows", "say how many rows there are")
            store_rows(outputs, session.run(batch.feeds), batch, done=done, rows=rows)
            done += batch.rows
            step(batch.rows)
    if done != rows:
        raise DataError(f"the batches hold {done} rows, not {rows}", "say how many rows there are, at least 1")
    return outputs


def _is_one_run(specs: Sequence[TensorSpec], inputs: Arrays) -> bool:
    return all(spec.shape == np.shape(inputs[spec.name]) for spec in specs)


def _batches(inputs: Arrays, names: Sequence[str], rows: int, size: int) -> Iterator[Arrays]:
    for start in range(0, rows, size):
        yield {name: array[start : start + size] if name in names else array for name, array in inputs.items()}
