import gzip
import hashlib
import os
import pickle
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from precbench.datasets import cifar10
from precbench.datasets.cifar10 import cifar10_digest, read_cifar10
from precbench.datasets.dataset import TrainAndTest
from precbench.errors import DataError
from precbench.progress import SILENT

_TRAIN = [f"data_batch_{number}" for number in range(1, 6)]
_PER_BATCH = 20


def _quiet(path: Path) -> TrainAndTest:
    return read_cifar10(path, note=SILENT.note)


def _notes(path: Path) -> list[str]:
    lines: list[str] = []
    read_cifar10(path, note=lines.append)
    return lines


def _rewrite(folder: Path, name: str, **values: Any) -> None:
    """Write a file again with other values; None leaves a key out."""
    held = pickle.loads((folder / name).read_bytes())
    held |= {key.encode(): value for key, value in values.items()}
    (folder / name).write_bytes(pickle.dumps({key: value for key, value in held.items() if value is not None}, 4))


def test_the_training_images_come_back_in_their_order_with_channels_last(cifar10_folder: Path) -> None:
    parts = _quiet(cifar10_folder)
    train, test = parts.train, parts.test
    assert train.images.shape == (100, 32, 32, 3)
    assert test.images.shape == (20, 32, 32, 3)
    assert train.images[:, 5, 7, 0].tolist() == [batch for batch in range(5) for _ in range(_PER_BATCH)]
    assert train.images[:, 5, 7, 1].tolist() == 5 * list(range(_PER_BATCH))
    assert set(train.images[:, 5, 7, 2]) == {5}
    assert set(test.images[..., 0].ravel()) == {5}
    assert train.labels is not None
    assert train.labels.tolist() == [(index + batch) % 10 for batch in range(5) for index in range(_PER_BATCH)]
    assert test.class_names == train.class_names == cifar10._CLASSES


def test_the_folder_the_folder_around_it_and_the_archive_are_the_same(
    cifar10_folder: Path, cifar10_archive: Path
) -> None:
    plain = cifar10_archive.parent.parent / "plain.tar"
    plain.write_bytes(gzip.decompress(cifar10_archive.read_bytes()))
    places = [cifar10_folder, cifar10_folder.parent, cifar10_archive, cifar10_archive.parent, plain]
    digests = {cifar10_digest(place) for place in places}
    assert len(digests) == 1
    first = _quiet(cifar10_folder)
    for place in places[1:]:
        found = _quiet(place)
        assert np.array_equal(found.train.images, first.train.images)
        assert np.array_equal(found.test.labels, first.test.labels)


def test_batches_as_python_2_wrote_them_are_read(
    cifar10_folder: Path, authors_batch: Callable[[np.ndarray, list[int]], bytes]
) -> None:
    expected = _quiet(cifar10_folder)
    for name in [*_TRAIN, "test_batch"]:
        held = pickle.loads((cifar10_folder / name).read_bytes())
        (cifar10_folder / name).write_bytes(authors_batch(held[b"data"], held[b"labels"]))
    found = _quiet(cifar10_folder)
    assert np.array_equal(found.train.images, expected.train.images)
    assert np.array_equal(found.train.labels, expected.train.labels)


def test_every_file_that_is_not_as_published_is_named_in_one_note(cifar10_folder: Path) -> None:
    (line,) = _notes(cifar10_folder)
    for name in [*_TRAIN, "test_batch", "batches.meta"]:
        assert name in line
    assert line.endswith("are not the published ones: what they hold may differ from CIFAR-10")


def test_the_published_names_have_the_published_digest(authors_meta: bytes) -> None:
    assert hashlib.md5(authors_meta).hexdigest() == cifar10._MD5["batches.meta"]
    meta = cifar10._read_meta(authors_meta, "batches.meta")
    assert meta == cifar10._Meta(images_per_batch=10_000, class_names=cifar10._CLASSES)


def test_files_with_the_published_digests_are_not_remarked_upon(
    cifar10_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_published = {name: hashlib.md5((cifar10_folder / name).read_bytes()).hexdigest() for name in cifar10._MD5}
    monkeypatch.setattr(cifar10, "_MD5", as_published)
    assert _notes(cifar10_folder) == []
    _rewrite(cifar10_folder, "data_batch_3", batch_label=b"other")
    (line,) = _notes(cifar10_folder)
    assert line.startswith("the MD5 digests of data_batch_3 in")


def test_another_archive_is_noted_before_its_files(cifar10_archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = _notes(cifar10_archive)
    assert "is not the published archive" in first
    assert "data_batch_1" in second
    monkeypatch.setattr(cifar10, "_ARCHIVE_MD5", hashlib.md5(cifar10_archive.read_bytes()).hexdigest())
    assert _notes(cifar10_archive) == [second]


def test_without_the_names_the_published_ones_are_used_and_that_is_noted(cifar10_folder: Path) -> None:
    (cifar10_folder / "batches.meta").unlink()
    assert _quiet(cifar10_folder).test.class_names == cifar10._CLASSES
    assert _notes(cifar10_folder)[-1].endswith("has no batches.meta: the published class names were used")


def test_other_names_are_used_as_they_are(cifar10_folder: Path) -> None:
    _rewrite(cifar10_folder, "batches.meta", label_names=[f"class {index}".encode() for index in range(10)])
    assert _quiet(cifar10_folder).train.class_names[9] == "class 9"


@pytest.mark.parametrize("missing", [["test_batch"], ["data_batch_2", "data_batch_4"]])
def test_missing_batches_are_named(cifar10_folder: Path, missing: list[str]) -> None:
    for name in missing:
        (cifar10_folder / name).unlink()
    with pytest.raises(DataError, match=f"lacks {', '.join(missing)}") as caught:
        _quiet(cifar10_folder.parent)
    assert "cifar-10-python.tar.gz" in caught.value.remedy
    with pytest.raises(DataError, match="lacks"):
        cifar10_digest(cifar10_folder)


def test_the_digest_changes_with_any_file(cifar10_folder: Path) -> None:
    before = cifar10_digest(cifar10_folder)
    (cifar10_folder / "readme.html").write_text("hello")
    assert cifar10_digest(cifar10_folder) == before
    _rewrite(cifar10_folder, "batches.meta", label_names=[b"x"] * 10)
    assert cifar10_digest(cifar10_folder) != before


def test_the_same_archive_packed_in_another_order_reads_the_same(cifar10_folder: Path, tmp_path: Path) -> None:
    names = [
        "data_batch_4",
        "test_batch",
        "data_batch_3",
        "batches.meta",
        "data_batch_2",
        "data_batch_5",
        "data_batch_1",
    ]
    (tmp_path / "readme.html").write_text("hello")
    with tarfile.open(tmp_path / "order.tar", "w") as archive:
        archive.add(tmp_path / "readme.html", "cifar-10-batches-py/readme.html")
        for name in names:
            archive.add(cifar10_folder / name, f"cifar-10-batches-py/{name}")
    assert np.array_equal(_quiet(tmp_path / "order.tar").train.images, _quiet(cifar10_folder).train.images)


def test_a_place_that_holds_nothing_of_the_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds neither cifar-10-batches-py nor cifar-10-python\.tar\.gz"):
        _quiet(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for name in ("no", "pipe"):
        with pytest.raises(DataError, match="is neither a folder nor a file") as caught:
            _quiet(tmp_path / name)
        assert "cifar-10-batches-py" in caught.value.remedy


def test_labels_and_images_of_different_lengths_are_refused(cifar10_folder: Path) -> None:
    _rewrite(cifar10_folder, "data_batch_2", labels=[1] * 19)
    with pytest.raises(DataError, match=r"data_batch_2 in .* has 19 labels for 20 images"):
        _quiet(cifar10_folder)


@pytest.mark.parametrize("labels", [None, {}, b"1234"])
def test_labels_of_another_kind_are_refused(cifar10_folder: Path, labels: Any) -> None:
    _rewrite(cifar10_folder, "data_batch_2", labels=labels)
    with pytest.raises(DataError, match="has no labels for 20 images"):
        _quiet(cifar10_folder)


@pytest.mark.parametrize(
    ("label", "shown"), [(10, "10"), (-1, "-1"), (True, "True"), ("a", "'a'"), (None, "None"), ([[]], "list")]
)
def test_labels_outside_the_classes_are_refused(cifar10_folder: Path, label: Any, shown: str) -> None:
    _rewrite(cifar10_folder, "test_batch", labels=[0] * 7 + [label] + [0] * 12)
    with pytest.raises(DataError, match=f"label 7 of test_batch in .* is {shown}, not 0 to 9"):
        _quiet(cifar10_folder)


def test_a_batch_of_another_length_is_refused(cifar10_folder: Path) -> None:
    _rewrite(cifar10_folder, "data_batch_5", labels=[1] * 10, data=np.zeros((10, 3072), np.uint8))
    with pytest.raises(DataError, match=r"data_batch_5 in .* has 10 images where batches\.meta says 20"):
        _quiet(cifar10_folder)
    (cifar10_folder / "batches.meta").unlink()
    with pytest.raises(DataError, match="has 10 images where data_batch_1 has 20"):
        _quiet(cifar10_folder)


@pytest.mark.parametrize("shape", [(20, 3071), (20, 3, 32, 32), (0, 3072), (61440,)])
def test_images_of_another_shape_are_refused(cifar10_folder: Path, shape: tuple[int, ...]) -> None:
    _rewrite(cifar10_folder, "data_batch_1", data=np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match=r"the images of data_batch_1 in .* are of shape .*, not \[n, 3072\]"):
        _quiet(cifar10_folder)


def test_a_batch_without_images_is_refused(cifar10_folder: Path) -> None:
    _rewrite(cifar10_folder, "data_batch_1", data=[1, 2])
    with pytest.raises(DataError, match="are missing"):
        _quiet(cifar10_folder)


@pytest.mark.parametrize(
    "names", [[b"a"] * 9, [b"a"] * 9 + [b""], [b"a"] * 9 + [b"\x1b[2J"], [1] * 10, None, b"abcdefghij"]
)
def test_class_names_that_are_not_ten_printable_names_are_refused(cifar10_folder: Path, names: Any) -> None:
    _rewrite(cifar10_folder, "batches.meta", label_names=names)
    with pytest.raises(DataError, match=r"label_names of batches\.meta in .* are not ten class names"):
        _quiet(cifar10_folder)


@pytest.mark.parametrize("count", [0, -1, None, b"20", True])
def test_a_batch_length_that_is_no_number_is_refused(cifar10_folder: Path, count: Any) -> None:
    _rewrite(cifar10_folder, "batches.meta", num_cases_per_batch=count)
    with pytest.raises(DataError, match="num_cases_per_batch of"):
        _quiet(cifar10_folder)


def test_a_hostile_batch_is_refused_by_its_name(cifar10_folder: Path) -> None:
    (cifar10_folder / "data_batch_3").write_bytes(b"cos\nsystem\n(U\x04truetR.")
    with pytest.raises(DataError, match=r"data_batch_3 in .* asks for os\.system"):
        _quiet(cifar10_folder)


def test_a_file_over_the_limit_is_refused(cifar10_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cifar10._LIMITS, "data_batch_4", 1000)
    with pytest.raises(DataError, match="data_batch_4 has more than 1000 bytes"):
        _quiet(cifar10_folder)


def test_a_batch_that_may_not_be_read_says_so(cifar10_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *args: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match="data_batch_1 cannot be read: Permission denied"):
        _quiet(cifar10_folder)


def test_an_archive_cut_short_is_refused(cifar10_archive: Path) -> None:
    whole = cifar10_archive.read_bytes()
    for share in (0.0, 0.3, 0.9):
        cifar10_archive.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz"):
            _quiet(cifar10_archive)


def test_nothing_is_written_while_an_archive_is_read(cifar10_archive: Path, cifar10_folder: Path) -> None:
    shutil.rmtree(cifar10_folder)
    before = sorted(cifar10_archive.parent.parent.rglob("*"))
    _quiet(cifar10_archive)
    assert sorted(cifar10_archive.parent.parent.rglob("*")) == before


def test_a_held_part_does_not_hold_the_batches(cifar10_folder: Path) -> None:
    parts = _quiet(cifar10_folder)
    assert parts.train.images.base is None
    assert parts.test.images.base is None
