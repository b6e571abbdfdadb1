"""A folder of images, one sub-folder per class; or a folder with `train` and `test`, each of this kind."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from precbench.datasets.dataset import Dataset, TrainAndTest
from precbench.datasets.pictures import SUFFIXES, Picture, PictureError, read_picture
from precbench.errors import DataError, printable
from precbench.files import file_digest, value_digest

ON_BAD_IMAGE = ("stop", "skip")
_MAX_RGB_BYTES = 4 << 30
_MIN_PIXELS, _MAX_PIXELS = 8, 1024
_PARTS = ("train", "test")
_OTHER_PARTS = ("validation", "valid", "val")
_NAMED = 3
_IGNORED = "ignored, no image by its name or hidden"
_SKIPPED = "skipped"


def read_folder(path: Path, *, size: int, on_bad_image: str, note: Callable[[str], None]) -> Dataset | TrainAndTest:
    """Return all images below a folder as size x size RGB, class by class and each class by file name.

    The laws: the classes are the names of the sub-folders in the order of their code points; the images are the files
    directly in them with an image's suffix. Nothing is read through a link that leaves the folder. What was ignored,
    skipped or odd (grey, transparent, CMYK, animated, turned) is counted in a note that names the first few.

    A folder whose only sub-folders are `train` and `test` has two parts, of the same classes. Where a part of another
    usual name stands beside them it is refused, for it would be read as a class.

    Args:
        path: the folder.
        size: pixels a side, 8 to 1024: the centred square of each image is resized to it, see `read_picture`.
        on_bad_image: "stop" at an image that cannot be read, or "skip" it.
        note: called with each line about what was found.

    Raises:
        DataError: an argument is outside its limits; the folder is missing; a class is empty, its name cannot be
            printed or it is a link that leaves the folder; the parts' classes differ; the images would take more
            than 4 GiB; an image cannot be read and `on_bad_image` is "stop".
        MissingDependencyError: Pillow is not installed.
    """
    _check(size, on_bad_image)
    scans = [_scan(root, path) for root in _roots(path)]
    _check_classes(path, scans)
    _check_amount(path, size, sum(len(files) for scan in scans for files in scan.classes.values()))
    reader = _Reader(path=path, size=size, stop=on_bad_image == "stop")
    for entry in (entry for scan in scans for entry in scan.ignored):
        reader.count(_IGNORED, entry)
    parts = [_read_classes(reader, scan) for scan in scans]
    for line in reader.lines():
        note(line)
    return parts[0] if len(parts) == 1 else TrainAndTest(train=parts[0], test=parts[1])


def has_test_part(path: Path) -> bool:
    """Tell whether a folder brings a test part of its own.

    Raises:
        DataError: the folder is missing, or has parts of other names.
    """
    return len(_roots(path)) > 1


def folder_digest(path: Path) -> str:
    """Return `sha256:<hex>` over the names and contents of the images in a folder, wherever it lies.

    Raises:
        DataError: the folder is missing, its classes are none, or a file cannot be read.
    """
    scans = [_scan(root, path) for root in _roots(path)]
    files = [file for scan in scans for found in scan.classes.values() for file in found]
    try:
        return value_digest(
            {
                file.relative_to(path).as_posix(): file_digest(file)
                for file in files
                if _is_inside(file, path) and file.is_file()
            }
        )
    except OSError as error:
        raise DataError(f"an image cannot be read: {error}", "check the files and who may read them") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scan:
    """What lies in a folder of classes: image files by class, both in order, and what is neither."""

    root: Path
    classes: dict[str, list[Path]] = field(default_factory=dict)
    ignored: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Reads images, and keeps the names of those that were odd, by kind."""

    path: Path
    size: int
    stop: bool
    odd: dict[str, list[str]] = field(default_factory=dict)

    def read(self, file: Path) -> Picture | None:
        """Return an image, or None for one that is skipped."""
        try:
            if not _is_inside(file, self.path):
                raise PictureError(file, "is a link that leaves the folder or leads nowhere")
            picture = read_picture(file, size=self.size)
        except PictureError as error:
            if self.stop:
                raise
            self.count(_SKIPPED, file, f" ({error.reason})")
            return None
        for oddity in picture.oddities:
            self.count(oddity, file)
        return picture

    def count(self, kind: str, file: Path, why: str = "") -> None:
        """Keep a file's name under a kind."""
        self.odd.setdefault(kind, []).append(printable(file.relative_to(self.path).as_posix()) + why)

    def lines(self) -> Iterator[str]:
        """Yield a line for each kind that was met."""
        for kind, names in self.odd.items():
            count = "1 file" if len(names) == 1 else f"{len(names)} files"
            yield f"{count} in {self.path} {kind}: {_first(names)}"


def _first(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _check(size: int, on_bad_image: str) -> None:
    if not _MIN_PIXELS <= size <= _MAX_PIXELS:
        raise DataError(
            f"images of {size} x {size} pixels cannot be made; the side must be {_MIN_PIXELS} to {_MAX_PIXELS}",
            "choose a size in that range, such as 96",
        )
    if on_bad_image not in ON_BAD_IMAGE:
        raise DataError(f"{on_bad_image!r} is no answer to a bad image", f"choose {' or '.join(ON_BAD_IMAGE)}")


def _roots(path: Path) -> list[Path]:
    """Return the folder, or its train and test."""
    if not path.is_dir():
        what = "is no folder" if path.exists() else "does not exist"
        raise DataError(f"the data folder {path} {what}", "name a folder with one sub-folder of images per class")
    names = {entry.name for entry in _entries(path) if _is_class(entry)}
    if len(names) < 2 or not names <= {*_PARTS, *_OTHER_PARTS}:
        return [path]
    if names == set(_PARTS):
        return [path / part for part in _PARTS]
    raise DataError(
        f"the data folder {path} has the parts {', '.join(sorted(names))}, not train and test",
        "keep exactly train and test: the validation part is drawn from train",
    )


def _scan(root: Path, path: Path) -> _Scan:
    """Look through a folder of classes that lies in `path`, without opening a file."""
    scan = _Scan(root=root)
    _check_inside(root, path)
    for entry in _entries(root):
        if not _is_class(entry):
            scan.ignored.append(entry)
            continue
        _check_inside(entry, path)
        inside = _entries(entry)
        scan.classes[entry.name] = [file for file in inside if _is_image(file)]
        scan.ignored.extend(file for file in inside if not _is_image(file))
    return scan


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be read: {error.strerror or error}", "check the folder and who may read it"
        ) from error


def _is_class(entry: Path) -> bool:
    return not entry.name.startswith(".") and entry.is_dir()


def _is_image(entry: Path) -> bool:
    return not entry.name.startswith(".") and entry.suffix.lower() in SUFFIXES and not entry.is_dir()


def _is_inside(entry: Path, path: Path) -> bool:
    """Tell whether a link, if it is one, leads to something within the folder."""
    try:
        return not entry.is_symlink() or entry.resolve(strict=True).is_relative_to(path.resolve())
    except (OSError, RuntimeError):  # leads nowhere, or in a circle
        return False


def _check_inside(entry: Path, path: Path) -> None:
    if entry != path and not _is_inside(entry, path):
        raise DataError(
            f"the folder {printable(str(entry))} is a link that leaves {path}", "move its images into the folder"
        )


def _check_classes(path: Path, scans: list[_Scan]) -> None:
    for scan in scans:
        if not scan.classes:
            raise DataError(
                f"the data folder {scan.root} has no sub-folder", "make one sub-folder of images for each class"
            )
        for name, files in scan.classes.items():
            if not name.isprintable():
                raise DataError(f"the class {printable(name)!r} in {scan.root} has no printable name", "rename it")
            if not files:
                raise DataError(
                    f"the class {name} in {scan.root} is empty: no file directly in it has an image's suffix",
                    f"put images in it ({', '.join(sorted(SUFFIXES))}), or remove it",
                )
    names = [set(scan.classes) for scan in scans]
    apart = sorted(names[0] ^ names[-1])
    if apart:
        raise DataError(
            f"train and test in {path} differ in the classes {_first(apart)}", "give both the same sub-folders"
        )


def _check_amount(path: Path, size: int, count: int) -> None:
    rgb_bytes = count * size * size * 3
    if rgb_bytes > _MAX_RGB_BYTES:
        raise DataError(
            f"the {count} images in {path} would take {rgb_bytes} bytes as RGB of {size} x {size}, "
            f"over the limit of {_MAX_RGB_BYTES}",
            "choose a smaller size, or use fewer images",
        )


def _read_classes(reader: _Reader, scan: _Scan) -> Dataset:
    count = sum(map(len, scan.classes.values()))
    images = np.empty((count, reader.size, reader.size, 3), np.uint8)
    labels: list[int] = []
    for label, (name, files) in enumerate(scan.classes.items()):
        before = len(labels)
        for file in files:
            picture = reader.read(file)
            if picture is not None:
                images[len(labels)] = picture.pixels
                labels.append(label)
        if len(labels) == before:
            first = reader.odd[_SKIPPED][-len(files)]
            raise DataError(
                f"no image of the class {name} in {scan.root} can be read; the first is {first}",
                "mend its images, or remove the class",
            )
    return Dataset(
        name=printable(reader.path.resolve().name) or "folder",
        images=images[: len(labels)],
        labels=np.array(labels, np.int64),
        class_names=tuple(scan.classes),
    )
