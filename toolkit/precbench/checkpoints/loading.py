"""Load a Keras model from a file of unknown origin: no code from it runs, and what is wrong with it is said."""

import contextlib
import json
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from precbench.checkpoints.allowance import allowance
from precbench.checkpoints.hdf5 import MAX_DATA_BYTES, SIGNATURE, open_hdf5
from precbench.checkpoints.saved_config import safe_config
from precbench.checkpoints.tensorflow_quietly import import_keras, import_quietly
from precbench.errors import ModelError, PrecbenchError

_MAX_CONFIG_BYTES = 64 << 20
_ZIP = b"PK\x03\x04"
_CONFIG_MEMBER, _WEIGHTS_MEMBER = "config.json", "model.weights.h5"


def load_model(path: Path, weights: Path | None = None) -> Any:
    """Return the Keras model of a `.keras` file, a whole-model H5, or an architecture JSON with its weights H5.

    What a file is is read from its first bytes, not its name. Files of Keras 2 are read too. Optimizers, losses and
    metrics are left out: the model is not compiled.

    Args:
        path: the `.keras` file, the H5 that `model.save` wrote, or the JSON that `model.to_json()` gave.
        weights: the weights H5 that goes with it: needed for a JSON, and used in place of the file's own otherwise.

    Raises:
        ModelError: a file is missing, empty, damaged, not Keras's, would run code, or the weights do not fit.
        MissingDependencyError: TensorFlow or h5py is not installed.
    """
    kind = _kind(path)
    if kind == "zip":
        return _load_archive(path, weights)
    if kind == "hdf5":
        return _load_whole_hdf5(path, weights)
    return _load_pair(path, weights)


def _kind(path: Path) -> str:
    _check_file(path)
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}", "give a file that you may read") from error
    if start.startswith(_ZIP):
        return "zip"
    return "hdf5" if start == SIGNATURE else "text"


def _check_file(path: Path) -> None:
    if not path.exists():
        raise ModelError(f"{path} does not exist", "give the path of a .keras, .h5 or .json file")
    if path.is_dir():
        raise ModelError(f"{path} is a directory", "give a .keras, .h5 or .json file in it; a SavedModel is not read")
    if not path.is_file():
        raise ModelError(f"{path} is no regular file", "give a .keras, .h5 or .json file")
    if path.stat().st_size == 0:
        raise ModelError(f"{path} is empty", "copy or save the file again")


def _load_pair(path: Path, weights: Path | None) -> Any:
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise ModelError(
            f"{path} is neither a .keras file nor HDF5, and with {path.stat().st_size:,} bytes too large "
            "for an architecture",
            "give a .keras, .h5 or .json file that Keras wrote",
        )
    config = _decoded(path.read_bytes(), path)
    if weights is None:
        safe_config(config, str(path))
        raise ModelError(f"{path} is an architecture without weights", "give its weights H5 as well")
    model = _built(config, path, weights)
    _load_weights_file(model, weights, path)
    return model


def _load_whole_hdf5(path: Path, weights: Path | None) -> Any:
    with open_hdf5(path) as file:
        text = file.attrs.get("model_config")
        if text is None:
            raise _no_config(path, file)
        config = _decoded(text.encode() if isinstance(text, str) else bytes(text), path, inside=True)
        model = _built(config, path, weights or path)
        if weights is None:
            if "model_weights" not in file:
                raise ModelError(f"{path} holds an architecture but no weights", "save the whole model again")
            _load_legacy(model, file["model_weights"], path, path)
    if weights is not None:
        _load_weights_file(model, weights, path)
    return model


def _load_archive(path: Path, weights: Path | None) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            content = _member(archive, _CONFIG_MEMBER, _MAX_CONFIG_BYTES, path)
            model = _built(_decoded(content, path, inside=True), path, weights or path)
            if weights is None:
                content = _member(archive, _WEIGHTS_MEMBER, MAX_DATA_BYTES, path)
                _load_bytes(model, content, path)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError) as error:
        raise ModelError(f"{path} is a damaged .keras file ({error})", "copy or save the file again") from error
    if weights is not None:
        _load_weights_file(model, weights, path)
    return model


def _member(archive: zipfile.ZipFile, name: str, limit: int, path: Path) -> bytes:
    """Read one member into memory; nothing is unpacked to a path that the archive names."""
    if name not in archive.namelist():
        raise ModelError(f"{path} is a ZIP file without {name}, so no .keras file", "give a file that model.save wrote")
    size = archive.getinfo(name).file_size
    if size > limit:
        raise ModelError(
            f"{path} declares {size:,} bytes for {name}; at most {limit:,} are read", "give a checkpoint of a network"
        )
    return archive.read(name)


def _decoded(content: bytes, path: Path, *, inside: bool = False) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        what = "holds an architecture that is no JSON" if inside else "is neither a .keras file nor HDF5, nor JSON"
        raise ModelError(f"{path} {what} ({error})", "give a .keras, .h5 or .json file that Keras wrote") from error


def _built(config: Any, path: Path, weights: Path) -> Any:
    """Make the model, without weights, from a checked configuration, no larger than its weights file explains."""
    keras = import_keras()
    checked = safe_config(config, str(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights_bytes = weights.stat().st_size if weights.is_file() else 0
        try:
            with allowance(keras, path, weights_bytes):
                model = keras.saving.deserialize_keras_object(checked, custom_objects={}, safe_mode=True)
        except PrecbenchError:
            raise
        except Exception as error:  # Keras raises whatever a constructor ran into
            raise ModelError(
                f"{path} is no architecture that Keras {keras.__version__} can build ({_reason(error)})",
                "save the model again with a newer Keras, as .keras",
            ) from error
    if not model.built:
        raise ModelError(f"{path} does not say what input the model takes", "save the model after it was built")
    return model


def _load_weights_file(model: Any, weights: Path, architecture: Path) -> None:
    if _kind(weights) != "hdf5":
        raise ModelError(
            f"{weights} is no HDF5 file, so it holds no Keras weights",
            "give the .h5 file that model.save_weights wrote",
        )
    with open_hdf5(weights) as file:
        _load_opened(model, file, weights, architecture)


def _load_bytes(model: Any, content: bytes, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / _WEIGHTS_MEMBER
        copy.write_bytes(content)
        with open_hdf5(copy, origin=path) as file:
            _load_opened(model, file, path, path)


def _load_opened(model: Any, file: Any, weights: Path, architecture: Path) -> None:
    if "layer_names" in file.attrs or "layer_names0" in file.attrs:
        _load_legacy(model, file, weights, architecture)
    elif "model_weights" in file:
        _load_legacy(model, file["model_weights"], weights, architecture)
    elif "layers" in file or "_layer_checkpoint_dependencies" in file:
        _load_current(model, file, weights, architecture)
    else:
        raise ModelError(
            f"{weights} is an HDF5 file, but Keras wrote no weights to it",
            "give the .h5 file that model.save_weights wrote",
        )


def _load_legacy(model: Any, group: Any, weights: Path, architecture: Path) -> None:
    """Keras 2's layout, and that of Keras 3's whole-model H5: layer after layer, in the model's order."""
    legacy = import_quietly("keras.src.legacy.saving.legacy_h5_format")
    try:
        legacy.load_weights_from_hdf5_group(group, model)
    except (ValueError, KeyError, TypeError) as error:
        raise _misfit(weights, architecture, error) from error


def _load_current(model: Any, file: Any, weights: Path, architecture: Path) -> None:
    """Keras 3's `.weights.h5`, also as Keras 2.13 began it: each layer under the name of its class and a number."""
    saved, wanted = _count_saved(file), len(model.variables)
    if not len(model.weights) <= saved <= wanted:
        raise _misfit(weights, architecture, f"{saved} arrays are saved, the model has {wanted} variables")
    with _named_for_keras(Path(file.filename), file) as path, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            model.load_weights(path)
        except (ValueError, KeyError, TypeError) as error:
            raise _misfit(weights, architecture, str(error).split("List of objects")[0]) from error
    missed = [warning for warning in said if "freshly-initialized" in str(warning.message)]
    if missed:
        raise _misfit(weights, architecture, missed[0].message)


def _count_saved(file: Any) -> int:
    """Arrays of the model itself, those of the optimizer, the losses and the metrics left out."""
    h5py = import_quietly("h5py")
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return sum(not any(word in name.split("/")[0] for word in ("optimizer", "metric", "loss")) for name in names)


@contextlib.contextmanager
def _named_for_keras(weights: Path, file: Any) -> Iterator[Path]:
    """Keras goes by the file's name; a file of another name is copied under one that Keras takes."""
    if weights.name.endswith(".weights.h5"):
        yield weights
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "copy.weights.h5"
        shutil.copyfile(file.filename, path)
        yield path


def _no_config(path: Path, file: Any) -> ModelError:
    if any(name in file for name in ("layers", "_layer_checkpoint_dependencies")) or "layer_names" in file.attrs:
        return ModelError(
            f"{path} holds weights without an architecture", "give the architecture JSON, and this file as its weights"
        )
    return ModelError(f"{path} is an HDF5 file, but no Keras model", "give the .h5 file that model.save wrote")


def _misfit(weights: Path, architecture: Path, reason: object) -> ModelError:
    whose = "its architecture" if weights == architecture else f"the architecture {architecture}"
    return ModelError(
        f"the weights in {weights} do not fit {whose}: {reason}",
        "give the weights that were saved from this architecture",
    )


def _reason(error: Exception) -> str:
    """What Keras ran into at the bottom, on one line; the configuration that it repeats is left out."""
    text = str(error).rpartition("Exception encountered:")[2].partition("\n\nconfig=")[0]
    text = text.partition(" Full object config:")[0].strip()
    return " ".join(text.split())[:300] or type(error).__name__
