"""Open a stranger's HDF5 file: it must hold its data itself, and a bounded amount of it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from precbench.checkpoints.tensorflow_quietly import import_quietly
from precbench.errors import ModelError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_DATA_BYTES = 4 << 30
_MAX_OBJECTS = 1_000_000


@contextlib.contextmanager
def open_hdf5(path: Path, *, origin: Path | None = None) -> Iterator[Any]:
    """Open an HDF5 file for reading, checked: no link or dataset in it reads another file.

    Damage that shows only as the file is read in the block is reported in the same way.

    Args:
        path: a file that begins with the HDF5 signature.
        origin: the file to name in messages, where `path` is a copy out of it.

    Raises:
        ModelError: the file is truncated or damaged, has soft or external links, external or virtual datasets, or
            declares more than 4 GiB of data.
    """
    h5py = import_quietly("h5py")
    named = origin or path
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ModelError(
            f"{named} cannot be read as HDF5; it is truncated or damaged ({error})", "copy or save the file again"
        ) from error
    with file:
        try:
            _check_group(h5py, named, file)
            yield file
        except (OSError, RuntimeError, KeyError, UnicodeError) as error:  # what h5py raises on damaged structures
            raise ModelError(f"{named} is damaged HDF5 ({error})", "copy or save the file again") from error


def _check_group(h5py: Any, path: Path, file: Any) -> None:
    """Visit everything once; hard links may form cycles."""
    pending, seen, held = [file], {_address(h5py, file)}, 0
    while pending:
        group = pending.pop()
        for name in group:
            _check_link(h5py, path, group, name)
            item = group[name]
            if _address(h5py, item) in seen:
                continue
            seen.add(_address(h5py, item))
            if isinstance(item, h5py.Group):
                pending.append(item)
            elif isinstance(item, h5py.Dataset):
                held += _checked_bytes(path, item)
        if held > MAX_DATA_BYTES or len(seen) > _MAX_OBJECTS:
            raise ModelError(
                f"{path} declares {held:,} bytes in {len(seen):,} objects; at most {MAX_DATA_BYTES:,} "
                f"in {_MAX_OBJECTS:,} are read",
                "give a checkpoint of a network",
            )


def _check_link(h5py: Any, path: Path, group: Any, name: str) -> None:
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.HardLink):
        return
    kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
    raise ModelError(
        f"{path} holds {kind}, {group.name.rstrip('/')}/{name}; what it leads to is not read",
        "save the weights with Keras, which writes no links",
    )


def _checked_bytes(path: Path, dataset: Any) -> int:
    if dataset.external is not None or dataset.is_virtual:
        raise ModelError(
            f"{path} holds {dataset.name}, whose data is in another file; that is not read",
            "save the weights with Keras, which keeps them in one file",
        )
    return int(dataset.nbytes)


def _address(h5py: Any, item: Any) -> tuple[int, int]:
    info = h5py.h5o.get_info(item.id)
    return int(info.fileno), int(info.addr)
