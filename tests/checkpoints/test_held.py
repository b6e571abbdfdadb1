"""Weights that are held stay where they are through a whole training, bit for bit; the others move."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

from precbench.checkpoints.held import Held, hold
from precbench.checkpoints.training import Training, train
from precbench.checkpoints.variables import named_variables
from precbench.datasets import Preprocessing
from precbench.errors import TargetError, UsageError

from .conftest import noise_splits, tiny_network

pytestmark = pytest.mark.slow

PREPROCESSING = Preprocessing.for_mode("tf", 8)
TRAINING = Training(epochs=2, batch_size=8, learning_rate=1e-2, weight_decay=0.1, shift_pixels=0)


@pytest.fixture(scope="module")
def model(keras: ModuleType) -> Any:
    return tiny_network(keras)


def kernel(model: Any, path: str) -> Any:
    return next(one for one in named_variables(model) if one.path == path).values()


def test_held_weights_stay_and_the_others_move(model: Any) -> None:
    before = kernel(model, "Conv1/kernel")
    mask = np.arange(before.size).reshape(before.shape) % 2 == 0
    values = np.full(before.shape, 0.25, np.float32)
    trained = train(
        model, noise_splits(120), PREPROCESSING, TRAINING, held={"Conv1/kernel": Held(mask=mask, values=values)}
    )
    after = kernel(trained.model, "Conv1/kernel")
    assert (after[mask] == np.float32(0.25)).all()
    assert (after[~mask] != before[~mask]).any()


def test_what_is_held_is_part_of_what_a_state_is_of(model: Any, tmp_path: Any) -> None:
    shape = kernel(model, "Conv1/kernel").shape
    held = {"Conv1/kernel": Held(mask=np.ones(shape, np.bool_), values=np.zeros(shape, np.float32))}
    train(model, noise_splits(120), PREPROCESSING, TRAINING, state=tmp_path / "state.npz")
    with pytest.raises(UsageError, match="of a training on other images"):
        train(model, noise_splits(120), PREPROCESSING, TRAINING, held=held, state=tmp_path / "state.npz")


@pytest.mark.parametrize("path", ["Conv2/kernel", "Conv1/kernel"])
def test_a_variable_that_the_model_lacks_or_of_another_shape_is_refused(
    keras: ModuleType, model: Any, path: str
) -> None:
    with pytest.raises(TargetError, match="has no variable"):
        hold(keras, model, {path: Held(mask=np.ones(3, np.bool_), values=np.ones(3, np.float32))})
