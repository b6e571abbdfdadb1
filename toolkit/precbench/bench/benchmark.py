"""Time variants against their base on ONNX Runtime: gate, measure in fresh processes, judge, record."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from precbench.bench.arms import Line, line_up
from precbench.bench.caveats import (
    Caveat,
    about_the_batches,
    about_the_measurement,
    about_the_profile,
    budget_needed_s,
)
from precbench.bench.gate import Gate
from precbench.bench.inputs import BatchInputs
from precbench.bench.options import TimingOptions
from precbench.bench.profile import profile
from precbench.bench.result import COMPLETE, Result, early_end
from precbench.bench.setup import Setup
from precbench.progress import SILENT, Progress
from precbench.runtime import SessionSettings
from precbench.timing.engine import Design, Measurement, RunProcess, measure_processes, replay
from precbench.timing.processes import ProcessRunner
from precbench.timing.samples import ProcessSamples
from precbench.timing.schedule import ProcessPlan
from precbench.timing.statistics import latencies

PROTOCOL = "blocks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """What to repeat at one batch size, in place of a budget.

    Args:
        plans: of the processes, in order.
        family: comparisons in the whole recorded call, that its verdicts were corrected for. Where it was interrupted,
            these are more than those that there is a plan of.
    """

    plans: tuple[ProcessPlan, ...]
    family: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What was measured at one batch size.

    Args:
        ended: "complete", or why the measurement or its profile was not finished.
        failure: the error that ended it; None otherwise.
    """

    inputs: BatchInputs
    measurement: Measurement
    profile: Mapping[str, Any] | None
    caveats: tuple[Caveat, ...]
    ended: str
    failure: Exception | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures, and the plan that a replay repeats; the samples are kept apart."""
        measured = self.measurement
        return {
            "batch": self.inputs.batch,
            "inputs": dict(self.inputs.recipe),
            "ended": measured.ended,
            "elapsed_s": measured.elapsed_s,
            "looks": list(measured.looks),
            "family": measured.design.family,
            "plan": measured.plan_json(),
            "processes": [_process_json(samples) for samples in measured.processes],
            "arms": {name: _arm_json(arm, self.inputs.batch) for name, arm in latencies(measured.processes).items()},
            "comparisons": [
                {**finding.to_json(), "budget_needed_s": budget_needed_s(measured, finding.widening)}
                for finding in measured.findings
            ],
            "warnings": [caveat.to_json() for caveat in self.caveats],
            "profile": self.profile,
        }


class Benchmark(Result[BatchResult]):
    """A finished benchmark, or what there is of one."""

    protocol: ClassVar[str] = PROTOCOL

    def samples(self) -> list[tuple[int | None, Sequence[ProcessSamples]]]:
        """Return batch size and processes of each measurement, with every sample."""
        return [(result.inputs.batch, result.measurement.processes) for result in self.batches]


def benchmark(
    base: Path,
    variants: Sequence[Path],
    *,
    settings: SessionSettings,
    inputs: Sequence[BatchInputs],
    options: TimingOptions,
    repetitions: Sequence[Repetition] | None = None,
    keep: Callable[[Benchmark], None] | None = None,
    progress: Progress = SILENT,
) -> Benchmark:
    """Time each variant against the base, at each batch size.

    Everything that is timed runs in fresh processes; this one passes the gate, waits and judges. What was measured
    before Ctrl-C or any error, a bug too, is returned, marked as partial and with the error.

    Args:
        base: the model in the denominator.
        variants: the models in the numerator.
        settings: of every session.
        inputs: one value per batch size.
        options: how to time.
        repetitions: per batch size what to repeat, in place of a budget.
        keep: given what there is after each batch size but the last, marked as partial: so that whoever is killed
            afterwards loses no more than the batch size that it was at.

    Raises:
        UsageError: there is nothing to compare, or no time for a block.
        ModelError, ProviderError, DataError: a model cannot be run as asked.
    """
    line = line_up(base, variants, denormals_off=options.denormals_off)
    setup = Setup.of(base, variants, line, settings=settings, inputs=inputs, options=options)
    designs = _designs(line, options, len(inputs), repetitions)
    made = partial(setup.result, Benchmark)
    batches, ended = list[BatchResult](), COMPLETE
    failure: Exception | None = None
    for number, some in enumerate(inputs):
        plans = None if repetitions is None else repetitions[number].plans
        measure = partial(_measure, designs[number], plans, progress)
        try:
            if keep is not None and batches:
                keep(made(batches, f"batch size {number} of {len(inputs)} done", None))
            result = _measure_batch(setup, some, measure, progress=progress)
        except (KeyboardInterrupt, Exception) as error:  # nothing was measured at this size; what was before it stands
            if not batches:
                raise
            ended, failure = early_end(error)
            break
        batches.append(result)
        if result.ended != COMPLETE:
            ended, failure = result.ended, result.failure
            break
    made = partial(made, caveats=about_the_batches([some.batch for some in inputs], len(batches)))
    try:
        return made(batches, ended, failure)
    except KeyboardInterrupt:  # while it looked at the machine; all is measured
        return made(batches, ended, failure)


def _measure(
    design: Design, plans: Sequence[ProcessPlan] | None, progress: Progress, runner: RunProcess
) -> Measurement:
    """Measure by a budget, or repeat given plans."""
    if plans is None:
        return measure_processes(design, runner, progress=progress)
    return replay(design, plans, runner, progress=progress)


def _designs(
    line: Line, options: TimingOptions, batches: int, repetitions: Sequence[Repetition] | None
) -> list[Design]:
    """One per batch size."""
    if repetitions is None:
        return [_design(line, options, batches, len(line.comparisons) * batches)] * batches
    return [_design(line, options, batches, repetition.family) for repetition in repetitions]


def _design(line: Line, options: TimingOptions, batches: int, family: int) -> Design:
    return Design(
        groups=line.groups,
        comparisons=line.comparisons,
        budget_s=options.budget_s / batches,
        processes=options.processes,
        target_width=options.target_width,
        margin=options.margin,
        level=options.level,
        seed=options.seed,
        family=family,
    )


def _measure_batch(
    setup: Setup, inputs: BatchInputs, measure: Callable[[RunProcess], Measurement], *, progress: Progress
) -> BatchResult:
    options = setup.options
    with tempfile.TemporaryDirectory(prefix="precbench-") as folder:
        asked = {**setup.request, "feeds": str(inputs.save(Path(folder)))}
        measurement = measure(partial(_of_the_same_models, setup.gate, ProcessRunner("precbench.bench.child", asked)))
        accounts, ended, failure = None, measurement.ended, measurement.failure
        if measurement.complete:
            ended = COMPLETE
            if options.profile:
                try:  # what was measured stands, whatever becomes of its profile
                    found = profile(setup.line, asked, seed=options.seed, progress=progress)
                    setup.gate.check_unchanged()
                    accounts = found
                except (KeyboardInterrupt, Exception) as error:
                    ended, failure = early_end(error)
    caveats = about_the_measurement(measurement)
    if options.profile and measurement.complete:
        caveats += about_the_profile(measurement, accounts)
    return BatchResult(
        inputs=inputs,
        measurement=measurement,
        profile=accounts,
        caveats=tuple(caveats),
        ended=ended,
        failure=failure,
    )


def _of_the_same_models(gate: Gate, run_process: RunProcess, plan: ProcessPlan) -> ProcessSamples:
    """Run a process; its samples count if the files are then still those that passed the gate."""
    samples = run_process(plan)
    gate.check_unchanged()
    return samples


def _process_json(samples: ProcessSamples) -> dict[str, Any]:
    return {
        "replicate": samples.plan.replicate,
        "process": samples.plan.process,
        "arms": list(samples.plan.arms),
        "creation_order": samples.plan.creation_order(),
        "blocks": samples.blocks,
        "calls_per_position": samples.calls,
        "warmup_rounds": len(samples.warmup_ns),
        "warmup_ns": samples.warm_ns,
        "steady": samples.steady,
        "ended": samples.ended,
        "lost_block": samples.lost_block,
    }


def _arm_json(arm: Mapping[str, Any], batch: int | None) -> dict[str, Any]:
    known = batch is not None and arm["mean_ns"]
    return {**arm, "throughput_per_s": 1e9 * (batch or 0) / arm["mean_ns"] if known else None}
