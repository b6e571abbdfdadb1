"""What a deployed form costs in accuracy and gives in time and bytes, each against the reference model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from precbench.accuracy import Flips
from precbench.bench.benchmark import Benchmark, benchmark
from precbench.bench.inputs import BatchInputs
from precbench.bench.options import TimingOptions
from precbench.bench.sessions import open_model
from precbench.datasets import Preprocessing
from precbench.errors import UsageError
from precbench.progress import SILENT, Progress
from precbench.runtime import SessionSettings
from precbench.study.evaluation import Evaluation, EvaluationData, evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRatio:
    """A form's time over the reference's, as `precbench bench` measures it, at one batch size."""

    batch: int | None
    ratio: Mapping[str, Any]
    control: Mapping[str, Any]
    verdict: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "batch": self.batch,
            "ratio": dict(self.ratio),
            "control_ratio": dict(self.control),
            "verdict": self.verdict,
            "reason": self.reason,
        }


def check_max_drop(points: float) -> float:
    """Return the largest drop of accuracy that is accepted, in percentage points.

    Raises:
        UsageError: it is not inside 0..100.
    """
    if not 0 <= points < 100:
        raise UsageError(f"--max-drop {points:g} is not inside 0..100", "give percentage points such as 0.5")
    return points


def drop_points(flips: Flips) -> float:
    """Return the upper end of the paired 95 % interval of the loss, in percentage points, at least 0."""
    return flips.shown_margin_points


def compare_accuracy(
    model: Path,
    reference: Path,
    data: EvaluationData,
    settings: SessionSettings,
    *,
    preprocessing: Preprocessing | None,
    progress: Progress = SILENT,
) -> Evaluation:
    """Evaluate a form and the reference on the same labelled samples."""
    session = open_model(model, settings)
    return evaluate(
        session, data, reference=open_model(reference, settings), preprocessing=preprocessing, progress=progress
    )


def measure_time(
    reference: Path,
    models: Mapping[str, Path],
    settings: SessionSettings,
    inputs: Sequence[BatchInputs],
    options: TimingOptions,
    *,
    progress: Progress = SILENT,
) -> tuple[dict[str, list[TimeRatio]], dict[str, Any]]:
    """Time forms against the reference, interleaved; return each one's ratios, and the record of the measurement.

    Args:
        models: form to file.
    """
    result = benchmark(
        reference, list(models.values()), settings=settings, inputs=inputs, options=options, progress=progress
    )
    record = result.to_json()
    if result.failure is not None:
        raise result.failure
    if not result.complete:
        raise KeyboardInterrupt
    return {name: _ratios(result, record, path) for name, path in models.items()}, record


def _ratios(result: Benchmark, record: Mapping[str, Any], path: Path) -> list[TimeRatio]:
    arm = next(name for name, one in result.line.arms.items() if one.model == path)
    return [
        TimeRatio(
            batch=measured["batch"],
            ratio=found["ratio"],
            control=found["control_ratio"],
            verdict=found["verdict"],
            reason=found["reason"],
        )
        for measured in record["measurements"]
        for found in measured["comparisons"]
        if found["arm"] == arm
    ]
