"""Outputs are compared each by its kind, and no comparison passes for want of numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from precbench.deploy.reference import agreement, read_reference
from precbench.errors import DataError
from precbench.runtime import TensorSpec

INPUTS = [TensorSpec(name="x", dtype=np.dtype(np.float32), shape=("n", 3))]


def floats(*rows: tuple[float, ...]) -> dict[str, NDArray[Any]]:
    return {"y": np.array(rows, np.float32)}


def test_equal_outputs_agree() -> None:
    found = agreement(floats((1, 2), (4, 3)), floats((1, 2), (4, 3)))
    assert (found.difference, found.same, found.same_top, found.same_finite) == (0, 1, 1, True)


def test_the_difference_is_over_the_largest_value() -> None:
    assert agreement(floats((1, 4)), floats((2, 4))).difference == 0.25


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_to_be_so_in_both(value: float) -> None:
    assert agreement(floats((value, 1)), floats((value, 1))).same_finite
    assert not agreement(floats((value, 1)), floats((5, 1))).same_finite
    assert not agreement(floats((5, 1)), floats((value, 1))).same_finite
    assert not agreement(floats((np.inf, 1)), floats((-np.inf, 1))).same_finite


def test_integers_count_by_how_many_are_equal() -> None:
    labels = np.array([900, 1, 2, 3])
    assert agreement({"y": labels}, {"y": labels - [150, 0, 0, 0]}).same == 0.75
    assert agreement({"y": labels}, {"y": labels - [150, 0, 0, 0]}).difference == 0
    assert agreement({"y": labels > 1}, {"y": labels > 0}).same == 0.75


def test_text_counts_by_how_much_is_equal() -> None:
    assert agreement({"y": np.array(["cat", "dog"])}, {"y": np.array(["cat", "cow"], object)}).same == 0.5


def test_every_output_of_scores_has_a_say_in_the_top_class() -> None:
    first, second = np.array([[1.0, 2], [2, 1]]), np.array([[1.0, 2], [2, 1]])
    found = agreement({"a": first, "b": second}, {"a": first, "b": second[:, ::-1]})
    assert found.same_top == 0


def test_outputs_without_samples_say_nothing() -> None:
    assert agreement({"y": np.zeros((0, 3), np.float32)}, {"y": np.zeros((0, 3), np.float32)}).same_top is None


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32)),
        (np.zeros((2, 3), np.float32), np.zeros((2, 3), np.int64)),
        (np.zeros((2, 3), np.complex64), np.zeros((2, 3), np.complex64)),
        (np.array(["a"]), np.zeros(1, np.float32)),
    ],
)
def test_what_cannot_be_compared_is_refused(expected: NDArray[Any], found: NDArray[Any]) -> None:
    with pytest.raises(DataError, match="the output 'y'"):
        agreement({"y": expected}, {"y": found})
    with pytest.raises(DataError, match="the output 'y'"):
        agreement({"y": expected}, {})


def save(path: Path, rows: int) -> Path:
    np.savez_compressed(path, **{"input/x": np.zeros((rows, 3), np.float32), "output/y": np.zeros(rows, np.float32)})
    return path


def test_a_reference_has_few_samples(tmp_path: Path) -> None:
    feeds, outputs = read_reference(save(tmp_path / "r.npz", 16), INPUTS)
    assert (feeds["x"].shape, outputs["y"].shape) == ((16, 3), (16,))
    with pytest.raises(DataError, match="holds 17 samples, a reference 16"):
        read_reference(save(tmp_path / "r.npz", 17), INPUTS)
    fixed = [TensorSpec(name="x", dtype=np.dtype(np.float32), shape=(64, 3))]
    assert len(read_reference(save(tmp_path / "r.npz", 64), fixed)[0]["x"]) == 64


def test_a_reference_that_unpacks_to_more_than_is_allowed_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("precbench.deploy.reference._MOST_BYTES", 1000)
    with pytest.raises(DataError, match="bytes unpacked, more than 1,000"):
        read_reference(save(tmp_path / "r.npz", 1000), INPUTS)


def test_a_reference_needs_inputs_and_outputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", **{"input/x": np.zeros((2, 3), np.float32)})
    with pytest.raises(DataError, match="no reference inputs and outputs"):
        read_reference(tmp_path / "r.npz", INPUTS)
