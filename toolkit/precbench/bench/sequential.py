"""The paper's protocol on the same sessions, so that one can see what it makes of two identical models."""

import datetime
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import precbench
from precbench.bench.arms import line_up
from precbench.bench.benchmark import SCHEMA_VERSION, TimingOptions, request_for
from precbench.bench.gate import pass_gate
from precbench.bench.inputs import BatchInputs
from precbench.errors import ModelError
from precbench.runtime import SessionSettings, environment
from precbench.timing.processes import run_child
from precbench.timing.samples import DONE
from precbench.timing.schedule import ProcessPlan

PROTOCOL = "sequential"
IMAGES = 10_000
"""Of a pass: the paper's number."""


def benchmark_sequentially(
    base: Path,
    variants: Sequence[Path],
    *,
    settings: SessionSettings,
    inputs: Sequence[BatchInputs],
    options: TimingOptions,
) -> dict[str, Any]:
    """Time one pass over 10,000 samples per model in one process: the base first and cold, then itself again, then the
    variants; no warm-up, nothing repeated.

    A pass of the base that would take longer than its share of the budget is cut, and so are the others, after as
    many calls.

    Returns:
        The record: per batch size and arm the calls, the total and the first call's time, and the total over the
        base's. There is no interval and no verdict, since nothing was repeated.

    Raises:
        UsageError, ModelError, ProviderError, DataError: as `benchmark`.
    """
    line = line_up(base, variants)
    gate = pass_gate(
        base, [arm.model for arm in line.arms.values()], settings, [i.feeds for i in inputs], options.clock
    )
    request = request_for(line, replace(settings, provider=gate.provider), options.clock)
    share_s = options.budget_s / len(inputs) / len(line.arms)
    measurements = [_measure(request, list(line.arms), some, share_s) for some in inputs]
    return {
        "schema_version": SCHEMA_VERSION,
        "command": "bench",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "precbench": precbench.__version__,
        "complete": True,
        "ended": "complete",
        "protocol": PROTOCOL,
        "settings": asdict(options),
        "models": {name: gate.models[arm.model].to_json() for name, arm in line.arms.items()},
        "measurements": measurements,
        "session": dict(gate.session),
        "environment": environment(),
        "warnings": [
            {
                "problem": "the paper's protocol: one pass each, the base first and cold, no repeats, no interval",
                "remedy": "look at what it gives the control, which is the base again; leave --protocol out to measure",
            }
        ],
    }


def _measure(request: Mapping[str, Any], arms: Sequence[str], inputs: BatchInputs, share_s: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="precbench-") as folder:
        plan = ProcessPlan(replicate=0, process=0, arms=tuple(arms), seed=0)
        call = {
            "plan": plan.to_json(),
            "request": {**request, "feeds": str(inputs.save(Path(folder)))},
            "calls": -(-IMAGES // (inputs.batch or 1)),
            "most_s": share_s,
        }
        outcome = run_child("precbench.bench.sequential_child", call)
    if outcome.failure is not None:
        raise outcome.failure
    if outcome.ended == "interrupted":
        raise KeyboardInterrupt
    if outcome.ended != DONE:
        raise ModelError(f"the measuring process was {outcome.ended}", "free memory, or use a smaller --batch")
    return {"batch": inputs.batch, "inputs": dict(inputs.recipe), "passes": _passes(arms, outcome.result)}


def _passes(arms: Sequence[str], result: Mapping[str, Any]) -> dict[str, Any]:
    base_ns = sum(result[arms[0]]["elapsed_ns"])
    return {
        arm: {
            "calls": len(result[arm]["elapsed_ns"]),
            "total_ns": sum(result[arm]["elapsed_ns"]),
            "first_ns": result[arm]["elapsed_ns"][0],
            "creation_ns": result[arm]["creation_ns"],
            "total_over_base": sum(result[arm]["elapsed_ns"]) / base_ns,
            "elapsed_ns": result[arm]["elapsed_ns"],
        }
        for arm in arms
    }
