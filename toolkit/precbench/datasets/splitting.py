"""Draw the train, validation and test parts of a data set: stratified, disjoint, repeatable."""

import math

import numpy as np
from numpy.typing import NDArray

from precbench.datasets.dataset import Dataset, Splits
from precbench.errors import DataError, MissingDependencyError


def split(dataset: Dataset, *, seed: int, fractions: tuple[float, float, float]) -> Splits:
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
    labels = _check(dataset, seed, fractions)
    try:
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise MissingDependencyError(
            "splitting needs scikit-learn, which is not installed", "pip install 'precbench[keras]'"
        ) from error
    everything = np.arange(len(dataset))
    share = fractions[1] / (fractions[0] + fractions[1])
    try:
        rest, test = train_test_split(everything, test_size=fractions[2], stratify=labels, random_state=seed)
        train, validation = train_test_split(rest, test_size=share, stratify=labels[rest], random_state=seed)
    except ValueError as error:
        raise DataError(
            f"{dataset.name} cannot be split into {fractions}: {error}",
            "use more images per class, or larger fractions",
        ) from error
    return Splits(train=dataset.take(train), validation=dataset.take(validation), test=dataset.take(test), seed=seed)


def _check(dataset: Dataset, seed: int, fractions: tuple[float, float, float]) -> NDArray[np.int64]:
    if (
        len(fractions) != 3
        or not all(0 < fraction < 1 for fraction in fractions)
        or not math.isclose(sum(fractions), 1.0, abs_tol=1e-9)
    ):
        raise DataError(
            f"the fractions {fractions} of train, validation and test are not three shares of 1",
            "give three numbers over 0 that add up to 1, such as 0.6, 0.2, 0.2",
        )
    if not 0 <= seed < 2**32:
        raise DataError(f"the seed {seed} is outside 0 to {2**32 - 1}", "choose a seed in that range")
    if dataset.labels is None:
        raise DataError(f"{dataset.name} has no labels to split by", "give a data set with labels")
    return dataset.labels
