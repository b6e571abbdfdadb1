"""A training between two epochs, in one file: all that the rest of it depends on."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.checkpoints.history import Epoch
from precbench.errors import UsageError
from precbench.files import DAMAGED_ZIP, write_atomically

_VERSION = 1
_HEADER = "header"
_GROUPS = ("variables", "optimizer", "kept")
_REMEDY = "remove the file to train from the beginning"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingState:
    """What a training is after an epoch.

    Args:
        key: digest of what the training is made from: data, model, settings.
        history: every epoch so far, at least one.
        kept_epoch: the best of them.
        generator: state of the NumPy generator, as `bit_generator.state` gives it.
        variables: of the model, seeds of dropout included, in Keras's order.
        optimizer: the variables of the optimizer, in Keras's order.
        kept: the weights of the kept epoch, as `get_weights` gives them.
    """

    key: str
    history: tuple[Epoch, ...]
    kept_epoch: int
    generator: Mapping[str, Any]
    variables: tuple[NDArray[Any], ...]
    optimizer: tuple[NDArray[Any], ...]
    kept: tuple[NDArray[Any], ...]


def write_state(path: Path, state: TrainingState) -> None:
    """Write a state atomically, as an `.npz` archive with a JSON header.

    Raises:
        OutputError: the file cannot be written; the state that was there stays.
    """
    header = {
        "version": _VERSION,
        "key": state.key,
        "kept_epoch": state.kept_epoch,
        "generator": state.generator,
        "history": [asdict(epoch) for epoch in state.history],
        "counts": {group: len(getattr(state, group)) for group in _GROUPS},
    }
    arrays = {f"{group}_{n}": each for group in _GROUPS for n, each in enumerate(getattr(state, group))}
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    write_atomically(path, lambda temporary: np.savez(temporary, allow_pickle=False, **{_HEADER: text}, **arrays))


def read_state(path: Path, key: str) -> TrainingState | None:
    """Return the state that a file holds, None where there is no file.

    The law: what comes back equals what was written, bit for bit. No pickle is loaded.

    Raises:
        UsageError: the file is damaged, of another version, or the state of a training with another key.
    """
    if not path.exists():
        return None
    try:
        return _read(path, key)
    except (*DAMAGED_ZIP, TypeError, ValueError, AttributeError, MemoryError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: object) -> UsageError:
    """Return the error that says so."""
    return UsageError(f"the training state {path} is damaged: {error}", _REMEDY)


def _read(path: Path, key: str) -> TrainingState:
    with zipfile.ZipFile(path) as archive:
        held = sum(info.file_size for info in archive.infolist())
    if held > path.stat().st_size:  # states are not compressed, so no file fills more memory than it has bytes
        raise ValueError(f"it declares {held:,} bytes and holds {path.stat().st_size:,}")
    with np.load(path, allow_pickle=False) as arrays:
        header = json.loads(arrays[_HEADER].tobytes())
        if header["version"] != _VERSION:
            raise UsageError(
                f"the training state {path} has version {header['version']!r}, this precbench reads {_VERSION}",
                f"go on with the precbench that wrote it, or {_REMEDY}",
            )
        if header["key"] != key:
            raise UsageError(
                f"the training state {path} is of a training on other images, of another model or with other settings",
                f"put them back to go on with it, or {_REMEDY}",
            )
        groups = {group: _group(arrays, group, header["counts"][group]) for group in _GROUPS}
    return TrainingState(
        key=key,
        history=tuple(Epoch(**epoch) for epoch in header["history"]),
        kept_epoch=int(header["kept_epoch"]),
        generator=dict(header["generator"]),
        **groups,
    )


def _group(arrays: Any, group: str, count: int) -> tuple[NDArray[Any], ...]:
    return tuple(arrays[f"{group}_{number}"] for number in range(count))
