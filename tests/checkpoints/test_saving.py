import csv
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from precbench.checkpoints.architectures import build
from precbench.checkpoints.history import Epoch
from precbench.checkpoints.loading import load_model
from precbench.checkpoints.saving import save_checkpoint
from precbench.errors import OutputError

from .conftest import tiny_network

pytestmark = pytest.mark.slow

_HISTORY = tuple(
    Epoch(
        epoch=n,
        learning_rate=0.1 / n,
        train_loss=1 / n,
        train_accuracy=0.5,
        validation_loss=1 / 3,
        validation_accuracy=2 / 3,
        elapsed_seconds=n,
    )
    for n in (1, 2, 3)
)


@pytest.fixture(scope="module")
def model(keras: ModuleType) -> Any:
    return tiny_network(keras)


def test_the_pair_loads_back_bit_for_bit_with_keras_alone(keras: ModuleType, model: Any, tmp_path: Path) -> None:
    files = save_checkpoint(model, tmp_path, _HISTORY)
    loaded = keras.models.model_from_json(files.architecture.read_text())
    loaded.load_weights(files.weights)
    _assert_same_variables(loaded, model)


def test_the_keras_file_loads_back_bit_for_bit(keras: ModuleType, model: Any, tmp_path: Path) -> None:
    loaded = keras.models.load_model(save_checkpoint(model, tmp_path).model)
    _assert_same_variables(loaded, model)


def test_both_forms_load_back_bit_for_bit_with_the_tools_own_loader(model: Any, tmp_path: Path) -> None:
    files = save_checkpoint(model, tmp_path)
    _assert_same_variables(load_model(files.architecture, files.weights), model)
    _assert_same_variables(load_model(files.model), model)


def test_a_network_of_keras_applications_loads_back_bit_for_bit(keras: ModuleType, tmp_path: Path) -> None:
    model = build("MobileNetV2", input_size=32, classes=4, alpha=0.35, bn_momentum=0.9)
    files = save_checkpoint(model, tmp_path)
    loaded = keras.models.model_from_json(files.architecture.read_text())
    loaded.load_weights(files.weights)
    _assert_same_variables(loaded, model)


def _assert_same_variables(loaded: Any, model: Any) -> None:
    ours, theirs = ({layer.name: layer.get_weights() for layer in each.layers} for each in (loaded, model))
    assert ours.keys() == theirs.keys()
    for name, arrays in ours.items():
        assert all(np.array_equal(one, two) for one, two in zip(arrays, theirs[name], strict=True)), name
    assert loaded.get_layer(model.layers[-1].name).get_config() == model.layers[-1].get_config()


def test_kernels_lie_under_their_layers_name_in_the_weights_file(model: Any, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(save_checkpoint(model, tmp_path).weights) as file:
        layer = model.get_layer("Conv1")
        assert np.array_equal(file[f"Conv1/{layer.kernel.path}"][()], layer.get_weights()[0])


def test_the_weights_file_is_the_same_for_the_same_weights(model: Any, tmp_path: Path) -> None:
    one, two = (save_checkpoint(model, tmp_path / name).weights.read_bytes() for name in ("one", "two"))
    assert one == two


def test_the_architecture_names_no_optimizer(model: Any, tmp_path: Path) -> None:
    architecture = json.loads(save_checkpoint(model, tmp_path).architecture.read_text())
    assert not architecture.get("compile_config")


def test_the_history_is_one_row_per_epoch(model: Any, tmp_path: Path) -> None:
    with save_checkpoint(model, tmp_path, _HISTORY).history.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert [float(row["validation_accuracy"]) for row in rows] == [e.validation_accuracy for e in _HISTORY]


def test_a_model_with_more_layers_than_an_attribute_holds_loads_back(keras: ModuleType, tmp_path: Path) -> None:
    inputs = keras.Input((1,))
    values = inputs
    for number in range(400):
        values = keras.layers.Rescaling(1.0, name=f"{'a_long_name_' * 20}{number}")(values)
    model = keras.Model(inputs, keras.layers.Dense(1)(values))
    files = save_checkpoint(model, tmp_path)
    loaded = keras.models.model_from_json(files.architecture.read_text())
    loaded.load_weights(files.weights)
    _assert_same_variables(loaded, model)


def test_a_folder_that_cannot_be_written_is_refused(model: Any, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        save_checkpoint(model, tmp_path / "taken")
