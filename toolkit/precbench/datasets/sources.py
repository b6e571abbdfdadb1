"""From what a user writes after --data to images: `digits`, `npz:PATH` or a path that ends in .npz."""

from pathlib import Path

from precbench.datasets.archive import read_archive
from precbench.datasets.dataset import Dataset, Splits
from precbench.datasets.digits import load_digits
from precbench.datasets.splitting import split as draw_splits
from precbench.errors import DataError
from precbench.files import file_digest
from precbench.nearest import nearest

DEFAULT_SIZE = 32
DEFAULT_FRACTIONS = (0.6, 0.2, 0.2)
_SOURCES = "digits, npz:PATH"
_SPLITS = ("train", "validation", "test")


def load_splits(
    source: str, *, size: int = DEFAULT_SIZE, seed: int = 0, fractions: tuple[float, float, float] = DEFAULT_FRACTIONS
) -> Splits:
    """Return the train, validation and test parts of a labelled data set.

    The law: the same arguments give the same parts, whatever else was loaded.

    Args:
        source: "digits", "npz:PATH" or a path that ends in .npz.
        size: pixels a side of the digits; images of an archive keep their size.
        seed: draws the parts; 0 to 2^32 - 1.
        fractions: of train, validation and test; together 1.

    Raises:
        DataError: the source is unknown or cannot be read, or cannot be split so.
        MissingDependencyError: scikit-learn is not installed.
    """
    return draw_splits(_load_all(source, size), seed=seed, fractions=fractions)


def load_dataset(
    spec: str,
    *,
    split: str = "test",
    size: int = DEFAULT_SIZE,
    seed: int = 0,
    fractions: tuple[float, float, float] = DEFAULT_FRACTIONS,
) -> Dataset:
    """Return one set of images to evaluate on.

    The law: an archive is one set and comes back whole; of the digits it is one part of `load_splits` with the
    same size, seed and fractions.

    Args:
        spec: "digits", "npz:PATH" or a path that ends in .npz.
        split: "train", "validation", "test", or "all"; of the digits only.
        size: pixels a side of the digits.
        seed: of the split; 0 to 2^32 - 1.
        fractions: of the split.

    Raises:
        DataError: the spec or the split is unknown, or the file cannot be read.
        MissingDependencyError: scikit-learn is not installed.
    """
    if split not in (*_SPLITS, "all"):
        raise DataError(
            f"the split {split!r} is unknown",
            f"{nearest(split, [*_SPLITS, 'all'])}; choose {', '.join(_SPLITS)} or all",
        )
    if split == "all" or _archive_path(spec) is not None:
        return _load_all(spec, size)
    parts = dict(load_splits(spec, size=size, seed=seed, fractions=fractions))
    return parts[split]


def source_digest(spec: str) -> str | None:
    """Return the digest of the file that a source reads, None for one that is embedded and cannot change.

    Raises:
        DataError: the file is missing.
    """
    path = _archive_path(spec)
    if path is None:
        return None
    if not path.is_file():
        raise DataError(f"there is no file {path}", "check the path of the data set")
    return file_digest(path)


def _load_all(spec: str, size: int) -> Dataset:
    path = _archive_path(spec)
    if path is not None:
        return read_archive(path)
    if spec == "digits":
        return load_digits(size=size)
    raise DataError(
        f"the data set {spec!r} is unknown",
        f"{nearest(spec.partition(':')[0], ['digits', 'npz'])}; choose one of {_SOURCES}",
    )


def _archive_path(spec: str) -> Path | None:
    if spec.startswith("npz:"):
        return Path(spec.removeprefix("npz:"))
    return Path(spec) if spec.endswith(".npz") else None
