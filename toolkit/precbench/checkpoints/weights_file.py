"""A Keras checkpoint as HDF5 datasets: found by content, walked without following a link, replaced in one step.

Keras itself is not needed, so that a weights file can be rounded in an installation without TensorFlow.
"""

import contextlib
import copy
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from precbench.checkpoints.hdf5 import open_hdf5
from precbench.checkpoints.tensorflow_quietly import import_quietly
from precbench.errors import ModelError, OutputError
from precbench.files import DAMAGED_ZIP, write_atomically

_WEIGHTS_MEMBER = "model.weights.h5"
_CONFIG_MEMBER = "config.json"
_REMEDY = "name a Keras weights file (.h5), a whole model (.h5) or a .keras file"
_DAMAGED_REMEDY = "the file is damaged: copy or save it again"
_MAX_CONFIG_BYTES = 256 << 20
_BOMB_FLOOR_BYTES = 4 << 30  # as Keras: larger than this and more than 100 times its stored size is no real weight
_BOMB_EXPANSION = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """The HDF5 file of a checkpoint, for reading.

    Args:
        source: the file that the user named.
        hdf5: the HDF5 file: `source` itself, or the copy taken out of a `.keras` archive.
        config: the architecture that a `.keras` archive carries, None elsewhere.
    """

    source: Path
    hdf5: Path
    config: Mapping[str, Any] | None

    @property
    def archived(self) -> bool:
        """Whether the source is a `.keras` archive."""
        return self.hdf5 != self.source


@contextlib.contextmanager
def open_weights(path: Path) -> Iterator[WeightsFile]:
    """Yield the HDF5 file that holds a checkpoint's weights; a `.keras` archive is unpacked to a temporary folder.

    Raises:
        ModelError: the path is missing, a directory, empty, damaged, or neither HDF5 nor a `.keras` archive.
        OutputError: there is no room for the temporary copy.
    """
    _check_file(path)
    if import_quietly("h5py").is_hdf5(path):
        yield WeightsFile(source=path, hdf5=path, config=None)
        return
    if not zipfile.is_zipfile(path):
        raise ModelError(f"{path} is neither HDF5 nor a .keras archive", _REMEDY)
    with tempfile.TemporaryDirectory(prefix="precbench-") as folder:
        hdf5 = Path(folder) / _WEIGHTS_MEMBER
        with guarded(path):
            config = _unpack(path, hdf5)
        yield WeightsFile(source=path, hdf5=hdf5, config=config)


def datasets(file: Any, path: Path) -> dict[str, Any]:
    """Return every dataset of an HDF5 file, opened by `open_for_reading`, under its path, in the file's order.

    Args:
        file: an `h5py.File`, known to hold no links to elsewhere.
        path: its name, for messages.

    Raises:
        ModelError: the file holds one object under two names.
    """
    h5py = import_quietly("h5py")
    found: dict[str, Any] = {}
    seen = {h5py.h5o.get_info(file.id).addr}
    pending = [("", file)]
    while pending:
        prefix, group = pending.pop()
        for name, item in group.items():
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise ModelError(
                    f"{path} holds one object under two names, the second {prefix}{name}",
                    "save the model with Keras, which writes each variable once",
                )
            seen.add(address)
            if isinstance(item, h5py.Dataset):
                found[f"{prefix}{name}"] = item
            else:
                pending.append((f"{prefix}{name}/", item))
    return found


@contextlib.contextmanager
def open_for_reading(weights: WeightsFile) -> Iterator[Any]:
    """Yield an `h5py.File` that was checked (`hdf5.open_hdf5`); messages name the source, not a temporary copy.

    Raises:
        ModelError: the file is damaged, or holds links or values in other files.
    """
    try:
        with guarded(weights.source), open_hdf5(weights.hdf5) as file:
            yield file
    except ModelError as error:
        raise ModelError(error.problem.replace(str(weights.hdf5), str(weights.source)), error.remedy) from error


def replace_weights(weights: WeightsFile, output: Path, edit: Callable[[Path], None]) -> None:
    """Write a copy of a checkpoint, changed by `edit`, under its final name in one step.

    The law: in a `.keras` archive every other member stays byte for byte, in its order.

    Args:
        weights: the checkpoint, open.
        output: the final name; what is there is replaced.
        edit: changes an HDF5 file in place.

    Raises:
        OutputError: the suffix does not fit the format, or the file cannot be written.
    """
    allowed = (".keras",) if weights.archived else (".h5", ".hdf5")
    if output.suffix not in allowed:
        raise OutputError(
            f"the output {output} must end in {' or '.join(allowed)}, as Keras goes by the name",
            f"name it {output.stem}{allowed[0]}",
        )
    if weights.archived:
        write_atomically(output, lambda path: _edit_and_pack(weights, path, edit))
    else:
        write_atomically(output, lambda path: _copy_and_edit(weights.source, path, edit))


@contextlib.contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn what a damaged file raises, in zipfile, zlib, json or HDF5, into one ModelError."""
    try:
        yield
    except (*DAMAGED_ZIP, ValueError) as error:
        text = " ".join(str(error).split())
        raise ModelError(f"{path} cannot be read: {text}", _DAMAGED_REMEDY) from error


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise ModelError(f"{path} is a directory", _REMEDY)
    if not path.is_file():
        raise ModelError(f"{path} does not exist", _REMEDY)
    if path.stat().st_size == 0:
        raise ModelError(f"{path} is empty", _DAMAGED_REMEDY)


def _unpack(path: Path, hdf5: Path) -> Mapping[str, Any]:
    """Take the weights out of an archive, after all of it was checked; return the architecture."""
    with zipfile.ZipFile(path) as archive:
        _check_archive(path, archive)
        if archive.getinfo(_CONFIG_MEMBER).file_size > _MAX_CONFIG_BYTES:
            raise ModelError(f"{path} has an architecture of more than {_MAX_CONFIG_BYTES} bytes", _DAMAGED_REMEDY)
        config = json.loads(archive.read(_CONFIG_MEMBER))
        if not isinstance(config, dict):
            raise ModelError(f"{path} has an architecture that is no JSON object", _DAMAGED_REMEDY)
        with archive.open(_WEIGHTS_MEMBER) as member:
            _extract(member, hdf5)
    if not import_quietly("h5py").is_hdf5(hdf5):
        raise ModelError(f"{path} holds weights that are not HDF5", _DAMAGED_REMEDY)
    return config


def _extract(member: Any, hdf5: Path) -> None:
    try:
        with hdf5.open("wb") as stream:
            shutil.copyfileobj(member, stream, 1 << 20)
    except OSError as error:
        raise OutputError(
            f"no room to unpack the weights into {hdf5.parent}: {error.strerror or error}",
            "free space there, or set TMPDIR to another folder",
        ) from error


def _check_archive(path: Path, archive: zipfile.ZipFile) -> None:
    names = archive.namelist()
    for needed in (_CONFIG_MEMBER, _WEIGHTS_MEMBER):
        if needed not in names:
            raise ModelError(f"{path} is an archive without {needed}, so no .keras file", _REMEDY)
    if len(set(names)) != len(names):
        raise ModelError(f"{path} is an archive with two members of one name", _DAMAGED_REMEDY)
    for info in archive.infolist():
        if info.file_size > _BOMB_FLOOR_BYTES and info.file_size > _BOMB_EXPANSION * info.compress_size:
            raise ModelError(
                f"{path} declares {info.file_size} bytes at {info.filename} and stores {info.compress_size}",
                _DAMAGED_REMEDY,
            )
    bad = archive.testzip()
    if bad is not None:
        raise ModelError(f"{path} fails the checksum of {bad}", _DAMAGED_REMEDY)


def _edit_and_pack(weights: WeightsFile, path: Path, edit: Callable[[Path], None]) -> None:
    """Edit the unpacked weights and write the archive again, member by member, with them in their place."""
    edit(weights.hdf5)
    with zipfile.ZipFile(weights.source) as old, zipfile.ZipFile(path, "w") as new:
        new.comment = old.comment
        for info in old.infolist():
            twin = copy.copy(info)
            twin.extra = b""
            replaced = info.filename == _WEIGHTS_MEMBER
            twin.file_size = weights.hdf5.stat().st_size if replaced else info.file_size
            with weights.hdf5.open("rb") if replaced else old.open(info) as source, new.open(twin, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)


def _copy_and_edit(source: Path, path: Path, edit: Callable[[Path], None]) -> None:
    shutil.copyfile(source, path)
    edit(path)
