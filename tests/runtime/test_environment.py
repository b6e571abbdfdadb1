"""What a measurement is true for."""

import json
import platform
import shutil
import socket
import subprocess
import types

import numpy as np
import psutil
import pytest

import precbench
from precbench.runtime import environment
from precbench.runtime.environment import (
    boost,
    cpu_frequency_mhz,
    cpu_limit,
    cpu_model,
    memory_limit_bytes,
    physical_cores,
    virtualized,
)

environment_module = __import__("sys").modules["precbench.runtime.environment"]


def test_the_environment_is_strict_json_with_the_versions_that_matter_and_no_host_name():
    found = environment()
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text) == found
    assert found["python"] == platform.python_version()
    assert found["packages"]["precbench"] == precbench.__version__
    assert found["packages"]["numpy"] == np.__version__
    assert found["denormals_are_zero"] is False
    assert found["packages"]["psutil"]
    assert {"pyarrow", "nvidia-ml-py"} <= set(found["packages"])
    assert socket.gethostname() not in text or len(socket.gethostname()) < 4


def test_the_keys_are_the_same_every_time():
    assert list(environment()) == list(environment())


@pytest.mark.parametrize(("content", "limit"), [("150000 100000", 1.5), ("max 100000", None), ("", None)])
def test_a_containers_limit_is_read_from_cgroup_v2(tmp_path, content, limit):
    (tmp_path / "cpu.max").write_text(content)
    assert cpu_limit(tmp_path) == limit


@pytest.mark.parametrize(("quota", "limit"), [("200000", 2.0), ("-1", None)])
def test_a_containers_limit_is_read_from_cgroup_v1(tmp_path, quota, limit):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert cpu_limit(tmp_path) == limit


@pytest.mark.parametrize(
    ("file", "content", "limit"),
    [
        ("memory.max", "4294967296\n", 4 << 30),
        ("memory.max", "max\n", None),
        ("memory/memory.limit_in_bytes", "2147483648", 2 << 30),
        ("memory/memory.limit_in_bytes", "9223372036854771712", None),
        ("memory/nothing", "", None),
    ],
)
def test_a_containers_memory_limit_is_read_from_either_cgroup_version(tmp_path, file, content, limit):
    (tmp_path / "memory").mkdir()
    (tmp_path / file).write_text(content)
    assert memory_limit_bytes(tmp_path) == limit


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("cpufreq/boost", "1\n", True),
        ("cpufreq/boost", "0\n", False),
        ("intel_pstate/no_turbo", "1\n", False),
        ("intel_pstate/no_turbo", "0\n", True),
        ("cpufreq/other", "1\n", None),
    ],
)
def test_boost_is_read_where_the_kernel_shows_it_and_is_else_unknown(tmp_path, file, content, expected):
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(content)
    assert boost(tmp_path) is expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu hypervisor lm\n", True),
        ("processor : 0\nflags\t\t: fpu lm\n", False),
        ("processor : 0\nFeatures : fp asimd\n", None),
        ("", None),
    ],
)
def test_a_hypervisor_shows_in_the_flags_and_is_unknown_without_flags(tmp_path, content, expected):
    (tmp_path / "cpuinfo").write_text(content)
    assert virtualized(tmp_path / "cpuinfo") is expected


def test_cores_and_clock_are_null_where_psutil_cannot_tell(monkeypatch):
    def unknown():
        raise NotImplementedError

    monkeypatch.setattr(psutil, "cpu_count", lambda **_: None)
    monkeypatch.setattr(psutil, "cpu_freq", unknown)
    found = environment()
    assert (found["physical_cores"], found["cpu_frequency_mhz"]) == (None, None)


def test_cores_and_clock_are_given_where_psutil_can_tell(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 3 if not logical else 6)
    monkeypatch.setattr(psutil, "cpu_freq", lambda: types.SimpleNamespace(current=2596.1234))
    assert (physical_cores(), cpu_frequency_mhz()) == (3, 2596.1)


def test_the_cpus_name_is_read_and_its_absence_borne(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A Fast One\n")
    assert cpu_model(tmp_path / "cpuinfo") == "A Fast One"
    assert cpu_model(tmp_path / "none") == (platform.processor() or None)


def test_gpus_are_listed_where_nvidia_smi_answers_and_left_out_where_it_fails(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: "nvidia-smi")
    answer = subprocess.CompletedProcess([], 0, stdout="NVIDIA A100, 580.1\n\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert environment()["gpus"] == ["NVIDIA A100, 580.1"]

    def fails(*_, **__):
        raise subprocess.CalledProcessError(9, "nvidia-smi")

    monkeypatch.setattr(subprocess, "run", fails)
    assert environment()["gpus"] == []


def test_what_the_system_does_not_tell_is_null(monkeypatch):
    def unknown(*_):
        raise OSError("unknown")

    for name in ("getloadavg", "sysconf"):
        monkeypatch.setattr(environment_module.os, name, unknown)
    found = environment()
    assert (found["load_average"], found["memory_bytes"]) == (None, None)
