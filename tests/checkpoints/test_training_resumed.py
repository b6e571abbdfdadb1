"""A training that is ended and goes on is the training that was not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from precbench.checkpoints.training import Trained, Training, train
from precbench.datasets import Preprocessing
from precbench.errors import OutputError, UsageError

from .conftest import noise_splits

pytestmark = pytest.mark.slow

_PREPROCESSING = Preprocessing.for_mode("tf", 8)
_STEPS, _EPOCHS = 3, 4
_TRAINING = Training(
    epochs=_EPOCHS,
    batch_size=16,
    learning_rate=0.02,
    warmup_epochs=1,
    label_smoothing=0.1,
    shift_pixels=1,
    flip=True,
    erase_pixels=2,
    seed=1,
)


_SPLITS = noise_splits(40)


@pytest.fixture(scope="module")
def model(keras: ModuleType) -> Any:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, strides=2, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.3),
            layers.Dense(2, activation="softmax"),
        ]
    )


class Killed(BaseException):
    pass


class KilledAt:
    """Progress that ends the training at a step, as Ctrl-C or a kill would."""

    def __init__(self, step: int) -> None:
        self._step, self.begun_at, self.done = step, -1, 0

    @contextmanager
    def track(self, _label: str, _total: int) -> Iterator[Callable[[int], None]]:
        yield self._advance

    def _advance(self, steps: int) -> None:
        if self.begun_at < 0:
            self.begun_at = steps
        self.done += steps
        if self.done == self._step and steps:
            raise Killed


def _ticks() -> Callable[[], float]:
    return iter(range(1000)).__next__


@pytest.fixture(scope="module")
def straight(model: Any) -> Trained:
    return train(model, _SPLITS, _PREPROCESSING, _TRAINING, clock=_ticks())


def _assert_same(one: Trained, two: Trained) -> None:
    assert one.kept_epoch == two.kept_epoch
    untimed = [[replace(epoch, elapsed_seconds=0) for epoch in each.history] for each in (one, two)]
    assert untimed[0] == untimed[1]
    for ours, theirs in zip(one.model.get_weights(), two.model.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("step", [1, _STEPS, _STEPS + 1, 2 * _STEPS + 2, _EPOCHS * _STEPS])
def test_a_training_killed_at_any_step_goes_on_to_the_same_result(
    model: Any, straight: Trained, tmp_path: Path, step: int
) -> None:
    state = tmp_path / "state.npz"
    with pytest.raises(Killed):
        train(model, _SPLITS, _PREPROCESSING, _TRAINING, state=state, progress=KilledAt(step))
    again = KilledAt(-1)
    resumed = train(model, _SPLITS, _PREPROCESSING, _TRAINING, state=state, progress=again)
    _assert_same(resumed, straight)
    assert again.begun_at == (step - 1) // _STEPS * _STEPS  # the epoch that was not finished is done again
    assert again.done == _EPOCHS * _STEPS


def test_a_training_killed_many_times_goes_on_to_the_same_result(model: Any, straight: Trained, tmp_path: Path) -> None:
    for step in (_STEPS + 1, 2 * _STEPS + 1, 3 * _STEPS + 2):
        with pytest.raises(Killed):
            train(model, _SPLITS, _PREPROCESSING, _TRAINING, state=tmp_path / "s.npz", progress=KilledAt(step))
    _assert_same(train(model, _SPLITS, _PREPROCESSING, _TRAINING, state=tmp_path / "s.npz"), straight)


def test_the_state_changes_nothing_and_a_finished_one_gives_the_result_again(
    model: Any, straight: Trained, tmp_path: Path
) -> None:
    state = tmp_path / "state.npz"
    _assert_same(train(model, _SPLITS, _PREPROCESSING, _TRAINING, state=state), straight)
    again = KilledAt(-1)
    _assert_same(train(model, _SPLITS, _PREPROCESSING, _TRAINING, state=state, progress=again), straight)
    assert again.begun_at == again.done == _EPOCHS * _STEPS


def test_the_time_before_the_interruption_counts_too(model: Any, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(
            model,
            _SPLITS,
            _PREPROCESSING,
            _TRAINING,
            state=tmp_path / "s.npz",
            clock=_ticks(),
            progress=KilledAt(2 * _STEPS + 1),
        )
    resumed = train(model, _SPLITS, _PREPROCESSING, _TRAINING, state=tmp_path / "s.npz", clock=_ticks())
    assert [epoch.elapsed_seconds for epoch in resumed.history] == [1, 2, 3, 4]


@pytest.mark.parametrize("what", ["settings", "images", "labels", "model"])
def test_the_state_of_another_training_is_refused_and_stays(
    keras: ModuleType, model: Any, tmp_path: Path, what: str
) -> None:
    state = tmp_path / "state.npz"
    training, splits = replace(_TRAINING, epochs=2), _SPLITS
    train(model, splits, _PREPROCESSING, training, state=state)
    before = state.read_bytes()
    part = splits.validation
    assert part.labels is not None
    if what == "settings":
        training = replace(training, flip=False)
    elif what == "images":
        splits = replace(splits, validation=replace(part, images=part.images[::-1].copy()))
    elif what == "labels":
        splits = replace(splits, validation=replace(part, labels=part.labels[::-1].copy()))
    else:
        weights = model.get_weights()
        model = keras.models.clone_model(model)
        model.set_weights([array + 1 for array in weights])
    with pytest.raises(UsageError, match="is of a training on other images, of another model or with other settings"):
        train(model, splits, _PREPROCESSING, training, state=state)
    assert state.read_bytes() == before


def test_a_state_that_cannot_be_written_is_refused_before_training(model: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a directory"):
        train(model, _SPLITS, _PREPROCESSING, _TRAINING, state=tmp_path)


def test_a_state_whose_arrays_do_not_fit_is_refused(model: Any, tmp_path: Path) -> None:
    state = tmp_path / "state.npz"
    train(model, _SPLITS, _PREPROCESSING, replace(_TRAINING, epochs=2), state=state)
    with np.load(state) as arrays:
        members = dict(arrays)
    np.savez(state, **(members | {"variables_0": np.zeros(3, np.float32)}))
    with pytest.raises(UsageError, match="is damaged"):
        train(model, _SPLITS, _PREPROCESSING, replace(_TRAINING, epochs=2), state=state)
