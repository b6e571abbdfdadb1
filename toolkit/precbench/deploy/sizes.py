"""How many bytes a model takes, its external data counted, and after compression."""

from pathlib import Path

from precbench.graph import load_model
from precbench.study.compression import compressed_bytes


def model_files(path: Path) -> list[Path]:
    """Return a model's file and those with its external data."""
    model = load_model(path)
    names = {entry.value for held in model.tensors() for entry in held.proto.external_data if entry.key == "location"}
    return [path, *(path.parent / name for name in sorted(names))]


def model_bytes(path: Path) -> int:
    """Return the bytes of all its files."""
    return sum(file.stat().st_size for file in model_files(path))


def zstd_bytes(path: Path) -> int:
    """Return the bytes of all its files, each compressed (`study.compression`)."""
    return sum(compressed_bytes(file) for file in model_files(path))
