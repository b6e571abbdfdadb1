"""What a measurement is true for."""

import json
import platform
import shutil
import socket
import subprocess

import numpy as np
import pytest

import precbench
from precbench.runtime import environment
from precbench.runtime.environment import cpu_limit, cpu_model

environment_module = __import__("sys").modules["precbench.runtime.environment"]


def test_the_environment_is_strict_json_with_the_versions_that_matter_and_no_host_name():
    found = environment()
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text) == found
    assert found["python"] == platform.python_version()
    assert found["packages"]["precbench"] == precbench.__version__
    assert found["packages"]["numpy"] == np.__version__
    assert found["denormals_are_zero"] is False
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
