"""Tiny models, processes made by hand, and one benchmark that was really measured."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from precbench.bench.benchmark import Benchmark, benchmark
from precbench.bench.inputs import BatchInputs, inputs_for_batches
from precbench.bench.options import TimingOptions
from precbench.runtime import SessionSettings
from precbench.timing.engine import Design, Measurement
from precbench.timing.journal import Kind, reading_words
from precbench.timing.samples import ProcessSamples
from precbench.timing.schedule import ProcessPlan
from precbench.timing.statistics import PROCESS, Ratio
from precbench.timing.verdict import Comparison, Finding, Verdict

BATCHES = (2, 32)
Simulated = Callable[..., None]
CPU = SessionSettings()


HEADER = '<ir_version: 10, opset_import: ["" : 17]> '


def write(path: Path, text: str, **initializers: Any) -> Path:
    """Save a graph written as ONNX text, its initializers replaced by these arrays."""
    model = onnx.parser.parse_model(HEADER + text)
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in initializers]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for name, array in initializers.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array, np.float32), name))
    path.write_bytes(model.SerializeToString())
    return path


NET = """net (float[n, 16] x) => (float[n, 16] y) <float[1] w = {0}, float[1] v = {0}> {
    [first] h = MatMul(x, w) [relu] r = Relu(h) [second] y = MatMul(r, v) }"""


def network(path: Path, *, decimals: int | None = None, width: int = 16, scale: float = 1.0) -> Path:
    """A network of two products; rounded, wider, or scaled."""
    generator = np.random.default_rng(0)
    w, v = (scale * generator.standard_normal(shape) for shape in ((16, width), (width, 16)))
    if decimals is not None:
        w, v = w.round(decimals), v.round(decimals)
    return write(path, NET, w=w, v=v)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network of 2 kB, and rounded to 1 and 3 decimals."""
    folder = tmp_path_factory.mktemp("models")
    network(folder / "net.onnx")
    for decimals in (1, 3):
        network(folder / f"net.dp{decimals}.onnx", decimals=decimals)
    return folder


def batches_of(model: Path, *sizes: int) -> list[BatchInputs]:
    return inputs_for_batches(model, CPU, sizes, file=None, seed=0, shapes={})


@pytest.fixture(scope="session")
def measured(models: Path) -> Benchmark:
    """Two variants at two batch sizes, really measured."""
    base = models / "net.onnx"
    return benchmark(
        base,
        [models / "net.dp1.onnx", models / "net.dp3.onnx"],
        settings=CPU,
        inputs=batches_of(base, *BATCHES),
        options=TimingOptions(budget_s=2.0, processes=2, seed=3),
    )


def _process(
    times_ns: Sequence[Sequence[int]],
    *,
    arms: Sequence[str] = ("base", "control", "variant"),
    process: int = 0,
    ended: str = "done",
    steady: bool = True,
    readings: Sequence[Any] = (),
    failure: Any = None,
) -> ProcessSamples:
    """A process from the time of each arm in each block: whole numbers [blocks, arms]; one call per position."""
    plan = ProcessPlan(replicate=process, process=process, arms=tuple(arms), seed=0, calls=1)
    records: list[tuple[Kind, list[int]]] = [
        (Kind.CREATION, [10**6] * len(arms)), (Kind.FIRST_RUN, [10**5] * len(arms)), (Kind.CALLS, [1]),
        (Kind.WARMUP, [*range(len(arms)), *[7] * len(arms)]), (Kind.WARM, [int(steady), 9]),
    ]  # fmt: skip
    for block, order in zip(np.asarray(times_ns).tolist(), plan.block_orders(), strict=False):
        elapsed = [nanoseconds for arm in order for nanoseconds in (10**7, block[arm])]
        records.append((Kind.BLOCK, [*order, *range(len(elapsed)), *elapsed]))
    records += [(Kind.READING, reading_words(reading)) for reading in readings]
    return ProcessSamples.from_records(plan, records, ended=ended, failure=failure)


@pytest.fixture(scope="session")
def process_of() -> Callable[..., ProcessSamples]:
    return _process


def _ratio(point: float | None, low: float | None, high: float | None, unit: str = PROCESS) -> Ratio:
    return Ratio(point=point, low=low, high=high, level=0.95, units=9, unit=unit)


def _finding(
    verdict: Verdict = Verdict.EQUIVALENT,
    *,
    arm: str = "variant",
    ratio: Ratio | None = None,
    control: Ratio | None = None,
    widening: float | None = None,
) -> Finding:
    near = _ratio(1.0, 0.999, 1.001)
    return Finding(
        comparison=Comparison(arm=arm, base="base", control="control"), ratio=ratio or near, control=control or near,
        verdict=verdict, reason="so", outer_bound=1.001, smallest_effect=0.002, p_difference=0.5, p_equivalence=0.01,
        widening=widening, mean_ratio=None,
    )  # fmt: skip


@pytest.fixture(scope="session")
def finding_of() -> Callable[..., Finding]:
    return _finding


@pytest.fixture(scope="session")
def ratio_of() -> Callable[..., Ratio]:
    return _ratio


def _measurement(
    processes: Sequence[ProcessSamples] | None = None,
    *,
    findings: Sequence[Finding] | None = None,
    ended: str = "budget spent",
    asked: int | None = None,
    failure: Any = None,
    **design: Any,
) -> Measurement:
    return Measurement(
        design=Design(
            groups=(("base", "control", "variant"),),
            comparisons=(Comparison(arm="variant", base="base", control="control"),),
            budget_s=10.0,
            processes=asked,
            **design,
        ),
        processes=tuple([_process([[10**6] * 3] * 9)] if processes is None else processes),
        findings=tuple([_finding()] if findings is None else findings),
        looks=(1,),
        ended=ended,
        failure=failure,
        elapsed_s=10.0,
    )


@pytest.fixture(scope="session")
def measurement_of() -> Callable[..., Measurement]:
    return _measurement
