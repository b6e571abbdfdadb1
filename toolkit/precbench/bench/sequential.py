"""The paper's protocol on the same sessions, so that one can see what it makes of two identical models."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from precbench.bench.arms import BASE, Line, line_up_passes
from precbench.bench.caveats import Caveat
from precbench.bench.inputs import BatchInputs
from precbench.bench.options import TimingOptions
from precbench.bench.result import COMPLETE, Result, early_end
from precbench.bench.setup import Setup
from precbench.errors import ModelError
from precbench.runtime import SessionSettings
from precbench.timing.journal import Kind, words_reading
from precbench.timing.processes import Outcome, run_child
from precbench.timing.samples import DONE
from precbench.timing.schedule import ProcessPlan

PROTOCOL = "sequential"
IMAGES = 10_000
"""Of a pass: the paper's number."""
_SPARE = 1.2  # times the time of a pass that the budget named in a warning has room for


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPasses:
    """The passes at one batch size, those that were finished.

    Args:
        asked: calls of a pass that is not cut.
        creation_ns: per arm the time of making its session.
        elapsed_ns: per arm each call, in order; the base first.
        budget_needed_s: of the whole command, for passes that are not cut; None where they were not.
    """

    inputs: BatchInputs
    asked: int
    creation_ns: Mapping[str, int]
    elapsed_ns: Mapping[str, Sequence[int]]
    budget_needed_s: float | None

    def to_json(self) -> dict[str, Any]:
        """Return every call, and what the paper's way makes of them."""
        return {
            "batch": self.inputs.batch,
            "inputs": dict(self.inputs.recipe),
            "calls_asked": self.asked,
            "cut": self.budget_needed_s is not None,
            "passes": {arm: self._pass(arm) for arm in self.elapsed_ns},
            "warnings": [] if self.budget_needed_s is None else [self._about_the_cut(self.budget_needed_s).to_json()],
        }

    def _pass(self, arm: str) -> dict[str, Any]:
        elapsed = self.elapsed_ns[arm]
        return {
            "calls": len(elapsed),
            "total_ns": sum(elapsed),
            "first_ns": elapsed[0],
            "creation_ns": self.creation_ns[arm],
            "total_over_base": sum(elapsed) / sum(self.elapsed_ns[BASE]),
            "elapsed_ns": list(elapsed),
        }

    def _about_the_cut(self, needed_s: float) -> Caveat:
        return Caveat(
            problem=f"batch {self.inputs.batch or '?'}: the budget cut each pass after {len(self.elapsed_ns[BASE]):,} "
            f"of {self.asked:,} calls: the cold first call weighs more in it than in the paper's {IMAGES:,} samples",
            remedy=f"give --budget {math.ceil(needed_s)}s, which has room for whole passes",
        )


class SequentialBenchmark(Result[BatchPasses]):
    """What the paper's protocol gave, or what there is of it: per batch size and arm the calls, the total and the first
    call's time, and the total over the base's. There is no interval and no verdict, since nothing was repeated.
    """

    protocol: ClassVar[str] = PROTOCOL


def benchmark_sequentially(
    base: Path,
    variants: Sequence[Path],
    *,
    settings: SessionSettings,
    inputs: Sequence[BatchInputs],
    options: TimingOptions,
) -> SequentialBenchmark:
    """Time one pass over 10,000 samples per model in one process: the base first and cold, then itself again, then the
    variants, if there are any; no warm-up, nothing repeated.

    A pass of the base that would take longer than its share of the budget is cut, and so are the others, after as
    many calls. The passes that were finished before Ctrl-C or an error are returned, marked as partial.

    Raises:
        UsageError, ModelError, ProviderError, DataError: as `benchmark`, and before the first pass was finished.
        KeyboardInterrupt: likewise.
    """
    line = line_up_passes(base, variants)
    setup = Setup.of(base, variants, line, settings=settings, inputs=inputs, options=options)
    measured = _measure_batches(setup.request, line, inputs, options.budget_s)
    made = partial(setup.result, SequentialBenchmark, *measured, caveats=(_ABOUT_THE_PROTOCOL,))
    try:
        return made()
    except KeyboardInterrupt:  # while it looked at the machine; all is measured
        return made()


_ABOUT_THE_PROTOCOL = Caveat(
    problem="the paper's protocol: one pass each, the base first and cold, no repeats, no interval",
    remedy="look at what it gives the control, which is the base again; leave --protocol out to measure",
)


def _measure_batches(
    request: Mapping[str, Any], line: Line, inputs: Sequence[BatchInputs], budget_s: float
) -> tuple[tuple[BatchPasses, ...], str, Exception | None]:
    """The batch sizes of which a pass was finished, and how it ended."""
    shares = len(inputs) * len(line.arms)
    batches = list[BatchPasses]()
    for some in inputs:
        asked = -(-IMAGES // (some.batch or 1))
        try:
            outcome = _run(request, line, some, asked, budget_s / shares)
            if passes := [words_reading(words) for kind, words in outcome.records if kind is Kind.READING]:
                batches.append(_batch(some, passes, asked, shares))
            outcome.raise_failure()
            if outcome.ended != DONE:
                raise ModelError(f"the measuring process was {outcome.ended}", "free memory, or use a smaller --batch")
        except (KeyboardInterrupt, Exception) as error:
            if not batches:
                raise
            return (tuple(batches), *early_end(error))
    return tuple(batches), COMPLETE, None


def _run(request: Mapping[str, Any], line: Line, inputs: BatchInputs, asked: int, share_s: float) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="precbench-") as folder:
        plan = ProcessPlan(replicate=0, process=0, arms=tuple(line.arms), seed=0)
        call = {
            "plan": plan.to_json(),
            "request": {**request, "feeds": str(inputs.save(Path(folder)))},
            "calls": asked,
            "most_s": share_s,
        }
        return run_child("precbench.bench.sequential_child", call)


def _batch(inputs: BatchInputs, passes: Sequence[Mapping[str, Any]], asked: int, shares: int) -> BatchPasses:
    base_ns = passes[0]["elapsed_ns"]
    pass_s = sum(base_ns) / len(base_ns) * asked / 1e9
    return BatchPasses(
        inputs=inputs,
        asked=asked,
        creation_ns={one["arm"]: one["creation_ns"] for one in passes},
        elapsed_ns={one["arm"]: one["elapsed_ns"] for one in passes},
        budget_needed_s=_SPARE * pass_s * shares if len(base_ns) < asked else None,
    )
