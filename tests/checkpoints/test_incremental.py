"""Incremental quantization: what is on the grid stays there, all is in the end, and it can be gone on with."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

from precbench.checkpoints.incremental import Incremental, kernels, train_incrementally
from precbench.checkpoints.training import Training
from precbench.datasets import Preprocessing
from precbench.errors import ModelError, UsageError
from precbench.grids import parse_grid

from .conftest import noise_splits, tiny_network

pytestmark = pytest.mark.slow

SPLITS = noise_splits(120)
PREPROCESSING = Preprocessing.for_mode("tf", 8)
TRAINING = Training(epochs=2, batch_size=16, learning_rate=0.01, shift_pixels=0, seed=3)
GRID = parse_grid("pow2:4")


@pytest.fixture(scope="module")
def model(keras: ModuleType) -> Any:
    return tiny_network(keras)


@pytest.fixture(scope="module")
def done(model: Any) -> Incremental:
    return train_incrementally(model, SPLITS, PREPROCESSING, TRAINING, GRID)


def test_every_kernel_is_on_its_grid_and_zero_or_a_power_of_two(done: Incremental) -> None:
    found = kernels(done.trained.model)
    assert sorted(found) == ["Conv1/kernel", "block_1_depthwise/kernel", "predictions/kernel"]
    for path, values in found.items():
        assert done.grids[path].holds(values)
        fractions, _ = np.frexp(np.abs(values[values != 0]))
        assert (fractions == 0.5).all()


def test_the_largest_half_is_where_rounding_put_it_before_any_training(model: Any, done: Incremental) -> None:
    before, after = kernels(model)["Conv1/kernel"], kernels(done.trained.model)["Conv1/kernel"]
    largest = np.argsort(-np.abs(before), axis=None, kind="stable")[: before.size // 2]
    rounded = GRID.fitted(before).nearest(before)
    assert np.array_equal(after.ravel()[largest], rounded.ravel()[largest])
    assert not np.array_equal(after, rounded)  # the others have moved meanwhile


def test_the_epochs_of_the_steps_are_counted_on(done: Incremental) -> None:
    assert [epoch.epoch for epoch in done.trained.history] == [1, 2, 3, 4, 5, 6]
    assert [step.portion for step in done.steps] == [0.5, 0.75, 0.875, 1.0]
    assert done.steps[-1].kept_epoch is None
    assert done.trained.kept_epoch in (5, 6)


def test_interrupted_it_goes_on_and_gives_the_same_bits(model: Any, done: Incremental, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    calls = iter(range(10**6))

    def clock() -> float:
        if next(calls) == 5:  # in the second step
            raise StopError
        return 0.0

    with pytest.raises(StopError):
        train_incrementally(model, SPLITS, PREPROCESSING, TRAINING, GRID, states=tmp_path, clock=clock)
    assert (tmp_path / "training-state-1.npz").exists()
    again = train_incrementally(model, SPLITS, PREPROCESSING, TRAINING, GRID, states=tmp_path)
    for one, other in zip(again.trained.model.get_weights(), done.trained.model.get_weights(), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("portions", [(0.5,), (), (0.5, 0.25, 1.0), (0.0, 1.0)])
def test_portions_that_do_not_rise_to_1_are_refused(model: Any, portions: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="do not rise to 1"):
        train_incrementally(model, SPLITS, PREPROCESSING, TRAINING, GRID, portions=portions)


def test_a_model_without_kernels_is_refused(keras: ModuleType) -> None:
    plain = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D()])
    with pytest.raises(ModelError, match="has no kernel"):
        train_incrementally(plain, SPLITS, PREPROCESSING, TRAINING, GRID)
