"""A data set in one `.npz` file: `images`, and if known `labels` and `class_names`. Never a pickle."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from precbench.datasets.dataset import Dataset
from precbench.errors import DataError
from precbench.files import DAMAGED_ZIP

_MAX_RGB_BYTES = 4 << 30
_MAX_LABELS = 1 << 28
_MAX_CLASSES = 1 << 16
_REMEDY = "write it with numpy.savez(path, images=uint8 array, labels=int array)"
_Value = TypeVar("_Value")


def read_archive(path: Path) -> Dataset:
    """Return the data set that an `.npz` file holds.

    Held under these names:
        images: uint8, [n, height, width, 3] RGB, or grey as [n, height, width] or [n, height, width, 1].
        labels: whole numbers, [n], optional.
        class_names: text, [classes], optional; without it the classes are 0 to the largest label.

    Images are bytes, and get the preprocessing that the model records. Values that are preprocessed already belong
    in an array named like the model's input, which the runtime feeds as it is; such a file is not read here.

    The law: no array is allocated before its header was read and found to fit the file and the limits
    (4 GiB of RGB), and no pickle is loaded.

    Raises:
        DataError: the file is missing, a directory, damaged or no archive; an array is missing, too large or of
            another kind; the labels do not fit the images or the classes.
    """
    if not path.is_file():
        what = "is a directory" if path.is_dir() else "does not exist"
        raise DataError(f"the data file {path} {what}", "name an .npz file with the array images")
    return _guarded(path, lambda: _read(path))


def _read(path: Path) -> Dataset:
    with zipfile.ZipFile(path) as archive:
        names = {Path(name).stem for name in archive.namelist() if name.endswith(".npy")}
        if "images" not in names:
            held = ", ".join(sorted(names)) or "nothing"
            raise DataError(f"{path} has no array named images; it holds {held}", _REMEDY)
        images = _read_array(path, archive, "images", _check_images)
        labels = _read_array(path, archive, "labels", _check_labels) if "labels" in names else None
        class_names = _read_array(path, archive, "class_names", _check_names) if "class_names" in names else None
    return _dataset(path, images, labels, class_names)


def _dataset(
    path: Path, images: NDArray[Any], labels: NDArray[Any] | None, class_names: NDArray[Any] | None
) -> Dataset:
    numbers = None if labels is None else labels.astype(np.int64)
    if class_names is not None:
        names = tuple(str(name) for name in class_names)
    else:
        largest = int(numbers.max()) if numbers is not None and numbers.size else -1
        if largest >= _MAX_CLASSES:
            raise DataError(
                f"the largest label in {path} is {largest}; without class_names at most {_MAX_CLASSES - 1} is read",
                "number the classes from 0, or add class_names",
            )
        names = tuple(str(label) for label in range(largest + 1))
    return Dataset(name=path.stem, images=_as_rgb(images), labels=numbers, class_names=names)


def _read_array(
    path: Path, archive: zipfile.ZipFile, name: str, check: Callable[[Path, tuple[int, ...], np.dtype[Any]], None]
) -> NDArray[Any]:
    """Read one array after its header was checked against the limits and against the bytes that are there."""
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as member:
        shape, dtype = _read_header(member)
        header_bytes = member.tell()
    if dtype.hasobject:
        raise DataError(
            f"{name} in {path} holds Python objects, which are not loaded", "save plain numbers or text, not objects"
        )
    check(path, shape, dtype)
    expected = header_bytes + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if info.file_size != expected:
        raise DataError(
            f"{name} in {path} has {info.file_size} bytes where its shape {shape} needs {expected}",
            "the file is damaged: write it again",
        )
    with archive.open(info) as member:
        values: NDArray[Any] = npy.read_array(member, allow_pickle=False)
        member.read()  # to its end, where the checksum is compared
    return values


def _read_header(member: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(member)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(member)
    elif version == (2, 0):
        shape, _, dtype = npy.read_array_header_2_0(member)
    else:
        raise ValueError(f"format version {version[0]}.{version[1]} of an array is unknown")
    return shape, dtype


def _check_images(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if dtype != np.uint8:
        raise DataError(
            f"the images in {path} are {dtype}, not uint8",
            "store bytes 0 to 255, or store preprocessed values under the name of the model's input",
        )
    if not (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))):
        raise DataError(
            f"the images in {path} have the shape {shape}",
            "store [n, height, width, 3] for RGB, or [n, height, width] for grey",
        )
    rgb_bytes = int(np.prod(shape[:3], dtype=object)) * 3
    if rgb_bytes > _MAX_RGB_BYTES:
        raise DataError(
            f"the images in {path} would take {rgb_bytes} bytes as RGB, over the limit of {_MAX_RGB_BYTES}",
            "store smaller images, or fewer in each file",
        )


def _check_labels(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "iu" or len(shape) != 1 or shape[0] > _MAX_LABELS:
        raise DataError(
            f"the labels in {path} are {dtype} of shape {shape}",
            "store one whole number per image, the index of its class: an int array [n]",
        )


def _check_names(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if dtype.kind != "U" or len(shape) != 1 or not 0 < shape[0] <= _MAX_CLASSES or dtype.itemsize > 4096:
        raise DataError(
            f"the class_names in {path} are {dtype} of shape {shape}", "store a numpy array of text, one name per class"
        )


def _as_rgb(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    channels_last = images[..., None] if images.ndim == 3 else images
    return channels_last if channels_last.shape[3] == 3 else np.repeat(channels_last, 3, axis=3)


def _guarded(path: Path, read: Callable[[], _Value]) -> _Value:
    """Turn what a damaged archive raises, anywhere in zipfile or NumPy, into one error."""
    try:
        return read()
    except (*DAMAGED_ZIP, zipfile.LargeZipFile, ValueError) as error:
        raise DataError(f"{path} is no readable .npz file: {error}", _REMEDY) from error
