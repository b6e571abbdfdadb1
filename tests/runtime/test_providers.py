"""The provider asked for is the one that runs, or there is no session."""

import os
import sys
import types
from pathlib import Path

import pytest

from precbench.errors import MissingDependencyError, ProviderError
from precbench.runtime import SessionSettings, open_session, providers, session
from precbench.runtime.noise import captured_noise
from precbench.runtime.providers import cause_of, gist, import_onnxruntime, preload_cuda, provider_failure

LIBRARY = (
    "2026-01-02 03:04:05.678 [E:onnxruntime:Default, provider_bridge_ort.cc:2458 operator()] "
    "/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:2043 onnxruntime::Provider& Get() "
    "[ONNXRuntimeError] : 1 : FAIL : Failed to load library /x/libonnxruntime_providers_cuda.so with error: "
    "libcublasLt.so.13: cannot open shared object file: No such file or directory\n"
)
DRIVER = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:129 std::conditional_t<THRW, void, Status> "
    "CudaCall(...) CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=0 ; "
    "hostname=host ; file=/onnxruntime_src/cuda_execution_provider.cc"
)


GRAPH = (
    "2026-01-02 03:04:05.678 [W:onnxruntime:, x.cc:1 y] 2 Memcpy nodes are added to the graph main for CUDA\n"
    "[ONNXRuntimeError] : 1 : FAIL : This session cannot use the graph capture feature as requested by the user  as "
    "all compute graph nodes have not been partitioned to the CUDAExecutionProvider"
)


@pytest.fixture
def no_gpu():
    try:
        with captured_noise():
            made = import_onnxruntime().InferenceSession
        if Path("/dev/nvidia0").exists():
            pytest.skip("this machine has an NVIDIA GPU")
        return made
    finally:
        preload_cuda.cache_clear()


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpu_provider_is_refused_on_a_machine_without_one_and_nothing_is_printed(double, no_gpu, capfd, provider):
    with pytest.raises(ProviderError) as caught:
        open_session(double, SessionSettings(provider=provider))
    assert provider in caught.value.problem
    assert "--ep cpu" in caught.value.remedy
    assert capfd.readouterr() == ("", "")


def test_an_onnxruntime_built_without_the_provider_is_named_with_what_it_has(double, monkeypatch):
    monkeypatch.setattr(import_onnxruntime(), "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(
        ProviderError, match="was built without CUDAExecutionProvider; it has CPUExecutionProvider"
    ) as caught:
        open_session(double, SessionSettings(provider="cuda"))
    assert "pip install --force-reinstall onnxruntime-gpu" in caught.value.remedy


def test_auto_on_such_an_onnxruntime_takes_the_cpu_and_says_why(double, monkeypatch):
    monkeypatch.setattr(import_onnxruntime(), "get_available_providers", lambda: ["CPUExecutionProvider"])
    opened = open_session(double, SessionSettings(provider="auto"))
    assert opened.provider == "cpu"
    assert "was built without CUDAExecutionProvider" in opened.passed_over["cuda"]


def test_a_session_that_quietly_fell_back_is_refused_with_the_reason_from_stderr(double, monkeypatch):
    real = import_onnxruntime().InferenceSession

    def falls_back(path, options, *, providers, **rest):
        os.write(2, LIBRARY.encode())
        return real(path, options, providers=["CPUExecutionProvider"], **rest)

    monkeypatch.setattr(session, "check_listed", lambda _: None)
    monkeypatch.setattr(session, "preload_cuda", lambda: "")
    monkeypatch.setattr(import_onnxruntime(), "InferenceSession", falls_back)
    falls_back.get_provider_graph_assignment_info = None
    with pytest.raises(ProviderError, match="the cuda provider cannot run here: libcublasLt"):
        open_session(double, SessionSettings(provider="cuda"))


def test_a_provider_that_raises_is_refused_with_the_cuda_failure(double, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError(DRIVER)

    monkeypatch.setattr(session, "check_listed", lambda _: None)
    monkeypatch.setattr(session, "preload_cuda", lambda: "")
    monkeypatch.setattr(import_onnxruntime(), "InferenceSession", fails)
    fails.get_provider_graph_assignment_info = None
    with pytest.raises(ProviderError, match="35: CUDA driver version is insufficient for CUDA runtime version"):
        open_session(double, SessionSettings(provider="cuda"))


@pytest.mark.parametrize(
    ("evidence", "cause"),
    [
        (LIBRARY + DRIVER, "libcublasLt.so.13: cannot open shared object file: No such file or directory"),
        (DRIVER, "35: CUDA driver version is insufficient for CUDA runtime version"),
        (GRAPH, "all compute graph nodes have not been partitioned to the CUDAExecutionProvider"),
        ("something else\nand more", "something else"),
        ("", "ONNX Runtime gives no reason"),
    ],
)
def test_the_cause_is_found_in_what_onnx_runtime_wrote(evidence, cause):
    assert cause_of(evidence) == cause


def test_the_gist_has_no_time_code_or_source_line():
    assert gist(LIBRARY).startswith("Failed to load library")


@pytest.mark.parametrize(
    ("evidence", "device", "remedy"),
    [
        (LIBRARY, False, "this machine shows no NVIDIA device: use --ep cpu, or a machine with one"),
        (LIBRARY, True, "install NVIDIA's libraries with pip install 'precbench[cuda]'"),
        (
            LIBRARY.replace("_cuda", "_tensorrt").replace("libcublasLt.so.13", "libnvinfer.so.10"),
            True,
            "install TensorRT's libraries",
        ),
        (GRAPH, True, "use --clock device: a CUDA graph needs every node on the GPU"),
        (DRIVER, True, "check the GPU and its driver with nvidia-smi"),
        ("CUDA failure 2: out of memory ; GPU=0", True, "use a smaller batch, or free the GPU"),
    ],
)
def test_the_remedy_fits_the_cause(monkeypatch, evidence, device, remedy):
    monkeypatch.setattr(providers, "nvidia_device_present", lambda: device)
    assert remedy in provider_failure("cuda", evidence).remedy


def test_where_it_cannot_be_told_a_device_is_taken_to_be_there(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert providers.nvidia_device_present()


@pytest.fixture
def fresh_caches():
    for cached in (import_onnxruntime, preload_cuda):
        cached.cache_clear()
    yield
    for cached in (import_onnxruntime, preload_cuda):
        cached.cache_clear()


def test_a_missing_onnxruntime_is_refused_with_what_to_install(monkeypatch, fresh_caches):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match="onnxruntime cannot be imported") as caught:
        import_onnxruntime()
    assert "pip install onnxruntime-gpu" in caught.value.remedy


def test_an_onnxruntime_that_cannot_report_placement_is_refused(double, monkeypatch):
    monkeypatch.delattr(
        import_onnxruntime().capi.onnxruntime_inference_collection.Session, "get_provider_graph_assignment_info"
    )
    with pytest.raises(MissingDependencyError, match="cannot say which provider runs which node") as caught:
        open_session(double, SessionSettings())
    assert "1.24 or later" in caught.value.remedy


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (types.SimpleNamespace(), ""),
        (types.SimpleNamespace(preload_dlls=lambda: print("Failed to load libcudnn")), "Failed to load libcudnn\n"),
    ],
)
def test_preloading_prints_nothing_and_is_left_out_where_there_is_none(monkeypatch, fresh_caches, capfd, module, said):
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    assert preload_cuda() == said
    assert capfd.readouterr() == ("", "")


def test_a_preload_that_fails_gives_its_reason(monkeypatch, fresh_caches):
    def fails():
        raise OSError("no libcudart")

    monkeypatch.setitem(sys.modules, "onnxruntime", types.SimpleNamespace(preload_dlls=fails))
    assert preload_cuda() == "no libcudart"


def test_cuda_libraries_are_preloaded_for_a_gpu_provider_alone(double, monkeypatch):
    asked = []
    monkeypatch.setattr(session, "preload_cuda", lambda: asked.append("yes") or "")
    open_session(double, SessionSettings(provider="cpu"))
    assert asked == []


def test_what_native_code_writes_is_captured_without_its_colours_and_the_descriptor_comes_back(capfd):
    with captured_noise() as noise:
        os.write(2, b"\x1b[1;31mnative\x1b[m\n")
        print("python")
    os.write(2, b"after\n")
    assert noise.text == "native\npython\n"
    assert capfd.readouterr() == ("", "after\n")


def test_a_process_without_stderr_runs_uncaptured(monkeypatch):
    def closed(descriptor):
        raise OSError("bad file descriptor")

    monkeypatch.setattr(os, "dup", closed)
    with captured_noise() as noise:
        pass
    assert noise.text == ""
