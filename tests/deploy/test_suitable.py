"""Samples that nothing can be calibrated on are refused, each with its value and a remedy."""

import numpy as np
import pytest

from precbench.datasets import Preprocessing
from precbench.deploy.suitable import check_samples
from precbench.errors import DataError

from .conftest import images


def test_ordinary_samples_pass() -> None:
    check_samples({"x": images(20), "mask": np.ones((20, 3), np.int64), "scalar": np.array(2.0)}, None)
    check_samples({"x": np.zeros((20, 4), np.float32)}, None)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    x = images(20)
    x[7, 0, 0, 0] = value
    with pytest.raises(DataError, match="1 of 20 samples of the input 'x' hold NaN or infinity, the first at 7"):
        check_samples({"x": x}, None)


def test_one_sample_far_from_all_others_is_refused() -> None:
    x = images(20)
    x[3] *= 1e30
    with pytest.raises(DataError, match="sample 3 of the input 'x' reaches"):
        check_samples({"x": x}, None)


def test_values_outside_what_the_preprocessing_gives_are_refused() -> None:
    tf = Preprocessing.for_mode("tf", 8)
    inside = np.random.default_rng(0).uniform(-1, 1, (20, 8, 8, 3)).astype(np.float32)
    check_samples({"x": inside}, tf)
    with pytest.raises(DataError, match="the preprocessing in the model's metadata gives -1 to 1") as refusal:
        check_samples({"x": (inside + 1) * 127.5}, tf)
    assert "uint8 images" in refusal.value.remedy
