"""GPU readings, from a stand-in for nvidia-ml-py."""

import json
import sys
import types

import pytest

from precbench.runtime import GpuReading, open_gpu_telemetry
from precbench.runtime.telemetry import THROTTLE_REASONS, throttle_words, visible_device


class NVMLError(Exception):
    pass


def fails(*_):
    raise NVMLError("Not Supported")


@pytest.fixture
def nvml(monkeypatch):
    """A pynvml with two devices, handles "0" and "1", or a UUID; what it was asked is in `asked`."""
    module = types.ModuleType("pynvml")
    asked = []

    def by_index(index):
        asked.append(index)
        if index > 1:
            raise NVMLError("Invalid Argument")
        return str(index)

    def by_uuid(uuid):
        asked.append(uuid)
        return uuid

    module.__dict__.update(
        NVMLError=NVMLError,
        NVML_CLOCK_SM="sm",
        NVML_CLOCK_MEM="memory",
        NVML_TEMPERATURE_GPU=0,
        asked=asked,
        nvmlInit=lambda: asked.append("init"),
        nvmlShutdown=lambda: asked.append("shutdown"),
        nvmlDeviceGetHandleByIndex=by_index,
        nvmlDeviceGetHandleByUUID=by_uuid,
        nvmlDeviceGetClockInfo=lambda _, kind: {"sm": 1410, "memory": 1593}[kind],
        nvmlDeviceGetTemperatureV=lambda *_: 61,
        nvmlDeviceGetPowerUsage=lambda _: 251_500,
        nvmlDeviceGetCurrentClocksEventReasons=lambda _: 0x44,
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return module


def test_a_reading_has_clocks_heat_power_and_why_it_is_throttled(nvml):
    reading = open_gpu_telemetry(1).read()
    assert reading == GpuReading(
        sm_clock_mhz=1410,
        memory_clock_mhz=1593,
        temperature_c=61,
        power_w=251.5,
        throttle_reasons=("sw_power_cap", "hw_thermal_slowdown"),
    )
    assert nvml.asked == ["init", 1]
    assert json.loads(json.dumps(reading.to_json()))["throttle_reasons"] == ["sw_power_cap", "hw_thermal_slowdown"]


def test_what_the_gpu_does_not_tell_is_none(nvml):
    for name in vars(nvml):
        if name.startswith("nvmlDeviceGet") and "Handle" not in name:
            setattr(nvml, name, fails)
    reading = open_gpu_telemetry(0).read()
    assert set(reading.to_json().values()) == {None}


def test_older_drivers_and_packages_are_asked_under_the_older_names(nvml):
    nvml.nvmlDeviceGetCurrentClocksEventReasons = fails
    nvml.nvmlDeviceGetCurrentClocksThrottleReasons = lambda _: 0
    del nvml.nvmlDeviceGetTemperatureV
    nvml.nvmlDeviceGetTemperature = lambda *_: 40
    reading = open_gpu_telemetry(0).read()
    assert (reading.throttle_reasons, reading.temperature_c) == ((), 40)


def test_closing_lets_go_of_nvml_and_may_fail(nvml):
    telemetry = open_gpu_telemetry(0)
    telemetry.close()
    assert nvml.asked[-1] == "shutdown"
    nvml.nvmlShutdown = fails
    telemetry.close()


def test_without_the_library_there_is_no_telemetry(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_gpu_telemetry(0) is None


def test_without_a_driver_there_is_no_telemetry(nvml):
    nvml.nvmlInit = fails
    assert open_gpu_telemetry(0) is None


def test_without_the_device_there_is_no_telemetry_and_nvml_is_let_go(nvml):
    assert open_gpu_telemetry(7) is None
    assert nvml.asked == ["init", 7, "shutdown"]


def test_devices_are_counted_among_those_that_cuda_may_see(nvml, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,GPU-5e2")
    assert open_gpu_telemetry(0) is not None
    assert open_gpu_telemetry(1) is not None
    assert nvml.asked == ["init", 1, "init", "GPU-5e2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert open_gpu_telemetry(0) is None


@pytest.mark.parametrize(
    ("device_id", "visible", "expected"),
    [(2, None, "2"), (0, "3, 1", "3"), (1, "3, 1", "1"), (2, "3,1", None), (0, "", None), (1, "0,-1,1", None)],
)
def test_cuda_visible_devices_maps_ids_and_ends_at_an_invalid_entry(device_id, visible, expected):
    assert visible_device(device_id, visible) == expected


def test_a_bit_without_a_name_is_given_by_its_number():
    assert throttle_words(0x201) == ("gpu_idle", "bit_9")
    assert throttle_words(0) == ()


def test_the_words_are_nvmls_own_names():
    real = pytest.importorskip("pynvml")
    for bit, word in THROTTLE_REASONS.items():
        name = "nvmlClocksEventReason" + "".join(part.capitalize() for part in word.split("_"))
        assert getattr(real, name) == bit


def test_on_this_machine_nothing_is_raised():
    telemetry = open_gpu_telemetry(0)
    if telemetry is not None:
        telemetry.read()
        telemetry.close()
