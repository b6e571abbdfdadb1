"""Draw the train, validation and test parts of a data set: stratified, disjoint, repeatable."""

import math

import numpy as np
from numpy.typing import NDArray

from precbench.datasets.dataset import Dataset, Splits, TrainAndTest
from precbench.errors import DataError, MissingDependencyError

_WHOLE = ("train", "validation", "test")
_TRAINING = ("train", "validation")


def split(dataset: Dataset, *, seed: int, fractions: tuple[float, ...]) -> Splits:
    """Draw three disjoint parts that together are the data set, each with the class shares of the whole.

    The law: the same seed, fractions and labels give the same parts; no image is in two of them.

    Args:
        dataset: with labels; every class has at least 3 images.
        seed: 0 to 2^32 - 1.
        fractions: of train, validation and test; each over 0, together 1.

    Raises:
        DataError: an argument is outside its limits, or the images are too few to split so.
        MissingDependencyError: scikit-learn is not installed.

    Source: scikit-learn's `train_test_split`, twice.
    """
    check_draw(seed, fractions, own_test=False)
    labels = _labels(dataset)
    share = fractions[1] / (fractions[0] + fractions[1])
    try:
        rest, test = _draw(np.arange(len(dataset)), labels, share=fractions[2], seed=seed)
        train, validation = _draw(rest, labels, share=share, seed=seed)
    except ValueError as error:
        raise _too_few(dataset.name, fractions, error) from error
    return Splits(train=dataset.take(train), validation=dataset.take(validation), test=dataset.take(test), seed=seed)


def split_training(parts: TrainAndTest, *, seed: int, fractions: tuple[float, ...]) -> Splits:
    """Draw the validation part from the training part; the test part is the source's own, as it is.

    The law: the same seed, fractions and labels give the same parts; train and validation are disjoint and together
    the source's training part.

    Args:
        parts: with labels; every class has at least 2 images to train on.
        seed: 0 to 2^32 - 1.
        fractions: of train and validation; each over 0, together 1.

    Raises:
        DataError: an argument is outside its limits, or the images are too few to split so.
        MissingDependencyError: scikit-learn is not installed.

    Source: scikit-learn's `train_test_split`.
    """
    check_draw(seed, fractions, own_test=True)
    whole = parts.train
    labels = _labels(whole)
    try:
        train, validation = _draw(np.arange(len(whole)), labels, share=fractions[1], seed=seed)
    except ValueError as error:
        raise _too_few(whole.name, fractions, error) from error
    return Splits(train=whole.take(train), validation=whole.take(validation), test=parts.test, seed=seed)


def check_draw(seed: int, fractions: tuple[float, ...], *, own_test: bool) -> None:
    """Refuse a seed or fractions that cannot draw the parts of a source with or without a test part of its own.

    Raises:
        DataError: the fractions are not two (with a test part of its own) or three numbers over 0 that add up to 1;
            the seed is outside 0 to 2^32 - 1.
    """
    names = _TRAINING if own_test else _WHOLE
    if (
        len(fractions) != len(names)
        or not all(0 < fraction < 1 for fraction in fractions)
        or not math.isclose(sum(fractions), 1.0, abs_tol=1e-9)
    ):
        raise DataError(*_wrong(fractions, own_test=own_test))
    if not 0 <= seed < 2**32:
        raise DataError(f"the seed {seed} is outside 0 to {2**32 - 1}", "choose a seed in that range")


def _wrong(fractions: tuple[float, ...], *, own_test: bool) -> tuple[str, str]:
    if own_test:
        return (
            f"the fractions {fractions} of train and validation are not two shares of 1",
            "the data set brings its own test part: give two numbers over 0 that add up to 1, such as 0.8, 0.2",
        )
    remedy = "give three numbers over 0 that add up to 1, such as 0.6, 0.2, 0.2"
    own = "; two are for data with a test part of its own" if len(fractions) == len(_TRAINING) else ""
    return f"the fractions {fractions} of train, validation and test are not three shares of 1", remedy + own


def _labels(dataset: Dataset) -> NDArray[np.int64]:
    if dataset.labels is None:
        raise DataError(f"{dataset.name} has no labels to split by", "give a data set with labels")
    return dataset.labels


def _too_few(name: str, fractions: tuple[float, ...], error: ValueError) -> DataError:
    return DataError(
        f"{name} cannot be split into {fractions}: {error}", "use more images per class, or larger fractions"
    )


def _draw(
    indices: NDArray[np.intp], labels: NDArray[np.int64], *, share: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices without and with a share of them, drawn class by class; ValueError: there are too few."""
    try:
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise MissingDependencyError(
            "splitting needs scikit-learn, which is not installed", "pip install 'precbench[keras]'"
        ) from error
    kept, drawn = train_test_split(indices, test_size=share, stratify=labels[indices], random_state=seed)
    return kept, drawn
