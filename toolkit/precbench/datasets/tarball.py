"""Known files out of a tar archive from strangers: read in memory, within limits, nothing written to disk.

The blocks are walked here, and only a header is left to `tarfile`: its own reader keeps whatever a long name, a pax
header or a sparse map declares, and takes a damaged header for the end.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from precbench.errors import DataError, printable

_BLOCK_BYTES = 512
_MOST_HEADERS = 64
_MOST_PAX_BYTES = 1 << 16
_MOST_PADDING_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
_PAX = (tarfile.XHDTYPE, tarfile.XGLTYPE)


def read_members(path: Path, *, folder: str, limits: Mapping[str, int], remedy: str) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each file in a `.tar` or `.tar.gz`, in the archive's order.

    The law: only regular files of the known names, each at most once, directly in the archive or in its one folder;
    any other member is refused before its content is read. At most one content is held, of at most its limit, and all
    that is unpacked is at most the limits together and 5 MiB, so a compressed bomb ends there.

    Pax headers are passed over: they say times and owners; no known file needs its name or its size from one.

    Args:
        path: the archive; compressed or not is told by its first bytes.
        folder: the one folder that the files may lie in.
        limits: for each known name its most bytes.
        remedy: what to do where the archive cannot be used.

    Raises:
        DataError: the archive cannot be read, is damaged or cut short; a member is a link, a device or sparse, lies
            elsewhere (an absolute path, `..`), has another name, comes twice or is too large.
    """
    try:
        with path.open("rb") as raw:
            compressed = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            raw.seek(0)
            if not compressed:
                yield from _Walk(raw, path, remedy).files(folder, limits)
                return
            with gzip.open(raw) as plain:
                yield from _Walk(plain, path, remedy).files(folder, limits)
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError, MemoryError) as error:
        raise DataError(f"{path} is no readable tar archive: {printable(str(error)[:200])}", remedy) from error


class _Walk:
    """A way through an archive, block by block."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile, path: Path, remedy: str) -> None:
        self.stream = stream
        self.path = path
        self.remedy = remedy

    def files(self, folder: str, limits: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
        """Yield the known files; refuse whatever else there is."""
        seen = set()
        for header in self.headers():
            if header.type in _PAX:
                self.content(header, _MOST_PAX_BYTES)
                continue
            name = self.known_name(header, folder, limits)
            if name in seen:
                raise self.refusal(header, "twice")
            seen.add(name)
            if header.type in _FILES:
                yield name, self.content(header, limits[name])

    def headers(self) -> Iterator[tarfile.TarInfo]:
        """Yield each header up to the end, with the stream behind it; then read what pads the archive."""
        for _ in range(_MOST_HEADERS):
            block = self.stream.read(_BLOCK_BYTES)
            if block == bytes(_BLOCK_BYTES):
                self.padding()
                return
            if len(block) < _BLOCK_BYTES:
                raise DataError(f"{self.path} is cut short: it ends without its last block", self.remedy)
            yield tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        raise DataError(f"{self.path} has more than {_MOST_HEADERS} headers", self.remedy)

    def known_name(self, header: tarfile.TarInfo, folder: str, limits: Mapping[str, int]) -> str:
        """Return a file's plain name, a folder's with a slash."""
        if header.type not in (*_FILES, tarfile.DIRTYPE):
            raise self.refusal(header, "as a link, a device or another special file")
        parts = [part for part in header.name.split("/") if part != "."]
        if header.type == tarfile.DIRTYPE and parts in ([], [folder]):
            return "/".join(["", *parts])
        inside = parts[1:] if parts[:1] == [folder] else parts
        if header.type == tarfile.DIRTYPE or len(inside) != 1 or inside[0] not in limits:
            raise self.refusal(header, "where it should hold none but its files")
        return inside[0]

    def content(self, header: tarfile.TarInfo, most_bytes: int) -> bytes:
        """Return what follows a header, and leave the stream at the next one."""
        if not 0 <= header.size <= most_bytes:
            raise self.refusal(header, f"with {header.size} bytes, over the limit of {most_bytes}")
        content = self.stream.read(header.size)
        if len(content) < header.size:
            raise DataError(f"{self.path} is cut short in {printable(header.name)[:100]}", self.remedy)
        self.stream.read(-header.size % _BLOCK_BYTES)  # what this misses the next header misses too
        return content

    def padding(self) -> None:
        """Read to the end, where a compressed file's checksum is compared."""
        if len(self.stream.read(_MOST_PADDING_BYTES)) == _MOST_PADDING_BYTES:
            raise DataError(f"{self.path} goes on behind its end", self.remedy)

    def refusal(self, header: tarfile.TarInfo, what: str) -> DataError:
        """Return the error that names a member and says what is refused."""
        return DataError(f"{self.path} holds {printable(header.name)[:100]!r} {what}", self.remedy)
