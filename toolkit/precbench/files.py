"""Files: digests, and writes that are complete or absent under their final name."""

import hashlib
import json
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import OutputError, UsageError

DAMAGED_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    KeyError,
    RuntimeError,
    NotImplementedError,
)
"""What reading a damaged or hostile zip archive raises; its content may raise more."""

_CHUNK_BYTES = 1 << 20


def file_digest(path: Path) -> str:
    """Return `sha256:<hex>` of a file's bytes, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def value_digest(value: Any) -> str:
    """Return `sha256:<hex>` of a JSON-serialisable value; equal values have equal digests whatever their key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def array_digest(array: NDArray[Any]) -> str:
    """Return `sha256:<hex>` of an array's type, shape and values."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    digest.update(np.ascontiguousarray(array).data)
    return f"sha256:{digest.hexdigest()}"


def check_output(path: Path, *, force: bool) -> None:
    """Refuse an output path that exists (unless `force`) or cannot be written, before any work is done.

    Raises:
        OutputError: the path exists, is a directory, or its nearest existing parent is not a writable directory.
    """
    if path.is_dir():
        raise OutputError(f"the output {path} is a directory", "name a file in it")
    if path.exists() and not path.is_file():
        raise OutputError(f"the output {path} is a device or a pipe, not a file", "name a file")
    if path.exists() and not force:
        raise OutputError(f"the output {path} exists already", "name another with -o, or add --force to replace it")
    parent = next(folder for folder in [path.absolute(), *path.absolute().parents][1:] if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"the output {path} cannot be written: {parent} is not a writable directory",
            "choose a folder that you can write to",
        )


def check_named(path: Path) -> None:
    """Refuse a path that names no file: an empty one, or a folder like `.` and `..`.

    Raises:
        UsageError: it has no name.
    """
    if not path.name:
        raise UsageError(f"the path {str(path)!r} names no file", "name a file")


def check_not_input(output: Path, inputs: Iterable[Path | None]) -> None:
    """Refuse an output that is one of the inputs, however it is named: the original would be lost.

    Raises:
        OutputError: they are the same file.
    """
    for path in inputs:
        if path is not None and path.exists() and output.exists() and path.samefile(output):
            raise OutputError(f"the output {output} is the input {path}", "name another file with -o")


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, and give it its final name in one step.

    Nothing half-written is ever found under `path`: on any error the temporary file is removed and what was there
    before stays.

    Args:
        path: the final name; its folder is made where it is missing.
        write: called with the temporary path, which has the same suffix as `path`.

    Raises:
        OutputError: the operating system refused the write (no space, no permission, not a directory).
    """
    temporary: Path | None = None
    try:
        path = path.resolve()  # a link stays; what it leads to is replaced
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        write(temporary)
        _flush(temporary)
        temporary.chmod(stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~umask())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}",
            "choose a folder that you can write to, with room for the file",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda temporary: _write_utf8(temporary, text))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value atomically, indented, keys in the order given; NaN is refused (it is not JSON)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def _write_utf8(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _flush(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def umask() -> int:
    """Return the mask of the permissions that new files do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
