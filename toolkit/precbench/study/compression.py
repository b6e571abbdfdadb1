"""How small a file is after compression: what rounding gives where files are stored or sent."""

from pathlib import Path

import zstandard

ZSTD_LEVEL = 10


def compressed_bytes(path: Path) -> int:
    """Return how many bytes a file has after zstd at `ZSTD_LEVEL`."""
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    return len(compressor.compress(path.read_bytes()))
