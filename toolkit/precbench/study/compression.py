"""How small a file is after compression: what rounding gives where files are stored or sent."""

from pathlib import Path

import zstandard

ZSTD_LEVEL = 10


def compressed_bytes(path: Path) -> int:
    """Return how many bytes a file has after zstd at `ZSTD_LEVEL`."""
    return compressed_size(path.read_bytes())


def compressed_size(data: bytes) -> int:
    """Return how many bytes data have after zstd at `ZSTD_LEVEL`."""
    return len(zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data))
