"""CIFAR-10 as its authors ship it: the folder `cifar-10-batches-py` or the archive that holds it."""

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.datasets.dataset import Dataset, TrainAndTest
from precbench.datasets.pickles import read_pickle
from precbench.datasets.tarball import read_members
from precbench.errors import DataError
from precbench.files import value_digest

_FOLDER = "cifar-10-batches-py"
_ARCHIVES = ("cifar-10-python.tar.gz", "cifar-10-python.tar")
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST = "test_batch"
_META = "batches.meta"
_SIDE = 32
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}
"""As torchvision lists them, `torchvision.datasets.CIFAR10`."""
_LIMITS = dict.fromkeys((*_TRAIN, _TEST), 64 << 20) | {_META: 1 << 20, "readme.html": 1 << 20}
"""A published batch has 31 MB; written again by Python 3 in protocol 2, where a byte over 127 takes two, up to 62."""
_REMEDY = "use the files as published: https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"


def read_cifar10(path: Path, *, note: Callable[[str], None]) -> TrainAndTest:
    """Return the training images in their original order, and the test images.

    The laws: each batch holds as many images as `batches.meta` says (without it: as many as `data_batch_1`) and as
    many labels, 0 to 9. Bytes that are not the published ones are no error: the MD5 digests are compared, and a note
    names each file that differs. Nothing in the pickles is run (`pickles`), nothing is unpacked to disk (`tarball`).

    Without `batches.meta` the ten published class names are used, with a note: the labels are the same numbers, so
    nothing is guessed but what every copy of the data says.

    Args:
        path: `cifar-10-batches-py`, the folder that holds it or its archive, or the archive: `.tar.gz` or `.tar`.
        note: called with a line for what differs from the published data.

    Returns:
        uint8 images of [n, 32, 32, 3]: as published, 50,000 and 10,000. At the peak under twice their bytes are held.

    Raises:
        DataError: nothing of this kind is there; a file is missing, damaged, hostile or too large; images, labels or
            class names are not as the laws say.

    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009;
        https://www.cs.toronto.edu/~kriz/cifar.html.
    """
    place = _place(path)
    batches: dict[str, _Batch] = {}
    meta, changed = None, []
    for name, content in _files(place):
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != _MD5[name]:
            changed.append(name)
        where = f"{name} in {place}"
        if name == _META:
            meta = _read_meta(content, where)
        else:
            batches[name] = _read_batch(content, where)
    _check(place, batches, meta)
    for line in _notes(place, changed, meta):
        note(line)
    class_names = _CLASSES if meta is None else meta.class_names
    test = _joined([batches.pop(_TEST)], class_names)
    return TrainAndTest(train=_joined([batches.pop(name) for name in _TRAIN], class_names), test=test)


def cifar10_digest(path: Path) -> str:
    """Return `sha256:<hex>` over the batches and `batches.meta`: the same for a folder and for its archive.

    Raises:
        DataError: nothing of this kind is there; a file is missing, too large, or the archive is refused.
    """
    place = _place(path)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in _files(place)}
    _check_complete(place, digests.keys())
    return value_digest(digests)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Batch:
    """Images, uint8, [n, 3, 32, 32], and their labels, int64, [n]."""

    where: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meta:
    images_per_batch: int
    class_names: tuple[str, ...]


def _place(path: Path) -> Path:
    """Return the folder with the batches, or the archive."""
    if path.is_file() or any((path / name).is_file() for name in (*_TRAIN, _TEST)):
        return path
    if not path.is_dir():
        raise DataError(
            f"{path} is neither a folder nor a file", f"name a folder that holds {_FOLDER}, or {_ARCHIVES[0]}"
        )
    candidates = [path / _FOLDER, *(path / name for name in _ARCHIVES)]
    found = next((candidate for candidate in candidates if candidate.exists()), None)
    if found is None:
        raise DataError(f"{path} holds neither {_FOLDER} nor {_ARCHIVES[0]}", f"name the folder they lie in; {_REMEDY}")
    return found


def _files(place: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each known file with its content, one at a time."""
    if place.is_dir():
        for name in _MD5:
            if (place / name).is_file():
                yield name, _read(place / name, _LIMITS[name])
    else:
        for name, content in read_members(place, folder=_FOLDER, limits=_LIMITS, remedy=_REMEDY):
            if name in _MD5:
                yield name, content


def _read(path: Path, most_bytes: int) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(most_bytes + 1)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}", "check the file and who may read it"
        ) from error
    if len(content) > most_bytes:
        raise DataError(f"{path} has more than {most_bytes} bytes", _REMEDY)
    return content


def _read_batch(content: bytes, where: str) -> _Batch:
    held = read_pickle(content, name=where, remedy=_REMEDY)
    images, labels = held.get("data"), held.get("labels")
    if (
        not isinstance(images, np.ndarray)
        or images.ndim != 2
        or images.shape[1] != 3 * _SIDE * _SIDE
        or not len(images)
    ):
        shape = f"of shape {images.shape}" if isinstance(images, np.ndarray) else "missing"
        raise DataError(f"the images of {where} are {shape}, not [n, 3072]", _REMEDY)
    if not isinstance(labels, list) or len(labels) != len(images):
        count = len(labels) if isinstance(labels, list) else "no"
        raise DataError(f"{where} has {count} labels for {len(images)} images", _REMEDY)
    wrong = next((index for index, label in enumerate(labels) if type(label) is not int or not 0 <= label <= 9), None)
    if wrong is not None:
        raise DataError(f"label {wrong} of {where} is {_short(labels[wrong])}, not 0 to 9", _REMEDY)
    return _Batch(where=where, images=images.reshape(-1, 3, _SIDE, _SIDE), labels=np.array(labels, np.int64))


def _read_meta(content: bytes, where: str) -> _Meta:
    held = read_pickle(content, name=where, remedy=_REMEDY)
    count, names = held.get("num_cases_per_batch"), held.get("label_names")
    if type(count) is not int or count < 1:
        raise DataError(f"num_cases_per_batch of {where} is {_short(count)}, not a number of images", _REMEDY)
    texts = [_as_text(name) for name in names] if isinstance(names, list) else []
    if len(texts) != len(_CLASSES) or not all(text and text.isprintable() for text in texts):
        raise DataError(f"label_names of {where} are not ten class names", _REMEDY)
    return _Meta(images_per_batch=count, class_names=tuple(texts))


def _as_text(name: object) -> str:
    if isinstance(name, bytes):
        return name.decode("latin-1")
    return name if isinstance(name, str) else ""


def _short(value: Any) -> str:
    """Return a plain value as it is; anything nested by its type alone, for it may nest without end."""
    if isinstance(value, str | bytes):
        return repr(value[:40])
    return str(value) if value is None or isinstance(value, int) else type(value).__name__


def _check(place: Path, batches: dict[str, _Batch], meta: _Meta | None) -> None:
    _check_complete(place, batches.keys())
    expected = meta.images_per_batch if meta else len(batches[_TRAIN[0]].labels)
    for batch in batches.values():
        if len(batch.labels) != expected:
            says = f"{_META} says {expected}" if meta else f"{_TRAIN[0]} has {expected}"
            raise DataError(f"{batch.where} has {len(batch.labels)} images where {says}", _REMEDY)


def _check_complete(place: Path, found: Collection[str]) -> None:
    missing = [name for name in (*_TRAIN, _TEST) if name not in found]
    if missing:
        raise DataError(f"{place} lacks {', '.join(missing)}", _REMEDY)


def _notes(place: Path, changed: list[str], meta: _Meta | None) -> Iterator[str]:
    if place.is_file() and place.name.endswith("gz") and _md5_of(place) != _ARCHIVE_MD5:
        yield f"{place} is not the published archive (its MD5 digest differs); its files were checked one by one"
    if changed:
        yield (
            f"the MD5 digests of {', '.join(sorted(changed))} in {place} are not the published ones: "
            "what they hold may differ from CIFAR-10"
        )
    if meta is None:
        yield f"{place} has no {_META}: the published class names were used"


def _md5_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _joined(batches: list[_Batch], class_names: tuple[str, ...]) -> Dataset:
    """Return the batches as one data set, channels last; each batch's bytes are freed once they are copied."""
    labels = np.concatenate([batch.labels for batch in batches])
    images = np.empty((len(labels), _SIDE, _SIDE, 3), np.uint8)
    end = len(labels)
    while batches:
        batch = batches.pop()
        images[end - len(batch.labels) : end] = batch.images.transpose(0, 2, 3, 1)
        end -= len(batch.labels)
        del batch
    return Dataset(name="cifar10", images=images, labels=labels, class_names=class_names)
