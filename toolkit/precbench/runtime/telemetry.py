"""What an NVIDIA GPU does besides computing: clocks, heat, power, and why it runs slower than it could."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeVar

_Value = TypeVar("_Value")

THROTTLE_REASONS: Mapping[int, str] = {
    0x1: "gpu_idle",
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
"""Bit -> word, after NVML's constants (nvmlClocksEventReasonSwPowerCap, …); an unnamed bit reads "bit_9".

"gpu_idle" says that there was nothing to do: the GPU was read between calls.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """One reading; None for what this GPU does not tell.

    Args:
        sm_clock_mhz: present clock of the multiprocessors, MHz.
        memory_clock_mhz: present clock of the memory, MHz.
        temperature_c: of the GPU, degrees Celsius.
        power_w: of the board, watts; averaged over a second on Ampere (but for GA100) and later.
        throttle_reasons: words of `THROTTLE_REASONS`; empty when nothing holds the clock down.
    """

    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    temperature_c: int | None
    power_w: float | None
    throttle_reasons: tuple[str, ...] | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values, under the fields' names."""
        return {
            "sm_clock_mhz": self.sm_clock_mhz,
            "memory_clock_mhz": self.memory_clock_mhz,
            "temperature_c": self.temperature_c,
            "power_w": self.power_w,
            "throttle_reasons": None if self.throttle_reasons is None else list(self.throttle_reasons),
        }


class GpuTelemetry:
    """One GPU under NVML; made by `open_gpu_telemetry`. Reading takes about a millisecond: not within a timed call."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        """Keep the library, which is initialised, and the device's handle."""
        self._nvml, self._handle = nvml, handle

    def read(self) -> GpuReading:
        """Read all of it now; what fails is None."""
        nvml, handle = self._nvml, self._handle
        power_mw = self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        reasons = self._ask(lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
        if reasons is None:
            reasons = self._ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
        temperature_c = self._ask(lambda: nvml.nvmlDeviceGetTemperatureV(handle, nvml.NVML_TEMPERATURE_GPU))
        if temperature_c is None:
            temperature_c = self._ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        return GpuReading(
            sm_clock_mhz=self._ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            memory_clock_mhz=self._ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
            temperature_c=temperature_c,
            power_w=None if power_mw is None else power_mw / 1000,
            throttle_reasons=None if reasons is None else throttle_words(reasons),
        )

    def close(self) -> None:
        """Let go of NVML."""
        self._ask(self._nvml.nvmlShutdown)

    def _ask(self, question: Callable[[], _Value]) -> _Value | None:
        try:
            return question()
        except (self._nvml.NVMLError, AttributeError):  # not supported by the device, the driver, or the package
            return None


def open_gpu_telemetry(device_id: int) -> GpuTelemetry | None:
    """Return what reads a GPU, or None where nvidia-ml-py, the driver or the device is missing.

    Args:
        device_id: as ONNX Runtime's CUDA provider counts, from 0: among the devices that CUDA_VISIBLE_DEVICES leaves.
            CUDA puts the fastest first unless CUDA_DEVICE_ORDER=PCI_BUS_ID; NVML goes by the bus. With unlike GPUs in
            one machine set that variable.
    """
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError, OSError):
        return None
    try:
        handle = _handle(pynvml, visible_device(device_id, os.environ.get("CUDA_VISIBLE_DEVICES")))
    except (pynvml.NVMLError, OSError):
        handle = None
    telemetry = GpuTelemetry(pynvml, handle)
    if handle is None:
        telemetry.close()
        return None
    return telemetry


def visible_device(device_id: int, visible: str | None) -> str | None:
    """Return the device's index or UUID ("GPU-…", "MIG-…") on the machine, or None where CUDA shows no such device.

    Args:
        device_id: CUDA's, from 0.
        visible: CUDA_VISIBLE_DEVICES; None if it is not set.
    """
    if visible is None:
        return str(device_id)
    entries = [entry.strip() for entry in visible.split(",")]
    shown = list(takewhile(lambda entry: entry and not entry.startswith("-"), entries))  # CUDA stops at an invalid one
    return shown[device_id] if device_id < len(shown) else None


def throttle_words(reasons: int) -> tuple[str, ...]:
    """Return the words for NVML's bit mask of clocks event reasons, in the order of the bits."""
    bits = [1 << bit for bit in range(reasons.bit_length()) if reasons >> bit & 1]
    return tuple(THROTTLE_REASONS.get(bit, f"bit_{bit.bit_length() - 1}") for bit in bits)


def _handle(nvml: Any, device: str | None) -> Any:
    if device is None:
        return None
    if device.isdecimal():
        return nvml.nvmlDeviceGetHandleByIndex(int(device))
    return nvml.nvmlDeviceGetHandleByUUID(device)
