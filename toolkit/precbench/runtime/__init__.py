"""ONNX Runtime sessions that say what they run on, and the arrays that go in and come out.

Importing this imports neither onnxruntime nor psutil; opening a session and reading the load do.
"""

from precbench.runtime.binding import BoundRun
from precbench.runtime.clocks import CLOCKS, TimedClock, timed_clock
from precbench.runtime.environment import environment, usable_cores
from precbench.runtime.inputs import fit_inputs, fixed_batch, input_recipe, load_inputs, read_arrays, seeded_inputs
from precbench.runtime.load import CpuUse, Load, cpu_times_now, own_cpu_s, used_by_others
from precbench.runtime.prediction import predict, predict_batches
from precbench.runtime.profiling import NodeTime, ProfiledSession, open_profiled
from precbench.runtime.session import Session, open_session
from precbench.runtime.settings import PROVIDERS, SessionSettings
from precbench.runtime.telemetry import GpuReading, GpuTelemetry, open_gpu_telemetry
from precbench.runtime.tensors import TensorSpec, check_feeds

__all__ = [
    "CLOCKS",
    "PROVIDERS",
    "BoundRun",
    "CpuUse",
    "GpuReading",
    "GpuTelemetry",
    "Load",
    "NodeTime",
    "ProfiledSession",
    "Session",
    "SessionSettings",
    "TensorSpec",
    "TimedClock",
    "check_feeds",
    "cpu_times_now",
    "environment",
    "fit_inputs",
    "fixed_batch",
    "input_recipe",
    "load_inputs",
    "open_gpu_telemetry",
    "open_profiled",
    "open_session",
    "own_cpu_s",
    "predict",
    "predict_batches",
    "read_arrays",
    "seeded_inputs",
    "timed_clock",
    "usable_cores",
    "used_by_others",
]
