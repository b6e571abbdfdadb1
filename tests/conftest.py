"""Fast tests first; a record of `bench`, for those that read one; and a machine that does not exist to run it on."""

import gc
import signal
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest


def pytest_configure() -> None:
    """Take signals as a terminal's programs do: what runs in the background of a shell has Ctrl-C ignored, and so would
    every process that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


def _ratio(point: float, half: float, units: int = 40) -> dict[str, Any]:
    ends = {"low": round(point - half, 6), "high": round(point + half, 6)}
    return {"point": point, **ends, "level": 0.95, "units": units, "unit": "process"}


def _arm(median_ns: int) -> dict[str, Any]:
    return {
        "calls": 12_840,
        "median_ns": median_ns,
        "p90_ns": median_ns + 41_000,
        "p95_ns": median_ns + 66_000,
        "p99_ns": median_ns + 204_000,
        "throughput_per_s": 32e9 / median_ns,
        "creation_ns": 61_220_114,
        "first_run_ns": 9_811_207,
        "outliers": {"mild": 31, "severe": 6},
    }


def _comparison(arm: str, ratio: dict[str, Any], verdict: str, why: str) -> dict[str, Any]:
    return {
        "arm": arm, "base": "base", "control": "control", "ratio": ratio, "control_ratio": _ratio(1.0004, 0.0012),
        "verdict": verdict, "reason": why, "smallest_effect": 0.0045, "p_difference": 0.61, "p_equivalence": 0.0001,
        "holm_comparisons": 2, "budget_needed_s": None,
    }  # fmt: skip


def _measurement(batch: int, median_ns: int) -> dict[str, Any]:
    x = {"dtype": "float32", "shape": [batch, 224, 224, 3], "distribution": "standard normal"}
    process = {
        "replicate": 0, "arms": ["base", "control", "base.dp4", "base.dp1"],
        "creation_order": ["base.dp4", "base", "base.dp1", "control"], "blocks": 15, "warmup_rounds": 8,
        "warmup_ns": 410_233_918, "steady": True, "ended": "done", "lost_block": None, "load_before": 0.31,
        "load_after": 0.38,
    }  # fmt: skip
    return {
        "batch": batch,
        "inputs": {"kind": "seeded", "seed": 0, "batch": batch, "inputs": {"input": x}},
        "plan": {"seed": 0, "processes": [{"arms": process["arms"], "blocks": 15, "calls": 3}]},
        "processes": [process],
        "arms": {name: _arm(median_ns + step) for step, name in enumerate(process["arms"])},
        "comparisons": [
            _comparison("base.dp4", _ratio(0.9991, 0.0016), "equivalent", "the whole interval lies within 1 %"),
            _comparison("base.dp1", _ratio(1.0312, 0.0021), "slower", "the whole interval lies beyond the control's"),
        ],
        "warnings": [],
        "telemetry": None,
        "profile": None,
    }  # fmt: skip


def _model(name: str, figure: str) -> dict[str, Any]:
    digest = f"sha256:{figure * 64}"
    return {
        "path": f"runs/{name}.onnx", "digest": digest, "file_bytes": 9_180_224, "subnormals": 3, "same_graph": True,
        "graph_difference": None, "denormals_as_zero": False,
    }  # fmt: skip


@pytest.fixture
def bench_record() -> Callable[[], dict[str, Any]]:
    """Make a record as `bench -o` writes it: two variants at the batch sizes 1 and 32; a new one at each call."""
    return lambda: {
        "schema_version": 2, "command": "bench", "created": "2026-11-24T08:30:00+00:00", "precbench": "0.1.0",
        "complete": True, "ended": "budget spent", "protocol": "blocks",
        "settings": {"level": 0.95, "margin": 0.01, "target_width": None, "budget_s": 60, "processes": None,
                     "seed": 0, "clock": "end-to-end"},
        "models": {name: _model(name, digit) for name, digit in (("base", "a"), ("base.dp4", "4"), ("base.dp1", "1"))},
        "measurements": [_measurement(1, 3_456_789), _measurement(32, 88_123_456)],
        "session": {
            "provider": "cpu", "provider_options": {}, "intra_op_threads": 1, "inter_op_threads": 1,
            "optimization_level": "all", "execution_mode": "sequential", "allow_spinning": True,
            "force_spinning_stop": True, "log_severity": 2, "requested_provider": "cpu",
            "effective_provider_options": {}, "tf32": "no GPU", "passed_over": {},
            "placement": {"CPUExecutionProvider": 106}, "cpu_shape_nodes": [], "memcpy_nodes": None,
            "timed_call": "run", "onnxruntime": "1.31.0",
        },
        "environment": {
            "cpu_model": "AMD EPYC 7763 64-Core Processor", "cpu_count": 2, "affinity": [0, 1], "cpu_limit": 2.0,
            "governor": None, "load_average": [0.31, 0.42, 0.4], "memory_bytes": 8_325_144_576, "gpus": [],
            "os": "Linux", "os_release": "6.8.0", "machine": "x86_64", "python": "3.12.3",
            "packages": {"precbench": "0.1.0", "numpy": "2.3.4", "onnxruntime": "1.31.0"},
            "denormals_are_zero": False, "load_before": 0.31, "load_after": 0.38,
            "other_cores": 0.02, "steal_share": 0.0,
        },
        "warnings": [{"problem": "the governor is not known", "remedy": "run on bare metal"}],
    }  # fmt: skip


def _simulate(
    patch: pytest.MonkeyPatch,
    *,
    dies: frozenset[int] = frozenset(),
    instead: Mapping[int, Callable[..., Any]] | None = None,
    noise: Any = None,
    **times_s: float,
) -> None:
    from precbench.bench import benchmark as module
    from precbench.timing.engine import measure_processes
    from precbench.timing.simulation import Machine, Noise

    machine = Machine(
        times_s=defaultdict(lambda: 0.0001, times_s), noise=noise or Noise(), seed=1, dies=dies, start_s=0.0
    )
    started = iter(range(1000))

    def run(plan: Any) -> Any:
        return (instead or {}).get(next(started), machine.run_process)(plan)

    patch.setattr(module, "ProcessRunner", lambda *_what: run)
    patch.setattr(module, "measure_processes", partial(measure_processes, clock=machine.clock))
    patch.setattr(gc, "collect", lambda: 0)  # before each process; takes 0.2 s where TensorFlow is loaded


@pytest.fixture(scope="session")
def simulate() -> Callable[..., None]:
    """Let benchmarks run, as long as a patch lasts, on a simulated machine; `instead` has processes that do other."""
    return _simulate


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let this test's benchmarks run on a simulated machine."""
    return partial(_simulate, monkeypatch)
