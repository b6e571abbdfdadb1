"""The machine and the packages that a measurement is true for."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import precbench

_PACKAGES = (
    "numpy",
    "onnx",
    "onnx-ir",
    "onnxruntime",
    "onnxruntime-gpu",
    "scipy",
    "psutil",
    "pyarrow",
    "nvidia-ml-py",
)
_UNLIMITED_BYTES = 1 << 62  # cgroup v1 writes the largest page count it has where there is no limit
_QUERY = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")


def environment() -> dict[str, Any]:
    """Return what the machine is and carries, as strict JSON with the same keys everywhere; unknown is null.

    No host name, user or path is in it, so that it can be published with a result.
    """
    return {
        "cpu_model": cpu_model(),
        "cpu_count": os.cpu_count(),
        "physical_cores": physical_cores(),
        "cpu_frequency_mhz": cpu_frequency_mhz(),
        "boost": boost(),
        "virtualized": virtualized(),
        "affinity": _affinity(),
        "cpu_limit": cpu_limit(),
        "governor": _text(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "load_average": _load_average(),
        "memory_bytes": _memory_bytes(),
        "memory_limit_bytes": memory_limit_bytes(),
        "gpus": _gpus(),
        "os": platform.system(),
        "os_release": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "packages": {"precbench": precbench.__version__, **{name: _version(name) for name in _PACKAGES}},
        "denormals_are_zero": denormals_are_zero(),
    }


def denormals_are_zero() -> bool:
    """Whether this process flushes subnormal floats to zero, which a library or an earlier session may have set."""
    smallest_normal = np.full(1, np.finfo(np.float32).tiny, dtype=np.float32)
    return bool((smallest_normal / np.float32(2) == 0).all())


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """Return the CPU's name as the operating system gives it."""
    for line in (_text(cpuinfo) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "cpu model") and value.strip():
            return value.strip()
    return platform.processor() or None


def cpu_limit(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return how many cores' worth of time the container may use (cgroup v2, else v1); None without a limit."""
    words = (_text(root / "cpu.max") or "").split()
    if len(words) != 2:
        words = [_text(root / "cpu" / name) or "" for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    try:
        quota, period = int(words[0]), int(words[1])
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def memory_limit_bytes(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the container's memory limit in bytes (cgroup v2, else v1); None without a limit."""
    text = _text(root / "memory.max") or _text(root / "memory" / "memory.limit_in_bytes") or ""
    limit = int(text) if text.isdecimal() else _UNLIMITED_BYTES
    return limit if limit < _UNLIMITED_BYTES else None


def physical_cores() -> int | None:
    """Return the cores without hyper-threads, as far as the operating system shows them; None if it does not."""
    import psutil

    count = psutil.cpu_count(logical=False)
    return int(count) if count else None


def usable_cores() -> int:
    """Return how many calculations at a time are worth while here: cores that this process may use, at least 1."""
    affinity = _affinity()
    known = (physical_cores(), os.cpu_count(), len(affinity) if affinity is not None else None, cpu_limit())
    return max(1, int(min((count for count in known if count is not None), default=1)))


def cpu_frequency_mhz() -> float | None:
    """Return the present clock of the CPU in MHz, the mean over its cores; None where it is not shown."""
    import psutil

    try:
        found = psutil.cpu_freq()
    except (OSError, NotImplementedError, AttributeError, RuntimeError):
        return None
    return round(float(found.current), 1) if found and found.current else None


def boost(root: Path = Path("/sys/devices/system/cpu")) -> bool | None:
    """Whether the CPU may clock above its base, as heat and load allow; None where the system does not say."""
    allowed = _text(root / "cpufreq" / "boost")
    if allowed in ("0", "1"):
        return allowed == "1"
    forbidden = _text(root / "intel_pstate" / "no_turbo")
    return forbidden == "0" if forbidden in ("0", "1") else None


def virtualized(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool | None:
    """Whether a hypervisor runs this system, by the flag that x86 CPUs then show; None where there are no flags."""
    for line in (_text(cpuinfo) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return "hypervisor" in value.split()
    return None


def _affinity() -> list[int] | None:
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else None


def _load_average() -> list[float] | None:
    try:
        return [round(load, 2) for load in os.getloadavg()]
    except (OSError, AttributeError):
        return None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _gpus() -> list[str]:
    if shutil.which(_QUERY[0]) is None:
        return []
    try:
        found = subprocess.run(_QUERY, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in found.stdout.splitlines() if line.strip()]


def _version(package: str) -> str | None:
    from importlib import metadata  # 12 ms that a child process which only times need not pay

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
