"""Every variant's outputs on every image, bit for bit as sessions of their own give them, in a fraction of the time."""

import gc
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray

from precbench.errors import UsageError
from precbench.graph import OnnxModel
from precbench.progress import SILENT, Progress
from precbench.runtime import SessionSettings, predict_batches, usable_cores
from precbench.runtime.memory import resident_bytes
from precbench.runtime.settings import MAX_THREADS
from precbench.sweep.base import Base, Terms, open_base
from precbench.sweep.batches import Batches
from precbench.sweep.limits import Limits
from precbench.sweep.meter import Meter
from precbench.sweep.passes import Pass, open_pass, open_whole_pass, run_pass
from precbench.sweep.planning import SweepPlan, plan_sweep
from precbench.sweep.runners import Uncut, Way
from precbench.sweep.variants import Variant


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finished:
    """A variant that has been run on all rows.

    Attributes:
        variant: its name.
        outputs: output name -> array [rows, …], in the model's order. Variants may share arrays: do not write to them.
        way: how they came to be.
        why: where the variant ran whole, why it was not cut.
        share: of the nodes that a session of its own runs, how many ran for this variant, 0..1.
    """

    variant: str
    outputs: Mapping[str, NDArray[Any]]
    way: Way
    why: str | None
    share: float


def sweep(
    model: OnnxModel,
    variants: Sequence[Variant],
    batches: Batches,
    settings: SessionSettings,
    *,
    workers: int | None = None,
    limits: Limits | None = None,
    started: Callable[[Sequence[str]], None] | None = None,
    progress: Progress = SILENT,
    meter: Meter | None = None,
) -> Iterator[Finished]:
    """Run variants of a model on all rows and yield each when it is finished, in an order of the sweep's own.

    The law: a variant's outputs are those of `run_plain` with the same batches and settings, bit for bit.

    How: ONNX Runtime optimizes the base and every variant as it does for sessions of their own, and the graphs that
    come out are compared. Mostly they differ in a few constants. What these can reach is cut off the base's graph and
    run for each variant; what comes before runs once for all, block of batches by block, on the same kernels as in a
    session of its own, since nothing is optimized again. Every part is run with the base's weights first and must give
    the base's bits, on the first batch and on an incomplete last one; where it does not, or where there is nothing to
    cut, the variant runs whole. A variant that changes nothing is not run, nor is one with another's very values.

    Variants that run in one pass over the images are yielded one after another when it ends: see `Limits`.

    Args:
        model: the base.
        variants: with names of their own.
        batches: for all of them. What `make` returns is not kept longer than a block.
        settings: of the sessions.
        workers: how many sessions run at a time, 1..1024, each with the threads of the settings. Several of one thread
            do no less than one of several, whose threads wait for each other at every node. They change no bit. None:
            on the CPU as many as there are cores for, elsewhere one.
        limits: of memory and time; None for the usual ones.
        started: called when a pass begins, with the names of the variants that are yielded when it ends.
        progress: stepped by rows, of all variants together.
        meter: adds up where the time goes.

    Raises:
        UsageError: the number of workers is out of range, or two variants have one name.
        PrecbenchError: a variant or a batch does not fit the model, or a session cannot be made or fails.
    """
    workers = _default_workers(settings) if workers is None else workers
    if not 1 <= workers <= MAX_THREADS:
        raise UsageError(f"{workers} workers is outside 1..{MAX_THREADS}", "give at most the cores you have")
    if not variants:
        return
    meter, start_bytes = meter or Meter(), resident_bytes()
    plan = plan_sweep(model, variants)
    rows = batches.rows * sum(len(family.variants) for family in plan.families)
    with (
        TemporaryDirectory(prefix="precbench-", ignore_cleanup_errors=True) as folder,
        progress.track("evaluating", rows) as step,
    ):
        terms = Terms(
            batches=batches,
            settings=settings,
            limits=limits or Limits(),
            workers=workers,
            meter=meter,
            folder=Path(folder),
            start_bytes=start_bytes,
        )
        base = open_base(model, terms)
        of_base = _BaseOutputs(base)
        say_started = started or _say_nothing
        if plan.as_base:
            say_started(_names(plan, plan.as_base))
        for variant in plan.as_base:
            yield from _with_twins(plan, _finished(_Run(variant=variant, way=Way.BASE), {}, of_base))
        families, uncut = deque(plan.families), deque[Uncut]()
        while families or uncut:
            opened = open_pass(base, families, uncut) if families else open_whole_pass(base, uncut)
            if not opened.variants:
                continue
            ways = _ways(opened)
            say_started(_names(plan, opened.variants))
            outputs = run_pass(base, opened, step)
            del opened  # and with it the sessions
            gc.collect()
            for way in ways:
                yield from _with_twins(plan, _finished(way, outputs.pop(way.variant), of_base))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    """How a variant is run, without the session that runs it."""

    variant: Variant
    way: Way
    share: float = 0.0
    why: str | None = None


class _BaseOutputs:
    """The base's outputs for all rows, run when they are first needed."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._outputs: Mapping[str, NDArray[Any]] | None = None
        self.names = [spec.name for spec in base.session.outputs]

    def __getitem__(self, name: str) -> NDArray[Any]:
        if self._outputs is None:
            batches = self._base.terms.batches
            with self._base.terms.meter.time("before the cut"):
                self._outputs = predict_batches(self._base.session, batches, rows=batches.rows)
        return self._outputs[name]


def _default_workers(settings: SessionSettings) -> int:
    return min(MAX_THREADS, max(1, usable_cores() // settings.intra_op_threads)) if settings.provider == "cpu" else 1


def _say_nothing(names: Sequence[str]) -> None:
    del names


def _ways(opened: Pass) -> list[_Run]:
    behind = [
        _Run(variant=runner.variant, way=runner.way, share=runner.share)
        for group in opened.groups
        for runner in group.runners
    ]
    return [*behind, *(_Run(variant=each.variant, way=Way.WHOLE, share=1.0, why=each.why) for each in opened.uncut)]


def _finished(run: _Run, found: Mapping[str, NDArray[Any]], of_base: _BaseOutputs) -> Finished:
    outputs = {name: found[name] if name in found else of_base[name] for name in of_base.names}
    return Finished(variant=run.variant.name, outputs=outputs, way=run.way, why=run.why, share=run.share)


def _with_twins(plan: SweepPlan, finished: Finished) -> Iterator[Finished]:
    yield finished
    for twin in plan.twins.get(finished.variant, ()):
        yield Finished(variant=twin.name, outputs=finished.outputs, way=Way.TWIN, why=None, share=0.0)


def _names(plan: SweepPlan, variants: Sequence[Variant]) -> list[str]:
    return [name for each in variants for name in (each.name, *(twin.name for twin in plan.twins.get(each.name, ())))]
