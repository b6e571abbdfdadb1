"""From what a user writes after --data to images: `digits`, `cifar10`, `folder:PATH`, `npz:PATH` or a path to .npz."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from precbench.datasets.archive import read_archive
from precbench.datasets.cifar10 import cifar10_digest, read_cifar10
from precbench.datasets.dataset import Dataset, Splits, TrainAndTest
from precbench.datasets.digits import load_digits
from precbench.datasets.folder import folder_digest, has_test_part, read_folder
from precbench.datasets.splitting import check_draw, split_training
from precbench.datasets.splitting import split as draw_splits
from precbench.errors import DataError
from precbench.files import file_digest
from precbench.nearest import nearest
from precbench.progress import SILENT

DEFAULT_SIZE = 32
DEFAULT_FRACTIONS = (0.6, 0.2, 0.2)
DEFAULT_TRAINING_FRACTIONS = (0.8, 0.2)
_SOURCES = "digits, cifar10, folder:PATH, npz:PATH"
_SPLITS = ("train", "validation", "test")


def load_splits(
    source: str,
    *,
    size: int = DEFAULT_SIZE,
    seed: int = 0,
    fractions: tuple[float, ...] | None = None,
    directory: Path | None = None,
    on_bad_image: str = "stop",
    note: Callable[[str], None] = SILENT.note,
) -> Splits:
    """Return the train, validation and test parts of a labelled data set.

    The laws: the same arguments and the same files give the same parts, whatever else was loaded. Where a source
    brings a test part of its own (cifar10, a folder with train and test), that is the test part, and the validation
    part is drawn from its training part.

    Args:
        source: "digits", "cifar10", "folder:PATH", "npz:PATH" or a path that ends in .npz.
        size: pixels a side of the digits and of a folder's images; those of cifar10 and of an archive keep theirs.
        seed: draws the parts; 0 to 2^32 - 1.
        fractions: of train, validation and test, together 1; of a source with a test part of its own two, of train
            and validation. None: 0.6, 0.2, 0.2, or 0.8, 0.2.
        directory: where cifar10 lies: its folder, the folder around it, or its archive; None for all others.
        on_bad_image: "stop" at an image in a folder that cannot be read, or "skip" it.
        note: called with each line about what differs from the published data, and what a folder held beside images.

    Raises:
        DataError: the source is unknown or cannot be read, or cannot be split so, or lies in no directory.
        MissingDependencyError: scikit-learn, or Pillow for a folder, is not installed.
    """
    fractions = _checked_fractions(source, seed, fractions)
    whole = _load_all(source, size, directory, on_bad_image, note)
    if isinstance(whole, TrainAndTest):
        return split_training(whole, seed=seed, fractions=fractions)
    return draw_splits(whole, seed=seed, fractions=fractions)


def load_dataset(
    spec: str,
    *,
    split: str = "test",
    size: int = DEFAULT_SIZE,
    seed: int = 0,
    fractions: tuple[float, ...] | None = None,
    directory: Path | None = None,
    on_bad_image: str = "stop",
    note: Callable[[str], None] = SILENT.note,
) -> Dataset:
    """Return one set of images to evaluate on.

    The law: an archive, and a folder without parts, is one set and comes back whole; of the others it is one part of
    `load_splits` with the same arguments.

    Args:
        spec: a source as in `load_splits`.
        split: "train", "validation", "test", or "all": a source's own training part, then its test part.
        size: as in `load_splits`.
        seed: of the split; 0 to 2^32 - 1.
        fractions: of the split.
        directory: as in `load_splits`.
        on_bad_image: as in `load_splits`.
        note: as in `load_splits`.

    Raises:
        DataError: the spec or the split is unknown, or the file cannot be read.
        MissingDependencyError: scikit-learn, or Pillow for a folder, is not installed.
    """
    if split not in (*_SPLITS, "all"):
        raise DataError(
            f"the split {split!r} is unknown",
            f"{nearest(split, [*_SPLITS, 'all'])}; choose {', '.join(_SPLITS)} or all",
        )
    if split == "all" or is_one_set(spec):
        whole = _load_all(spec, size, directory, on_bad_image, note)
        return whole if isinstance(whole, Dataset) else _together(whole)
    fractions = _checked_fractions(spec, seed, fractions)
    whole = _load_all(spec, size, directory, on_bad_image, note)
    if isinstance(whole, Dataset):
        return dict(draw_splits(whole, seed=seed, fractions=fractions))[split]
    if split == "test":
        return whole.test
    return dict(split_training(whole, seed=seed, fractions=fractions))[split]


def source_digest(spec: str, *, directory: Path | None = None) -> str | None:
    """Return the digest of what a source reads: the file, a folder's images with their names, cifar10's batches.

    None only for what is embedded and cannot change. It reads everything once: for cifar10 about a second, of an
    archive three.

    Args:
        spec: a source as in `load_splits`.
        directory: as in `load_splits`.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    if spec == "cifar10":
        return cifar10_digest(_cifar10_place(directory))
    folder = _folder_path(spec)
    if folder is not None:
        return folder_digest(folder)
    path = _archive_path(spec)
    if path is None:
        return None
    if not path.is_file():
        raise DataError(f"there is no file {path}", "check the path of the data set")
    return file_digest(path)


def _load_all(
    spec: str, size: int, directory: Path | None, on_bad_image: str, note: Callable[[str], None]
) -> Dataset | TrainAndTest:
    if directory is not None and spec != "cifar10":
        raise DataError(
            f"{spec} is not read from a data directory, and {directory} was given",
            "leave out --data-dir: it says where cifar10 lies; of other images write folder:PATH or npz:PATH",
        )
    folder, path = _folder_path(spec), _archive_path(spec)
    if folder is not None:
        return read_folder(folder, size=size, on_bad_image=on_bad_image, note=note)
    if path is not None:
        return read_archive(path)
    if spec == "cifar10":
        return read_cifar10(_cifar10_place(directory), note=note)
    if spec == "digits":
        return load_digits(size=size)
    if Path(spec).is_dir():
        raise DataError(f"the data set {spec!r} is a folder", f"write folder:{spec}, with one folder per class in it")
    raise DataError(
        f"the data set {spec!r} is unknown",
        f"{nearest(spec.partition(':')[0], ['digits', 'cifar10', 'folder', 'npz'])}; choose one of {_SOURCES}",
    )


def _checked_fractions(spec: str, seed: int, fractions: tuple[float, ...] | None) -> tuple[float, ...]:
    """Return the fractions or their default, checked before anything is read."""
    folder = _folder_path(spec)
    own_test = spec == "cifar10" if folder is None else has_test_part(folder)
    default = DEFAULT_TRAINING_FRACTIONS if own_test else DEFAULT_FRACTIONS
    chosen = default if fractions is None else fractions
    check_draw(seed, chosen, own_test=own_test)
    return chosen


def is_one_set(spec: str) -> bool:
    """Whether a source has no parts, so that `load_dataset` gives it whole."""
    folder = _folder_path(spec)
    return _archive_path(spec) is not None if folder is None else not has_test_part(folder)


def _together(parts: TrainAndTest) -> Dataset:
    train, test = parts.train, parts.test
    labels = None if train.labels is None or test.labels is None else np.concatenate([train.labels, test.labels])
    images = np.concatenate([train.images, test.images])
    return Dataset(name=train.name, images=images, labels=labels, class_names=train.class_names)


def _cifar10_place(directory: Path | None) -> Path:
    if directory is None:
        raise DataError(
            "the data set cifar10 is read from disk, and where it lies was not said",
            "name it with --data-dir: the folder that holds cifar-10-batches-py, or cifar-10-python.tar.gz",
        )
    return directory


def _folder_path(spec: str) -> Path | None:
    if spec == "folder:":  # as a shell writes an unset variable; Path("") would be the working folder
        raise DataError("folder: names no folder", "write folder:PATH")
    return Path(spec.removeprefix("folder:")) if spec.startswith("folder:") else None


def _archive_path(spec: str) -> Path | None:
    if spec.startswith("npz:"):
        return Path(spec.removeprefix("npz:"))
    return Path(spec) if spec.endswith(".npz") else None
