"""What Keras downloads and keeps: CIFAR-10, and the ImageNet weights of its applications."""

import inspect
import os
from pathlib import Path
from typing import Any

from precbench.checkpoints.tensorflow_quietly import import_keras
from precbench.errors import DataError, UsageError


def cifar10_folder() -> Path:
    """Return the folder in which Keras keeps CIFAR-10's batches; downloaded where it is missing.

    Raises:
        DataError: it cannot be downloaded.
    """
    found = _cifar10_in(_keras_home())
    if found is not None:
        return found
    keras = import_keras()
    try:
        keras.datasets.cifar10.load_data()
    except Exception as error:  # whatever a network raises
        raise DataError(
            f"CIFAR-10 cannot be downloaded: {_short(error)}",
            "name a folder that has cifar-10-batches-py, or the .tar.gz, with --data-dir",
        ) from error
    found = _cifar10_in(_keras_home())
    if found is None:
        raise DataError(f"Keras keeps no CIFAR-10 in {_keras_home()}", "name a folder with --data-dir")
    return found


def imagenet_weights(name: str, *, alpha: float, input_size: int) -> Path:
    """Return the file in which Keras keeps an application's ImageNet weights without the head; downloaded if missing.

    Raises:
        UsageError: the network is none of `keras.applications`.
        DataError: they cannot be downloaded.
    """
    keras = import_keras()
    make = getattr(keras.applications, name, None)
    if not inspect.isfunction(make):
        raise UsageError(f"there are no ImageNet weights of {name}", "name a file with --weights, or begin at random")
    fetched = list[str]()
    get_file = keras.utils.get_file

    def keep(*arguments: Any, **options: Any) -> Any:
        fetched.append(get_file(*arguments, **options))
        return fetched[-1]

    options: dict[str, Any] = {"alpha": alpha} if "alpha" in inspect.signature(make).parameters else {}
    module = inspect.getmodule(make)
    utils = getattr(module, "file_utils", None)
    try:
        if utils is not None:
            utils.get_file = keep
        make(input_shape=(input_size, input_size, 3), include_top=False, weights="imagenet", **options)
    except Exception as error:  # whatever a network raises
        raise DataError(
            f"the ImageNet weights of {name} cannot be downloaded: {_short(error)}", "name the file with --weights"
        ) from error
    finally:
        if utils is not None:
            utils.get_file = get_file
    if not fetched:
        raise DataError(f"Keras does not say where it keeps the weights of {name}", "name the file with --weights")
    return Path(fetched[-1])


def _keras_home() -> Path:
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))


def _cifar10_in(home: Path) -> Path | None:
    batches = sorted((home / "datasets").glob("**/cifar-10-batches-py/test_batch"))
    return batches[0].parent if batches else None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
