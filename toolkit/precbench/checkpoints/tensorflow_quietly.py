"""Import Keras, TensorFlow and what stands on them without their start-up noise.

TensorFlow writes to the file descriptors before any logging is set up (oneDNN, CUDA, absl), so the descriptors
themselves are turned away while a module is imported. What was written is shown only where the import fails.
"""

import contextlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType
from typing import BinaryIO

from precbench.errors import MissingDependencyError, PrecbenchError, UsageError

_REMEDY = "pip install 'precbench[keras]'"
_DESCRIPTORS = (1, 2)


def import_keras() -> ModuleType:
    """Return the `keras` module, running on TensorFlow; nothing is written to stdout or stderr.

    Raises:
        MissingDependencyError: Keras or TensorFlow is not installed.
        UsageError: Keras was imported earlier in this process with another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # else ONNX Runtime finds the GPU's memory taken
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    import_quietly("tensorflow")
    keras = import_quietly("keras")
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"Keras runs on {keras.backend.backend()} in this process; precbench needs TensorFlow",
            "set KERAS_BACKEND=tensorflow before Keras is imported",
        )
    _lower_log_levels()
    return keras


def import_quietly(name: str) -> ModuleType:
    """Return the module `name`, imported with what it writes to stdout and stderr held back.

    Raises:
        MissingDependencyError: it, or a package that it needs, is not installed.
    """
    if name in sys.modules:
        return sys.modules[name]
    try:
        with descriptors_silenced():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"this needs the package {error.name}, which is not installed", _REMEDY) from error


@contextlib.contextmanager
def descriptors_silenced() -> Iterator[None]:
    """Hold back what is written to file descriptors 1 and 2; show it on stderr if the block fails unexpectedly."""
    with tempfile.TemporaryFile() as sink:
        try:
            with _descriptors_to(sink):
                yield
        except (ModuleNotFoundError, PrecbenchError):
            raise
        except BaseException:
            sink.seek(0)
            sys.stderr.write(sink.read().decode(errors="replace"))
            raise


@contextlib.contextmanager
def _descriptors_to(sink: BinaryIO) -> Iterator[None]:
    _flush_streams()
    kept = {descriptor: os.dup(descriptor) for descriptor in _DESCRIPTORS if _is_open(descriptor)}
    try:
        for descriptor in kept:
            os.dup2(sink.fileno(), descriptor)
        yield
    finally:
        _flush_streams()
        for descriptor, copy in kept.items():
            os.dup2(copy, descriptor)
            os.close(copy)


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _lower_log_levels() -> None:
    for name in ("tensorflow", "tf2onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)
