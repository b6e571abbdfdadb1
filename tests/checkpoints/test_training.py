from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from precbench.checkpoints.training import Trained, Training, _validate, save_checkpoint, train
from precbench.datasets import Dataset, Preprocessing, Splits
from precbench.errors import DataError, ModelError, UsageError

from .conftest import noise_splits, tiny_network

pytestmark = pytest.mark.slow

_PREPROCESSING = Preprocessing.for_mode("tf", 8)
_SHORT = Training(epochs=3, batch_size=16, learning_rate=0.02, shift_pixels=1, seed=1)


@pytest.fixture(scope="module")
def model(keras: ModuleType) -> Any:
    return tiny_network(keras)


_SPLITS = noise_splits(120)


@pytest.fixture(scope="module")
def trained(model: Any) -> Trained:
    return train(model, _SPLITS, _PREPROCESSING, _SHORT, clock=iter(range(100)).__next__)


def test_training_lowers_the_loss(trained: Trained) -> None:
    assert trained.history[-1].train_loss < trained.history[0].train_loss


def test_the_history_counts_epochs_and_decays_the_rate_to_zero_on_a_cosine(trained: Trained) -> None:
    assert [epoch.epoch for epoch in trained.history] == [1, 2, 3]
    rates = [epoch.learning_rate for epoch in trained.history]
    np.testing.assert_allclose(rates, [0.015, 0.005, 0.0], atol=1e-6)
    assert [epoch.elapsed_seconds for epoch in trained.history] == [1, 2, 3]


def test_the_rate_rises_in_a_line_then_decays_on_a_cosine(model: Any) -> None:
    warm = Training(epochs=5, batch_size=25, learning_rate=0.02, warmup_epochs=2, shift_pixels=0)
    history = train(model, _SPLITS, _PREPROCESSING, warm).history
    np.testing.assert_allclose([epoch.learning_rate for epoch in history], [0.01, 0.02, 0.015, 0.005, 0], atol=1e-6)


def test_the_kept_epoch_has_the_best_validation_accuracy_then_the_lowest_loss(trained: Trained) -> None:
    best = max(trained.history, key=lambda epoch: (epoch.validation_accuracy, -epoch.validation_loss))
    assert trained.kept_epoch == best.epoch


def test_the_model_returned_has_the_validation_figures_of_the_kept_epoch(trained: Trained) -> None:
    validation = _SPLITS.validation
    probabilities = trained.model.predict_on_batch(_PREPROCESSING.apply(validation.images))
    kept = trained.history[trained.kept_epoch - 1]
    assert float((probabilities.argmax(axis=1) == validation.labels).mean()) == kept.validation_accuracy
    loss = -np.log(probabilities[np.arange(20), validation.labels]).mean()
    np.testing.assert_allclose(loss, kept.validation_loss, rtol=1e-5)


def test_the_same_arguments_give_the_same_weights_bit_for_bit(model: Any, trained: Trained) -> None:
    again = train(model, _SPLITS, _PREPROCESSING, _SHORT, clock=iter(range(100)).__next__)
    assert again.history == trained.history
    for ours, theirs in zip(again.model.get_weights(), trained.model.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


def test_smoothed_labels_cost_what_the_best_guess_still_differs_from_them(model: Any) -> None:
    smooth = Training(epochs=30, batch_size=50, learning_rate=0.05, shift_pixels=0, label_smoothing=0.2)
    last = train(model, _SPLITS, _PREPROCESSING, smooth).history[-1]
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert last.train_accuracy > 0.95
    assert entropy < last.train_loss < entropy + 0.2
    assert last.validation_loss > -np.log(0.99)  # against the labels as they are


def test_the_model_given_is_not_modified_nor_compiled(keras: ModuleType, model: Any) -> None:
    before = [np.array(values) for values in model.get_weights()]
    train(model, _SPLITS, _PREPROCESSING, Training(epochs=1))
    assert all(np.array_equal(one, two) for one, two in zip(before, model.get_weights(), strict=True))
    assert not model.compiled


def test_the_model_returned_has_the_momentum_and_is_not_compiled(trained: Trained) -> None:
    assert trained.model.get_layer("bn_Conv1").momentum == 0.9
    assert not trained.model.compiled


def test_the_test_part_is_never_read(model: Any) -> None:
    class Untouchable:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} of the test part was read")

    splits = Splits(train=_SPLITS.train, validation=_SPLITS.validation, test=Untouchable(), seed=0)  # type: ignore[arg-type]
    train(model, splits, _PREPROCESSING, Training(epochs=1, batch_size=32))


def test_progress_is_told_of_every_batch(model: Any) -> None:
    class Counting:
        total = done = 0

        def track(self, _label: str, total: int) -> Any:
            self.total = total
            return self

        def __enter__(self) -> Any:
            return self.advance

        def __exit__(self, *error: object) -> None: ...

        def advance(self, steps: int) -> None:
            self.done += steps

    progress = Counting()
    train(model, _SPLITS, _PREPROCESSING, Training(epochs=2, batch_size=16), progress=progress)
    assert progress.total == progress.done == 2 * 3


def test_nothing_is_written_to_the_terminal(model: Any, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = train(model, _SPLITS, _PREPROCESSING, Training(epochs=1))
    save_checkpoint(result.model, tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_batch_larger_than_the_data_is_the_whole_data(model: Any) -> None:
    assert len(train(model, _SPLITS, _PREPROCESSING, Training(epochs=1, batch_size=1000)).history) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"warmup_epochs": -1},
        {"warmup_epochs": 20},
        {"weight_decay": -1.0},
        {"label_smoothing": -0.1},
        {"label_smoothing": 1.0},
        {"bn_momentum": 1.0},
        {"shift_pixels": -1},
        {"erase_pixels": -1},
        {"seed": -1},
        {"seed": 2**32},
    ],
)
def test_a_setting_outside_its_limits_is_refused(change: dict[str, Any]) -> None:
    name, value = next(iter(change.items()))
    with pytest.raises(UsageError, match=f"the training's {name} is {value}, outside its limits"):
        Training(**change)


def test_a_part_without_labels_is_refused(model: Any) -> None:
    bare = Dataset(name="bare", images=_SPLITS.train.images)
    with pytest.raises(DataError, match="bare has no labels to train on"):
        train(model, Splits(train=bare, validation=bare, test=bare, seed=0), _PREPROCESSING, _SHORT)


def test_images_of_another_size_than_the_models_are_refused(model: Any) -> None:
    with pytest.raises(ModelError, match=r"the model takes \(None, 8, 8, 3\), the images become \(None, 16, 16, 3\)"):
        train(model, _SPLITS, Preprocessing.for_mode("tf", 16), _SHORT)


def test_a_model_for_another_number_of_classes_is_refused(model: Any) -> None:
    three = Dataset(name="three", images=_SPLITS.train.images, labels=_SPLITS.train.labels, class_names=("a", "b", "c"))
    with pytest.raises(ModelError, match=r"the model gives \(None, 2\) for 3 classes"):
        train(model, Splits(train=three, validation=three, test=three, seed=0), _PREPROCESSING, _SHORT)


def test_probabilities_that_are_not_finite_stop_the_training(model: Any) -> None:
    class Broken:
        @staticmethod
        def predict_on_batch(inputs: Any) -> Any:
            return np.full((len(inputs), 2), np.nan)

    with pytest.raises(ModelError, match="probabilities on the validation images are not finite"):
        _validate(Broken(), _PREPROCESSING, _SPLITS.validation)


def test_a_loss_that_is_not_finite_stops_the_training(model: Any) -> None:
    with pytest.raises(ModelError, match="the training loss is nan in epoch 1") as caught:
        train(model, _SPLITS, Preprocessing(size=(8, 8), scale=(1e36, 1e36, 1e36)), _SHORT)
    assert "lower the learning rate" in caught.value.remedy


def test_the_default_training_reads_the_digits(keras: ModuleType) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from precbench.checkpoints.architectures import build
    from precbench.datasets import load_splits

    model = build("MobileNetV2", input_size=32, classes=10)
    result = train(model, load_splits("digits"), Preprocessing.for_mode("tf", 32), Training())
    assert result.history[result.kept_epoch - 1].validation_accuracy > 0.95
