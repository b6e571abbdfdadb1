import numpy as np
import pytest

from precbench.datasets import Dataset, Splits
from precbench.errors import DataError

_IMAGES = np.zeros((3, 4, 5, 3), np.uint8)


def test_a_data_set_has_as_many_entries_as_images() -> None:
    assert len(Dataset(name="three", images=_IMAGES)) == 3


def test_taking_keeps_each_image_with_its_label_in_the_order_asked_for() -> None:
    images = _IMAGES + np.arange(3, dtype=np.uint8)[:, None, None, None]
    taken = Dataset(name="d", images=images, labels=np.array([0, 1, 0]), class_names=("a", "b")).take(np.array([2, 1]))
    assert taken.images[:, 0, 0, 0].tolist() == [2, 1]
    assert taken.labels is not None
    assert taken.labels.tolist() == [0, 1]
    assert taken.class_names == ("a", "b")


def test_taking_from_a_data_set_without_labels_gives_none() -> None:
    assert Dataset(name="d", images=_IMAGES).take(np.array([1])).labels is None


def test_splits_iterate_with_their_names_in_order() -> None:
    part = Dataset(name="d", images=_IMAGES)
    assert [name for name, _ in Splits(train=part, validation=part, test=part, seed=0)] == [
        "train",
        "validation",
        "test",
    ]


@pytest.mark.parametrize(
    "images", [_IMAGES.astype(np.float32), np.zeros((3, 4, 5), np.uint8), np.zeros((3, 4, 5, 4), np.uint8)]
)
def test_images_of_another_kind_are_refused(images: np.ndarray) -> None:
    with pytest.raises(DataError, match="the images of d are") as caught:
        Dataset(name="d", images=images)
    assert "uint8 images as [n, height, width, 3]" in caught.value.remedy


def test_a_data_set_without_images_is_refused() -> None:
    with pytest.raises(DataError, match="d holds no image"):
        Dataset(name="d", images=_IMAGES[:0])


def test_labels_of_another_length_are_refused() -> None:
    with pytest.raises(DataError, match="2 labels for 3 images"):
        Dataset(name="d", images=_IMAGES, labels=np.array([0, 1]), class_names=("a", "b"))


def test_labels_that_are_no_int64_vector_are_refused() -> None:
    with pytest.raises(DataError, match=r"labels of d are float64 of shape \(3,\)"):
        Dataset(name="d", images=_IMAGES, labels=np.zeros(3), class_names=("a",))  # type: ignore[arg-type]


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_outside_the_classes_is_refused_with_its_place(label: int) -> None:
    with pytest.raises(DataError, match=f"outside its 2 classes, the first {label} .image 1.") as caught:
        Dataset(name="d", images=_IMAGES, labels=np.array([0, label, 1]), class_names=("a", "b"))
    assert "from 0 to 1" in caught.value.remedy
