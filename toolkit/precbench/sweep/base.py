"""What the variants of a sweep share: the base, the graph that ONNX Runtime makes of it, and batches to prove with."""

import itertools
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import ModelError, ProviderError
from precbench.graph import OnnxModel, graph_difference, load_model
from precbench.graph.ordering import in_order
from precbench.graph.partition import with_data_inside, with_values, write_part
from precbench.runtime import Session, SessionSettings, open_session
from precbench.runtime.batches import ReadyBatch, ready_batch
from precbench.runtime.memory import resident_bytes
from precbench.runtime.optimization import as_it_is, save_optimized
from precbench.sweep.batches import Batches
from precbench.sweep.limits import Limits
from precbench.sweep.meter import Meter
from precbench.sweep.variants import Values, same_bits

Arrays = Mapping[str, NDArray[Any]]
_COPIES = 3
"""A session takes about three times the bytes of its model: as written, as read, and as its kernels lay them out."""

_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a caller asks of a sweep.

    Attributes:
        batches: to run on.
        settings: of the sessions.
        limits: of memory and time.
        workers: how many sessions run at a time.
        meter: adds up where the time goes.
        folder: for files that are soon removed.
        start_bytes: what the process took before the sweep.
    """

    batches: Batches
    settings: SessionSettings
    limits: Limits
    workers: int
    meter: Meter
    folder: Path
    start_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Proof:
    """A batch, and what the base gives for it."""

    batch: ReadyBatch
    expected: Arrays


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Base:
    """What the variants of a sweep share.

    Attributes:
        terms: of the sweep; its settings name the provider that runs the base.
        model: the base.
        session: of the base.
        executed: the graph that ONNX Runtime makes of the base, nothing in which is fused or folded any more; None
            where it is not to be had: then nothing is cut.
        why_not: why it is not to be had.
        proofs: the first batch, and the last where it has fewer rows.
        batch_s: seconds that the base takes for a batch.
        optimizing_s: seconds that it took to optimize it.
        session_bytes: about what a session of the whole takes.
        outputs_bytes: of a variant's outputs for all rows.
    """

    terms: Terms
    model: OnnxModel
    session: Session
    executed: OnnxModel | None
    why_not: str | None
    proofs: tuple[Proof, ...]
    batch_s: float
    optimizing_s: float
    session_bytes: int
    outputs_bytes: int

    @property
    def all_s(self) -> float:
        """Seconds that the workers take for running the base on all batches."""
        return self.batch_s * len(self.terms.batches) / self.terms.workers


def open_base(model: OnnxModel, terms: Terms) -> Base:
    """Open a base, and run the batches that parts of it will be proved with.

    Raises:
        PrecbenchError: no session can be made of the base, it fails, or the batches do not fit it.
    """
    before_bytes = resident_bytes()
    session = open_model(model, terms.settings, terms)
    terms = replace(terms, settings=replace(terms.settings, provider=session.provider))
    proofs = tuple(_proof(session, terms, index) for index in _unlike(terms.batches))
    with terms.meter.time("proofs"):
        began = perf_counter()
        session.run(proofs[0].batch.feeds)
        batch_s = perf_counter() - began
    grown_bytes = resident_bytes() - before_bytes
    began = perf_counter()
    executed, why_not = _executed_or_why(model, terms)
    optimizing_s = perf_counter() - began
    return Base(
        terms=terms,
        model=model,
        session=session,
        executed=executed,
        why_not=why_not,
        proofs=proofs,
        batch_s=batch_s,
        optimizing_s=optimizing_s,
        session_bytes=max(_COPIES * model.proto.ByteSize(), grown_bytes),
        outputs_bytes=_bytes_per_row(proofs[0]) * terms.batches.rows,
    )


def open_model(model: OnnxModel, settings: SessionSettings, terms: Terms) -> Session:
    """Make a session of a model that is in memory.

    Raises:
        PrecbenchError: none can be made, or the model cannot be written for ONNX Runtime to read.
    """
    with terms.meter.time("sessions"), _soon_removed(terms.folder) as place:
        write_part(model, place / "model.onnx")
        return open_session(place / "model.onnx", settings)


def open_part(base: Base, model: OnnxModel) -> Session:
    """Make a session of a part of the executed graph, which runs it as it is.

    Raises:
        ModelError: none can be made of it.
    """
    return open_model(model, as_it_is(base.terms.settings), base.terms)


def executed_changes(base: Base, values: Values) -> dict[int, NDArray[Any]] | str:
    """Return what a variant's values change in the executed graph, by position there; or why it cannot be told.

    ONNX Runtime optimizes the variant as it does for a session of its own. Nearly always that gives the base's graph
    with other constants in it; but it may look at values (a product with 1 is left out), and then the graph is another.
    """
    if base.executed is None:
        return base.why_not or ""
    variant = with_values(base.model, values)
    executed, why_not = _executed_or_why(variant, base.terms)
    if executed is None:
        return why_not or ""
    difference = None if _are_alike(base.executed, executed) else graph_difference(base.executed, executed)
    if difference is not None:
        return f"ONNX Runtime makes another graph of it: {difference}"
    pairs = zip(base.executed.tensors(), executed.tensors(), strict=True)
    return {
        mine.position: np.array(executed.values(theirs))
        for mine, theirs in pairs
        if mine.proto != theirs.proto and not same_bits(base.executed.values(mine), executed.values(theirs))
    }


def _are_alike(one: OnnxModel, other: OnnxModel) -> bool:
    """Whether two graphs are field by field the same but for initializers: quicker than to say what differs."""
    return (
        one.proto.graph.node == other.proto.graph.node
        and one.proto.graph.input == other.proto.graph.input
        and one.proto.graph.output == other.proto.graph.output
        and one.proto.opset_import == other.proto.opset_import
        and one.proto.functions == other.proto.functions
        and _initializers(one) == _initializers(other)
    )


def _initializers(model: OnnxModel) -> list[tuple[object, ...]]:
    graph = model.proto.graph
    dense = [(tensor.name, tensor.data_type, *tensor.dims) for tensor in graph.initializer]
    return [*dense, *((sparse.SerializeToString(),) for sparse in graph.sparse_initializer)]


def _unlike(batches: Batches) -> tuple[int, ...]:
    """The first batch and, where it has fewer rows, the last: for another number of rows other kernels may be taken."""
    last = len(batches) - 1
    return (0,) if last == 0 or batches.rows % batches.size == 0 else (0, last)


def _proof(session: Session, terms: Terms, index: int) -> Proof:
    with terms.meter.time("inputs"):
        batch = ready_batch(session.inputs, terms.batches[index])
    with terms.meter.time("proofs"):
        return Proof(batch=batch, expected=session.run(batch.feeds))


def _bytes_per_row(proof: Proof) -> int:
    return sum(array.nbytes for array in proof.expected.values()) // proof.batch.ran


def _executed_or_why(model: OnnxModel, terms: Terms) -> tuple[OnnxModel | None, str | None]:
    with terms.meter.time("optimizing"), _soon_removed(terms.folder) as place:
        write_part(model, place / "model.onnx")
        try:
            save_optimized(place / "model.onnx", terms.settings, place / "executed.onnx")
            return with_data_inside(in_order(load_model(place / "executed.onnx"))), None
        except (ModelError, ProviderError) as error:
            return None, error.problem


@contextmanager
def _soon_removed(folder: Path) -> Iterator[Path]:
    place = folder / str(next(_numbers))
    place.mkdir()
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
