"""What Keras downloads and keeps: CIFAR-10."""

import os
from pathlib import Path

from precbench.checkpoints.tensorflow_quietly import import_keras
from precbench.errors import DataError


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


def _keras_home() -> Path:
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))


def _cifar10_in(home: Path) -> Path | None:
    batches = sorted((home / "datasets").glob("**/cifar-10-batches-py/test_batch"))
    return batches[0].parent if batches else None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
