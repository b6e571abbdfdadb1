"""The GPU and NVIDIA's libraries that a measurement is true for, and what the GPU did meanwhile."""

import contextlib
import ctypes
import importlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from precbench.runtime.providers import import_onnxruntime, preload_cuda
from precbench.runtime.telemetry import visible_device
from precbench.timing.samples import ProcessSamples

_FIGURES = ("sm_clock_mhz", "memory_clock_mhz", "temperature_c", "power_w")


def libraries() -> dict[str, str | None]:
    """Return versions as the loaded libraries themselves give them; None for one that cannot be loaded."""
    preload_cuda()
    built_for = _built_for()
    return {
        "onnxruntime": str(import_onnxruntime().__version__),
        "onnxruntime_built_for_cuda": built_for,
        "cuda_runtime": _cuda((built_for or "13").split(".")[0]),
        "cudnn": _cudnn(),
        "tensorrt": _tensorrt(),
    }


def gpu() -> dict[str, Any] | None:
    """Return what NVML says of the first GPU that CUDA shows, None where it says nothing."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except (ImportError, OSError):
        return None
    except Exception as error:  # NVMLError, which has no name before the import
        if type(error).__name__.startswith("NVMLError"):
            return None
        raise
    try:
        device = visible_device(0, os.environ.get("CUDA_VISIBLE_DEVICES"))
        if device is None:
            return None
        by_index = device.isdecimal()
        handle = nvml.nvmlDeviceGetHandleByIndex(int(device)) if by_index else nvml.nvmlDeviceGetHandleByUUID(device)
        return _about(nvml, handle)
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()


def _about(nvml: Any, handle: Any) -> dict[str, Any]:
    def ask(name: str, *arguments: Any) -> Any:
        try:
            return getattr(nvml, name)(*arguments)
        except (nvml.NVMLError, AttributeError):
            return None

    memory, power_mw = ask("nvmlDeviceGetMemoryInfo", handle), ask("nvmlDeviceGetEnforcedPowerLimit", handle)
    capability, mig = ask("nvmlDeviceGetCudaComputeCapability", handle), ask("nvmlDeviceGetMigMode", handle)
    return {
        "name": ask("nvmlDeviceGetName", handle),
        "driver": ask("nvmlSystemGetDriverVersion"),
        "driver_supports_cuda": _dotted(ask("nvmlSystemGetCudaDriverVersion"), 1000, 10),
        "compute_capability": None if capability is None else ".".join(map(str, capability)),
        "memory_bytes": None if memory is None else int(memory.total),
        "power_limit_w": None if power_mw is None else power_mw / 1000,
        "most_sm_clock_mhz": ask("nvmlDeviceGetMaxClockInfo", handle, nvml.NVML_CLOCK_SM),
        "most_memory_clock_mhz": ask("nvmlDeviceGetMaxClockInfo", handle, nvml.NVML_CLOCK_MEM),
        "mig": None if mig is None else bool(mig[0]),
    }


def telemetry(processes: Iterable[ProcessSamples]) -> dict[str, Any] | None:
    """Return the range and the median of what was read after each block; None where nothing was read."""
    readings = [reading for samples in processes for reading in samples.readings]
    if not readings:
        return None
    reasons = Counter(reason for reading in readings for reason in reading.get("throttle_reasons") or ())
    return {
        "readings": len(readings),
        **{name: _range(readings, name) for name in _FIGURES},
        "throttle_reasons": dict(sorted(reasons.items())),
    }


def _range(readings: Iterable[Mapping[str, Any]], name: str) -> dict[str, float] | None:
    values = [reading[name] for reading in readings if reading.get(name) is not None]
    if not values:
        return None
    return {"least": float(min(values)), "median": float(np.median(values)), "most": float(max(values))}


def _built_for() -> str | None:
    import_onnxruntime()
    try:
        info = importlib.import_module("onnxruntime.capi.build_and_package_info")
    except ImportError:
        return None
    version = getattr(info, "cuda_version", None)
    return str(version) if version else None


def _cuda(major: str) -> str | None:
    with contextlib.suppress(OSError, AttributeError):
        version = ctypes.c_int()
        if ctypes.CDLL(f"libcudart.so.{major}").cudaRuntimeGetVersion(ctypes.byref(version)) == 0:
            return _dotted(version.value, 1000, 10)
    return None


def _cudnn() -> str | None:
    with contextlib.suppress(OSError, AttributeError):
        get = ctypes.CDLL("libcudnn.so.9").cudnnGetVersion
        get.restype = ctypes.c_size_t
        return _dotted(get(), 10000, 100, 1)
    return None


def _tensorrt() -> str | None:
    with contextlib.suppress(OSError, AttributeError):
        return _dotted(ctypes.CDLL("libnvinfer.so.10").getInferLibVersion(), 10000, 100, 1)
    return None


def _dotted(version: int | None, *steps: int) -> str | None:
    """13000 in steps of 1000 and 10 -> 13.0."""
    if version is None:
        return None
    parts = []
    for step in steps:
        parts.append(str(version // step))
        version %= step
    return ".".join(parts)
