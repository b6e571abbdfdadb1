"""Why an execution provider cannot run here, in one line, and what to do about it."""

import functools
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

from precbench.errors import MissingDependencyError, ProviderError
from precbench.runtime.noise import captured_noise
from precbench.runtime.settings import PROVIDERS

_LIBRARY = re.compile(r"Failed to load library \S+ with error: (?P<cause>.+)")
_CUDA_FAILURE = re.compile(r"(?:CUDA|CUDNN|CUBLAS)\S* (?:failure|error) (?P<cause>[^;\n]+)", re.IGNORECASE)
_GRAPH_CAPTURE = re.compile(r"cannot use the graph capture feature as requested by the user\s+as (?P<cause>[^\n]+)")
_OUT_OF_MEMORY = re.compile(r"out of memory|failed to allocate memory|bad_alloc|bad allocation", re.IGNORECASE)
_LOG_PREFIX = re.compile(r"^\d{4}-\d\d-\d\d \S+ \[[EW]:[^\]]*\] ")
_SOURCE = re.compile(r"/onnxruntime_src/\S+:\d+ [^\[]*?\) |\S+\.(?:cc|h|cpp|cu):\d+ \w+ ")
_CODE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_DEVICE_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/proc/driver/nvidia/version")


@functools.cache
def import_onnxruntime() -> ModuleType:
    """Import onnxruntime, with what it prints about devices while it loads kept off the terminal.

    Raises:
        MissingDependencyError: it is not installed, or cannot be loaded.
    """
    with captured_noise():
        try:
            return importlib.import_module("onnxruntime")
        except ImportError as error:
            raise MissingDependencyError(
                f"onnxruntime cannot be imported: {error}",
                "pip install onnxruntime-gpu (or onnxruntime where there is no such wheel)",
            ) from error


@functools.cache
def preload_cuda() -> str:
    """Load CUDA's libraries from the nvidia-* packages where they are installed; return what that printed."""
    preload = getattr(import_onnxruntime(), "preload_dlls", None)
    if preload is None:
        return ""
    with captured_noise() as noise:
        try:
            preload()
        except (OSError, RuntimeError) as error:
            return str(error)
    return noise.text


def check_listed(provider: str) -> None:
    """Refuse a provider that the installed onnxruntime was built without.

    Raises:
        ProviderError: it is not among `get_available_providers`.
    """
    listed = import_onnxruntime().get_available_providers()
    if PROVIDERS[provider] not in listed:
        raise ProviderError(
            f"the installed onnxruntime was built without {PROVIDERS[provider]}; it has {', '.join(listed)}",
            "pip uninstall onnxruntime, then pip install --force-reinstall onnxruntime-gpu, or use --ep cpu",
        )


def provider_failure(provider: str, evidence: str) -> ProviderError:
    """Return the error for a provider that could not be made, with the cause found in what ONNX Runtime wrote.

    Args:
        provider: "cuda" or "tensorrt".
        evidence: the exception's message and the captured standard error.
    """
    return ProviderError(f"the {provider} provider cannot run here: {cause_of(evidence)}", _remedy(evidence))


def cause_of(evidence: str) -> str:
    """Return the gist of ONNX Runtime's words: the library that is missing, the CUDA failure, else the first line."""
    for pattern in (_LIBRARY, _GRAPH_CAPTURE, _CUDA_FAILURE):
        if found := pattern.search(evidence):
            return found["cause"].strip().rstrip(".")
    lines = [gist(line) for line in evidence.splitlines() if line.strip()]
    return lines[0] if lines else "ONNX Runtime gives no reason"


def gist(message: str) -> str:
    """Return a message of ONNX Runtime without time stamps, error codes, and places in its own source."""
    text = _LOG_PREFIX.sub("", " ".join(message.split()))
    text = _SOURCE.sub("", _CODE.sub("", text))
    return text.strip()[:300].rstrip(" .")


def is_out_of_memory(message: str) -> bool:
    """Whether a message says that memory ran out."""
    return _OUT_OF_MEMORY.search(message) is not None


def nvidia_device_present() -> bool:
    """Whether the machine shows an NVIDIA device; where that cannot be told (not Linux) the answer is yes."""
    return sys.platform != "linux" or any(Path(name).exists() for name in _DEVICE_FILES)


def _remedy(evidence: str) -> str:
    if is_out_of_memory(evidence):
        return "use a smaller batch, or free the GPU"
    if not nvidia_device_present():
        return "this machine shows no NVIDIA device: use --ep cpu, or a machine with one"
    if "tensorrt" in evidence.lower() and "libnvinfer" in evidence:
        return "install TensorRT's libraries (see docs/install.md), or use --ep cuda"
    if _LIBRARY.search(evidence):
        return "install NVIDIA's libraries with pip install 'precbench[cuda]' (see docs/install.md), or use --ep cpu"
    if _GRAPH_CAPTURE.search(evidence):
        return "use --clock device: a CUDA graph needs every node on the GPU, and no If, Loop or Scan"
    return "check the GPU and its driver with nvidia-smi, or use --ep cpu"
