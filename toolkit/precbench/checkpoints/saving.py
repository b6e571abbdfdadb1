"""Write a model as the paper's pair (architecture JSON, weights H5), its `.keras` file and history beside it."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from precbench.checkpoints.history import Epoch, fill_csv
from precbench.checkpoints.tensorflow_quietly import import_keras, import_quietly
from precbench.files import write_atomically, write_text

_HDF5_HEADER_BYTES = 64512  # an HDF5 attribute does not hold more; Keras splits longer lists in the same way


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFiles:
    """Where `save_checkpoint` writes what."""

    architecture: Path
    weights: Path
    model: Path
    history: Path

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Return the files of a folder, whether they are there or not."""
        return cls(
            architecture=folder / "architecture.json",
            weights=folder / "weights.h5",
            model=folder / "model.keras",
            history=folder / "history.csv",
        )

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.architecture, self.weights, self.model, self.history)


def save_checkpoint(model: Any, folder: Path, history: Sequence[Epoch] = ()) -> CheckpointFiles:
    """Write `architecture.json`, `weights.h5`, `model.keras` and `history.csv` into a folder, each atomically.

    The law: the pair and the `.keras` file both load back with every variable bit for bit. `weights.h5` has the
    layout that Keras 2 wrote and Keras 3 still reads, with one group per layer, so that a kernel is found at
    `block_1_expand/block_1_expand/kernel`.

    Args:
        model: a built `keras.Model`, not compiled (else the optimizer's state would be saved with it).
        folder: made where it is missing; files of these names are replaced.
        history: one row per epoch.

    Raises:
        OutputError: a file cannot be written.
    """
    files = CheckpointFiles.of(folder)
    write_text(files.architecture, json.dumps(json.loads(model.to_json()), indent=1) + "\n")
    write_atomically(files.weights, lambda path: _write_weights(model, path))
    write_atomically(files.model, model.save)
    write_atomically(files.history, lambda path: fill_csv(history, path))
    return files


def _write_weights(model: Any, path: Path) -> None:
    """Write Keras's older HDF5 layout: one group per layer, in it one dataset per variable under its path.

    It is built in memory: HDF5 that cannot flush to a full disk ends the process with a segmentation fault.
    """
    h5py, keras = import_quietly("h5py"), import_keras()
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        _write_names(file, "layer_names", [layer.name for layer in model.layers])
        file.attrs["backend"] = np.bytes_(keras.backend.backend())
        file.attrs["keras_version"] = np.bytes_(keras.__version__)
        for layer in model.layers:
            variables = layer.trainable_weights + layer.non_trainable_weights
            group = file.create_group(layer.name)
            _write_names(group, "weight_names", [variable.path for variable in variables])
            for variable in variables:
                group.create_dataset(variable.path, data=keras.ops.convert_to_numpy(variable))
        _write_names(file.create_group("top_level_model_weights"), "weight_names", [])
    path.write_bytes(content.getvalue())


def _write_names(group: Any, name: str, values: list[str]) -> None:
    array = np.array([value.encode() for value in values])
    parts = -(-max(array.nbytes, 1) // _HDF5_HEADER_BYTES)
    if parts == 1:
        group.attrs[name] = array
        return
    for number, part in enumerate(np.array_split(array, parts + 1)):
        group.attrs[f"{name}{number}"] = part
