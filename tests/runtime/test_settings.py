"""Settings: explicit, checked when they are built."""

import json
import subprocess
import sys

import pytest

from precbench.errors import UsageError
from precbench.runtime import SessionSettings


def test_the_defaults_are_one_thread_on_the_cpu_with_spinning_stopped_between_runs():
    settings = SessionSettings()
    assert (settings.provider, settings.intra_op_threads, settings.inter_op_threads) == ("cpu", 1, 1)
    assert settings.force_spinning_stop
    assert not settings.denormals_as_zero
    assert json.loads(json.dumps(settings.to_json()))["optimization_level"] == "all"


@pytest.mark.parametrize(
    ("given", "short"),
    [
        ("CUDAExecutionProvider", "cuda"),
        ("TensorrtExecutionProvider", "tensorrt"),
        ("cpuexecutionprovider", "cpu"),
        ("CUDA", "cuda"),
        ("auto", "auto"),
    ],
)
def test_onnx_runtimes_own_names_become_the_short_ones(given, short):
    assert SessionSettings(provider=given).provider == short


def test_tf32_is_off_and_the_convolution_search_pinned_unless_the_user_says_otherwise():
    assert SessionSettings(provider="cuda").options_for("cuda") == {
        "device_id": "0",
        "use_tf32": "0",
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    chosen = SessionSettings(provider="cuda", provider_options={"use_tf32": 1, "prefer_nhwc": "1"}).options_for("cuda")
    assert (chosen["use_tf32"], chosen["prefer_nhwc"]) == ("1", "1")


@pytest.mark.parametrize(
    ("change", "problem", "remedy"),
    [
        ({"provider": "cud"}, "there is no execution provider 'cud' here", "the nearest are cuda"),
        ({"provider": "openvino"}, "there is no execution provider 'openvino'", "give auto, cpu, cuda or tensorrt"),
        (
            {"provider": "cuda", "provider_options": {"use_tf23": "0"}},
            "the cuda provider has no option 'use_tf23'",
            "the nearest is use_tf32",
        ),
        (
            {"provider": "tensorrt", "provider_options": {"fp16_enable": "1"}},
            "the tensorrt provider has no option",
            "the nearest are trt_fp16_enable",
        ),
        ({"provider": "cuda", "provider_options": {"zzz": "0"}}, "has no option 'zzz'", "known are device_id"),
        (
            {"provider": "cuda", "provider_options": {"device_id": "first"}},
            "the device_id 'first' is no whole number",
            "give 0 for the first GPU",
        ),
        (
            {"provider": "cpu", "provider_options": {"use_tf32": "0"}},
            "the cpu provider has no options",
            "leave provider options out",
        ),
        ({"provider": "auto", "provider_options": {"use_tf32": "0"}}, "options need a named provider", "--ep cuda"),
        ({"intra_op_threads": 0}, "0 intra-op threads is outside 1..1024", "give the number itself"),
        ({"inter_op_threads": 2000}, "2000 inter-op threads is outside 1..1024", "from 1 to the cores that you have"),
        ({"optimization_level": "most"}, "there is no optimization level 'most'", "disable, basic, extended, all"),
        ({"execution_mode": "fast"}, "there is no execution mode 'fast'", "sequential, parallel"),
        ({"log_severity": 5}, "the log severity 5 is outside 0..4", "give 0 (verbose) to 4 (fatal)"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_with_the_nearest(change, problem, remedy):
    with pytest.raises(UsageError) as caught:
        SessionSettings(**change)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_importing_the_package_imports_no_heavy_library():
    heavy = {"onnxruntime", "onnx", "onnx_ir", "scipy", "pandas", "pyarrow", "psutil", "pynvml"}
    code = f"import sys, precbench.runtime; print(*sorted({heavy} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert found.stdout.strip() == ""
