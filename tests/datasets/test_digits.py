import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precbench.datasets import Dataset, load_dataset, load_splits
from precbench.datasets.splitting import split
from precbench.errors import DataError, MissingDependencyError

_CLASSES = tuple("0123456789")


@pytest.fixture(autouse=True, scope="module")
def _scikit_learn() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")


def _labels(dataset: Dataset) -> np.ndarray:
    assert dataset.labels is not None
    return dataset.labels


def test_the_digits_are_1797_rgb_images_of_ten_classes() -> None:
    digits = load_dataset("digits", split="all")
    assert digits.images.shape == (1797, 32, 32, 3)
    assert digits.class_names == _CLASSES
    assert _labels(digits)[:10].tolist() == list(range(10))
    assert np.array_equal(digits.images[..., 0], digits.images[..., 2])


def test_at_their_own_size_the_digits_are_scikit_learns_levels_in_bytes() -> None:
    from sklearn import datasets

    expected = np.rint(datasets.load_digits().images * 255 / 16)
    assert np.array_equal(load_dataset("digits", split="all", size=8).images[..., 1], expected)


def test_an_enlarged_digit_keeps_its_mean_and_its_range() -> None:
    small, large = (load_dataset("digits", split="all", size=size).images[..., 0].astype(float) for size in (8, 32))
    assert large.max() == 255
    assert large.min() == 0
    assert np.abs(small.mean(axis=(1, 2)) - large.mean(axis=(1, 2))).max() < 4


def test_the_default_split_is_60_20_20_and_stratified() -> None:
    splits = load_splits("digits", seed=0)
    assert [len(part) for _, part in splits] == [1077, 360, 360]
    for _, part in splits:
        shares = np.bincount(_labels(part), minlength=10) / len(part)
        whole = np.bincount(_labels(load_dataset("digits", split="all"))) / 1797
        assert np.abs(shares - whole).max() < 0.003


def test_one_split_is_the_same_part_that_load_splits_gives() -> None:
    splits = load_splits("digits", size=16, seed=5)
    for name, part in splits:
        alone = load_dataset("digits", split=name, size=16, seed=5)
        assert np.array_equal(alone.images, part.images)
        assert np.array_equal(_labels(alone), _labels(part))


def test_the_test_split_is_what_is_given_unless_asked_otherwise() -> None:
    assert np.array_equal(load_dataset("digits", seed=1).images, load_splits("digits", seed=1).test.images)


def test_another_seed_draws_another_split() -> None:
    first, second = (load_dataset("digits", seed=seed, size=8).images for seed in (0, 1))
    assert not np.array_equal(first, second)


def _numbered(count: int, classes: int) -> Dataset:
    """Return images that say their own number in two bytes."""
    images = np.zeros((count, 1, 2, 3), np.uint8)
    images[:, 0, 0] = (np.arange(count) % 256)[:, None]
    images[:, 0, 1] = (np.arange(count) // 256)[:, None]
    return Dataset(
        name="numbered",
        images=images,
        labels=np.arange(count) % classes,
        class_names=tuple(str(index) for index in range(classes)),
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(60, 400), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_the_parts_are_disjoint_complete_and_repeatable(count: int, classes: int, seed: int) -> None:
    whole = _numbered(count, classes)
    first, again = (split(whole, seed=seed, fractions=(0.5, 0.25, 0.25)) for _ in range(2))
    numbers = [part.images[:, 0, 0, 0] + 256 * part.images[:, 0, 1, 0].astype(int) for _, part in first]
    assert sorted(np.concatenate(numbers).tolist()) == list(range(count))
    for (_, part), (_, same) in zip(first, again, strict=True):
        assert np.array_equal(part.images, same.images)
    for part_numbers, (_, part) in zip(numbers, first, strict=True):
        assert np.array_equal(_labels(part), part_numbers % classes)


@pytest.mark.parametrize("fractions", [(0.6, 0.4, 0.0), (0.5, 0.3, 0.3), (1.2, -0.1, -0.1), (0.5, 0.5)])
def test_fractions_that_are_no_three_shares_are_refused(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(DataError, match="are not three shares of 1") as caught:
        load_splits("digits", fractions=fractions)
    assert "0.6, 0.2, 0.2" in caught.value.remedy


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_scikit_learn_does_not_take_is_refused(seed: int) -> None:
    with pytest.raises(DataError, match=f"the seed {seed} is outside 0 to 4294967295"):
        load_splits("digits", seed=seed)


def test_too_few_images_to_stratify_are_refused() -> None:
    with pytest.raises(DataError, match="numbered cannot be split into") as caught:
        split(_numbered(6, 5), seed=0, fractions=(0.6, 0.2, 0.2))
    assert "more images per class" in caught.value.remedy


def test_images_without_labels_cannot_be_split() -> None:
    with pytest.raises(DataError, match="has no labels to split by"):
        split(Dataset(name="d", images=np.zeros((9, 1, 1, 3), np.uint8)), seed=0, fractions=(0.6, 0.2, 0.2))


@pytest.mark.parametrize("size", [7, 513])
def test_a_size_outside_the_limits_is_refused(size: int) -> None:
    with pytest.raises(DataError, match=f"digits of {size} x {size} pixels cannot be made"):
        load_dataset("digits", size=size)


def test_an_unknown_split_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DataError, match="the split 'tests' is unknown\nthe nearest is test") as caught:
        load_dataset("digits", split="tests")
    assert caught.value.remedy.endswith("choose train, validation, test or all")


def test_an_unknown_data_set_is_refused_with_the_nearest() -> None:
    with pytest.raises(DataError, match="the data set 'digit' is unknown\nthe nearest is digits") as caught:
        load_splits("digit")
    assert caught.value.remedy.endswith("choose one of digits, cifar10, folder:PATH, npz:PATH")


def test_a_word_like_no_data_set_is_refused_without_a_guess() -> None:
    with pytest.raises(DataError) as caught:
        load_dataset("photographs")
    assert caught.value.problem == "the data set 'photographs' is unknown"


def test_without_scikit_learn_the_remedy_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingDependencyError, match="digits need scikit-learn") as caught:
        load_dataset("digits")
    assert caught.value.remedy == "pip install 'precbench[keras]'"


def test_without_scikit_learn_splitting_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.model_selection", None)
    with pytest.raises(MissingDependencyError, match="splitting needs scikit-learn"):
        split(_numbered(30, 3), seed=0, fractions=(0.6, 0.2, 0.2))
