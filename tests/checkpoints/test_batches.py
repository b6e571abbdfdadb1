import numpy as np
import pytest

from precbench.checkpoints.batches import batch_size, labels_of, training_batches
from precbench.checkpoints.training_settings import Training
from precbench.datasets import Dataset, Preprocessing
from precbench.errors import DataError

_PLAIN = Preprocessing(size=(4, 4))
_PART = Dataset(
    name="numbered",
    images=np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8),
    labels=np.arange(10) % 3,
    class_names=("a", "b", "c"),
)
_STILL = Training(batch_size=4, shift_pixels=0)


def _numbers(part: Dataset, training: Training, seed: int = 0) -> list[list[int]]:
    batches = training_batches(part, training, _PLAIN, np.random.default_rng(seed))
    return [inputs[:, 0, 0, 0].astype(int).tolist() for inputs, _ in batches]


def test_an_epoch_is_whole_batches_of_images_in_random_order_each_at_most_once() -> None:
    batches = _numbers(_PART, _STILL)
    assert [len(batch) for batch in batches] == [4, 4]
    drawn = [number for batch in batches for number in batch]
    assert len(set(drawn)) == 8
    assert drawn != sorted(drawn)


def test_each_image_keeps_its_label() -> None:
    for inputs, labels in training_batches(_PART, _STILL, _PLAIN, np.random.default_rng(0)):
        assert np.array_equal(inputs[:, 0, 0, 0] % 3, labels)


def test_the_next_epoch_has_another_order() -> None:
    rng = np.random.default_rng(0)
    one, two = ([x[:, 0, 0, 0].tolist() for x, _ in training_batches(_PART, _STILL, _PLAIN, rng)] for _ in range(2))
    assert one != two


def test_what_is_switched_off_draws_no_random_numbers() -> None:
    rng, twin = np.random.default_rng(0), np.random.default_rng(0)
    list(training_batches(_PART, _STILL, _PLAIN, rng))
    twin.permutation(10)
    assert rng.bit_generator.state == twin.bit_generator.state


def test_every_change_reaches_the_network() -> None:
    images = np.random.default_rng(0).integers(1, 100, (64, 8, 8, 3), dtype=np.uint8)
    part = Dataset(name="noise", images=images, labels=np.zeros(64, np.int64), class_names=("a", "b"))
    training = Training(batch_size=64, shift_pixels=1, flip=True, erase_pixels=3)
    rng = np.random.default_rng(0)
    ((inputs, _),) = training_batches(part, training, Preprocessing(size=(8, 8)), rng)
    shown = {image.tobytes() for image in inputs.astype(np.uint8)}
    assert not shown & {image.tobytes() for image in images}
    assert (inputs == 128).any()
    assert (inputs == 0).any()


def test_labels_are_smoothed_evenly_over_the_classes() -> None:
    training = Training(batch_size=10, shift_pixels=0, label_smoothing=0.3)
    ((inputs, targets),) = training_batches(_PART, training, _PLAIN, np.random.default_rng(0))
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    right = (inputs[:, 0, 0, 0] % 3).astype(int)
    np.testing.assert_allclose(targets[np.arange(10), right], 0.8, atol=1e-6)
    np.testing.assert_allclose(np.sort(targets, axis=1)[:, :2], 0.1, atol=1e-6)


def test_a_batch_is_at_most_the_whole_part() -> None:
    assert batch_size(_PART, Training(batch_size=4)) == 4
    assert batch_size(_PART, Training(batch_size=100)) == 10


def test_a_part_without_labels_is_refused() -> None:
    bare = Dataset(name="bare", images=_PART.images)
    with pytest.raises(DataError, match="bare has no labels to train on") as caught:
        labels_of(bare)
    assert caught.value.remedy == "give a data set with labels"
