import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from precbench.datasets import load_dataset, load_splits
from precbench.errors import DataError

_IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
_LABELS = np.array([0, 1, 2, 0, 1, 2])


def _save(folder: Path, **arrays: Any) -> str:
    path = folder / "birds.npz"
    np.savez(path, **arrays)
    return str(path)


def _with_header(folder: Path, name: str, header: dict[str, Any], body: bytes = b"") -> str:
    """Write a member whose header claims what the body does not hold."""
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, header)  # type: ignore[arg-type]
    path = folder / "birds.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.npy", member.getvalue() + body)
        if name != "images":
            whole = io.BytesIO()
            np.save(whole, _IMAGES)
            archive.writestr("images.npy", whole.getvalue())
    return str(path)


def test_images_labels_and_names_come_back_as_saved(tmp_path: Path) -> None:
    found = load_dataset(
        _save(tmp_path, images=_IMAGES, labels=_LABELS.astype(np.uint8), class_names=np.array(["wren", "owl", "kite"]))
    )
    assert found.name == "birds"
    assert np.array_equal(found.images, _IMAGES)
    assert found.labels is not None
    assert found.labels.dtype == np.int64
    assert found.labels.tolist() == _LABELS.tolist()
    assert found.class_names == ("wren", "owl", "kite")


def test_a_compressed_archive_reads_the_same(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "c.npz", images=_IMAGES)
    assert np.array_equal(load_dataset(f"npz:{tmp_path / 'c.npz'}").images, _IMAGES)


def test_the_prefix_takes_a_path_of_any_name(tmp_path: Path) -> None:
    renamed = Path(_save(tmp_path, images=_IMAGES)).rename(tmp_path / "birds.data")
    assert len(load_dataset(f"npz:{renamed}")) == 6


def test_without_labels_there_are_no_classes(tmp_path: Path) -> None:
    found = load_dataset(_save(tmp_path, images=_IMAGES))
    assert found.labels is None
    assert found.class_names == ()


def test_without_names_the_classes_are_numbered_up_to_the_largest_label(tmp_path: Path) -> None:
    assert load_dataset(_save(tmp_path, images=_IMAGES, labels=_LABELS)).class_names == ("0", "1", "2")


@pytest.mark.parametrize("grey", [_IMAGES[..., 0], _IMAGES[..., :1]])
def test_grey_images_become_rgb(tmp_path: Path, grey: np.ndarray) -> None:
    found = load_dataset(_save(tmp_path, images=grey))
    assert found.images.shape == (6, 4, 5, 3)
    assert np.array_equal(found.images[..., 2], _IMAGES[..., 0])


def test_an_archive_can_be_split(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    path = _save(tmp_path, images=np.repeat(_IMAGES, 10, axis=0), labels=np.repeat(_LABELS, 10))
    assert [len(part) for _, part in load_splits(path)] == [36, 12, 12]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.npz does not exist") as caught:
        load_dataset(str(tmp_path / "no.npz"))
    assert "name an .npz file" in caught.value.remedy


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a directory"):
        load_dataset(f"npz:{tmp_path}")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npz is no readable \.npz file") as caught:
        load_dataset(str(tmp_path / "x.npz"))
    assert "numpy.savez" in caught.value.remedy


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = Path(_save(tmp_path, images=_IMAGES, labels=_LABELS)).read_bytes()
    cut = tmp_path / "cut.npz"
    for length in range(0, len(whole), 97):
        cut.write_bytes(whole[:length])
        with pytest.raises(DataError, match="is no readable"):
            load_dataset(str(cut))


def test_a_flipped_byte_in_the_images_is_found_by_the_checksum(tmp_path: Path) -> None:
    path = Path(_save(tmp_path, images=_IMAGES))
    content = bytearray(path.read_bytes())
    content[300] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="is no readable"):
        load_dataset(str(path))


def test_a_flipped_byte_in_compressed_images_is_found(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    np.savez_compressed(path, images=np.zeros((64, 32, 32, 3), np.uint8))
    content = bytearray(path.read_bytes())
    content[90] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="is no readable"):
        load_dataset(str(path))


def test_an_archive_without_images_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no array named images; it holds labels, x"):
        load_dataset(_save(tmp_path, x=_IMAGES, labels=_LABELS))


def test_an_empty_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it holds nothing"):
        load_dataset(_save(tmp_path))


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images in .* holds Python objects"):
        load_dataset(_save(tmp_path, images=np.array([{}, []], dtype=object)))


def test_preprocessed_values_are_sent_to_the_models_own_input_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="are float32, not uint8") as caught:
        load_dataset(_save(tmp_path, images=_IMAGES.astype(np.float32)))
    assert "name of the model's input" in caught.value.remedy


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 5, 4), (1, 6, 4, 5, 3)])
def test_images_of_another_shape_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="have the shape"):
        load_dataset(_save(tmp_path, images=np.zeros(shape, np.uint8)))


def test_an_archive_of_no_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no image"):
        load_dataset(_save(tmp_path, images=_IMAGES[:0]))


def test_an_absurd_size_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**4, 10**4, 3)}
    with pytest.raises(DataError, match="would take 300000000000000 bytes as RGB, over the limit"):
        load_dataset(_with_header(tmp_path, "images", header))


def test_a_size_that_the_file_does_not_hold_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**4, 300, 300, 3)}
    with pytest.raises(DataError, match=r"where its shape .* needs"):
        load_dataset(_with_header(tmp_path, "images", header, b"few"))


def test_an_unknown_version_of_the_array_format_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "v.npz", "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x09\x00")
    with pytest.raises(DataError, match=r"format version 9\.0"):
        load_dataset(str(tmp_path / "v.npz"))


@pytest.mark.parametrize("labels", [_LABELS.astype(np.float32), _LABELS[:, None], _LABELS.astype(str)])
def test_labels_that_are_no_whole_numbers_are_refused(tmp_path: Path, labels: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"the labels in .* are"):
        load_dataset(_save(tmp_path, images=_IMAGES, labels=labels))


def test_labels_of_another_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="birds has 5 labels for 6 images"):
        load_dataset(_save(tmp_path, images=_IMAGES, labels=_LABELS[:5]))


def test_a_label_without_a_class_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="outside its 2 classes, the first 2"):
        load_dataset(_save(tmp_path, images=_IMAGES, labels=_LABELS, class_names=np.array(["a", "b"])))


def test_a_negative_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="outside its 2 classes, the first -1"):
        load_dataset(_save(tmp_path, images=_IMAGES, labels=_LABELS - 1))


def test_an_absurd_label_does_not_name_millions_of_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the largest label in .* is 1000000000"):
        load_dataset(_save(tmp_path, images=_IMAGES, labels=np.full(6, 10**9)))


@pytest.mark.parametrize("names", [np.array([1, 2, 3]), np.array([["a"]]), np.array([], dtype="U1")])
def test_class_names_that_are_no_text_are_refused(tmp_path: Path, names: np.ndarray) -> None:
    with pytest.raises(DataError, match="the class_names in"):
        load_dataset(_save(tmp_path, images=_IMAGES, labels=_LABELS, class_names=names))
