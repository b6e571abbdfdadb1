"""The names that a checkpoint's variables get: from hand-made files without Keras, and against Keras itself."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from precbench.checkpoints.checkpoint_variables import list_variables, to_snake_case
from precbench.checkpoints.training import save_checkpoint
from precbench.checkpoints.weights_file import open_weights
from precbench.errors import ModelError

h5py = pytest.importorskip("h5py", reason="h5py is not installed")
_KERNEL = np.ones((3, 3, 2, 1), np.float32)


def _legacy(folder: Path, layers: Mapping[str, Sequence[str]], prefix: str = "") -> Path:
    """Write Keras 2's layout: for each layer the names of its variables."""
    path = folder / "legacy.h5"
    with h5py.File(path, "w") as file:
        root = file.create_group(prefix) if prefix else file
        root.attrs["layer_names"] = [name.encode() for name in layers]
        for layer, names in layers.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name in names:
                group[name] = _KERNEL
    return path


def _numbered(path: Path, groups: Mapping[str, tuple[str | None, int]]) -> Path:
    """Write Keras 3's layout: for each group the layer's name and how many variables it has."""
    with h5py.File(path, "w") as file:
        for place, (name, count) in groups.items():
            variables = file.create_group(f"{place}/vars")
            if name is not None:
                variables.attrs["name"] = name
            for number in range(count):
                variables[str(number)] = _KERNEL
    return path


def _keras_file(folder: Path, groups: Mapping[str, tuple[str | None, int]], config: object) -> Path:
    weights = _numbered(folder / "inner.h5", groups)
    path = folder / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps(config))
        archive.write(weights, "model.weights.h5")
    return path


def _layer(class_name: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": name, **config}}


def _model(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Functional", "config": {"name": "model", "layers": list(layers)}}


def _roles(path: Path, **options: Any) -> dict[str, str]:
    return {variable.name: variable.role for variable in list_variables(path, **options)}


def test_keras_2_names_become_keras_3_paths(tmp_path: Path) -> None:
    path = _legacy(
        tmp_path,
        {
            "Conv1": ["Conv1/kernel:0"],
            "bn_Conv1": ["bn_Conv1/gamma:0", "bn_Conv1/beta:0", "bn_Conv1/moving_mean:0", "bn_Conv1/moving_variance:0"],
            "relu": [],
            "block_1_depthwise": ["block_1_depthwise/depthwise_kernel:0"],
            "predictions": ["predictions/kernel:0", "predictions/bias:0"],
        },
    )
    assert _roles(path) == {
        "Conv1/kernel": "kernel",
        "bn_Conv1/gamma": "batch_norm",
        "bn_Conv1/beta": "batch_norm",
        "bn_Conv1/moving_mean": "batch_norm",
        "bn_Conv1/moving_variance": "batch_norm",
        "block_1_depthwise/kernel": "kernel",
        "predictions/kernel": "kernel",
        "predictions/bias": "bias",
    }


def test_a_variable_says_where_it_is_and_what_it_is(tmp_path: Path) -> None:
    (variable,) = list_variables(_legacy(tmp_path, {"d": ["d/depthwise_kernel:0"]}))
    assert (variable.layer, variable.dataset_path, variable.shape, variable.dtype) == (
        "d",
        "d/d/depthwise_kernel:0",
        (3, 3, 2, 1),
        "float32",
    )


def test_the_weights_inside_a_whole_model_are_found_and_its_optimizer_is_not(tmp_path: Path) -> None:
    path = _legacy(tmp_path, {"c": ["c/kernel:0"]}, prefix="model_weights")
    with h5py.File(path, "r+") as file:
        file["optimizer_weights/adam/c/kernel:0"] = _KERNEL
    assert [variable.dataset_path for variable in list_variables(path)] == ["model_weights/c/c/kernel:0"]


def test_a_separable_convolution_keeps_both_its_kernels(tmp_path: Path) -> None:
    path = _legacy(tmp_path, {"s": ["s/depthwise_kernel:0", "s/pointwise_kernel:0", "s/bias:0"]})
    assert _roles(path) == {"s/depthwise_kernel": "kernel", "s/pointwise_kernel": "kernel", "s/bias": "bias"}


def test_keras_1_names_are_understood(tmp_path: Path) -> None:
    path = _legacy(
        tmp_path,
        {
            "block1_conv1": ["block1_conv1_W_1:0", "block1_conv1_b_1:0"],
            "bn": ["bn_gamma", "bn_beta", "bn_running_mean", "bn_running_std"],
        },
    )
    assert _roles(path) == {
        "block1_conv1/kernel": "kernel",
        "block1_conv1/bias": "bias",
        "bn/gamma": "batch_norm",
        "bn/beta": "batch_norm",
        "bn/moving_mean": "batch_norm",
        "bn/moving_variance": "batch_norm",
    }


def test_a_numbered_second_life_of_a_layer_has_the_layers_name(tmp_path: Path) -> None:
    assert _roles(_legacy(tmp_path, {"conv": ["conv_1/kernel:0"]})) == {"conv/kernel": "kernel"}


def test_a_nested_model_gives_its_layers_own_names(tmp_path: Path) -> None:
    path = _legacy(tmp_path, {"backbone": ["Conv1/kernel:0", "bn/gamma:0", "bn/moving_mean:0"]})
    assert _roles(path) == {"Conv1/kernel": "kernel", "bn/gamma": "batch_norm", "bn/moving_mean": "batch_norm"}


def test_two_nested_models_with_equal_layers_are_told_apart(tmp_path: Path) -> None:
    path = _legacy(tmp_path, {"left": ["c/kernel:0"], "right": ["c/kernel:0"], "d": ["d/kernel:0"]})
    assert list(_roles(path)) == ["left/c/kernel", "right/c/kernel", "d/kernel"]


def test_a_long_list_of_layers_is_put_together_from_its_parts(tmp_path: Path) -> None:
    path = _legacy(tmp_path, {"a": ["a/kernel:0"], "b": ["b/kernel:0"]})
    with h5py.File(path, "r+") as file:
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = [b"b"], [b"a"]
    assert list(_roles(path)) == ["b/kernel", "a/kernel"]


def test_weights_of_the_model_itself_are_listed(tmp_path: Path) -> None:
    path = _legacy(tmp_path, {"a": ["a/kernel:0"]})
    with h5py.File(path, "r+") as file:
        group = file.create_group("top_level_model_weights")
        group.attrs["weight_names"] = [b"temperature"]
        group["temperature"] = _KERNEL
    assert list(_roles(path)) == ["a/kernel", "top_level_model_weights/temperature"]


def test_a_listed_variable_without_values_is_refused(tmp_path: Path) -> None:
    path = _legacy(tmp_path, {"a": ["a/kernel:0"]})
    with h5py.File(path, "r+") as file:
        del file["a/a/kernel:0"]
    with pytest.raises(ModelError, match="lists the variable a/kernel:0 of a, but holds no values of it"):
        list_variables(path)


def test_keras_3_numbers_become_names_by_the_class_of_the_layer(tmp_path: Path) -> None:
    path = _numbered(
        tmp_path / "m.weights.h5",
        {
            "layers/conv2d": ("Conv1", 1),
            "layers/depthwise_conv2d_10": ("block_9_depthwise", 2),
            "layers/batch_normalization": ("bn", 4),
            "layers/separable_conv2d": ("sep", 3),
            "layers/dense": ("out", 2),
            "layers/lstm/cell": ("lstm_cell", 3),
            "layers/lstm": ("lstm", 0),
            "layers/embedding": ("words", 1),
            "optimizer": ("adam", 3),
        },
    )
    assert _roles(path) == {
        "bn/gamma": "batch_norm",
        "bn/beta": "batch_norm",
        "bn/moving_mean": "batch_norm",
        "bn/moving_variance": "batch_norm",
        "Conv1/kernel": "kernel",
        "out/kernel": "kernel",
        "out/bias": "bias",
        "block_9_depthwise/kernel": "kernel",
        "block_9_depthwise/bias": "bias",
        "words/embeddings": "other",
        "lstm/lstm_cell/kernel": "kernel",
        "lstm/lstm_cell/recurrent_kernel": "kernel",
        "lstm/lstm_cell/bias": "bias",
        "sep/depthwise_kernel": "kernel",
        "sep/pointwise_kernel": "kernel",
        "sep/bias": "bias",
    }


def test_where_the_class_leaves_a_doubt_the_number_stays(tmp_path: Path) -> None:
    path = _numbered(tmp_path / "m.weights.h5", {"layers/batch_normalization": ("bn", 3), "layers/my_layer": ("x", 1)})
    assert _roles(path) == {
        "bn/vars/0": "batch_norm",
        "bn/vars/1": "batch_norm",
        "bn/vars/2": "batch_norm",
        "x/vars/0": "other",
    }


def test_layers_are_listed_by_number_not_by_letter(tmp_path: Path) -> None:
    groups: dict[str, tuple[str | None, int]] = {f"layers/conv2d_{n}": (f"c{n}", 1) for n in (1, 2, 10)}
    assert list(_roles(_numbered(tmp_path / "m.weights.h5", groups))) == ["c1/kernel", "c2/kernel", "c10/kernel"]


def test_the_architecture_in_a_keras_file_settles_a_doubt_and_the_order(tmp_path: Path) -> None:
    config = _model(
        _layer("InputLayer", "image"),
        _layer("Dense", "first"),
        _layer("Conv2D", "c"),
        _layer("BatchNormalization", "bn", scale=False),
        _layer("Conv2D", "d"),
    )
    path = _keras_file(
        tmp_path,
        {
            "layers/conv2d": ("c", 1),
            "layers/conv2d_1": ("d", 2),
            "layers/dense": ("first", 1),
            "layers/batch_normalization": ("bn", 3),
        },
        config,
    )
    assert list(_roles(path)) == [
        "first/kernel",
        "c/kernel",
        "bn/beta",
        "bn/moving_mean",
        "bn/moving_variance",
        "d/kernel",
        "d/bias",
    ]


def test_an_architecture_beside_the_weights_names_what_the_file_does_not(tmp_path: Path) -> None:
    weights = _numbered(tmp_path / "m.weights.h5", {"layers/conv2d": (None, 1), "layers/conv2d_1": (None, 1)})
    architecture = tmp_path / "architecture.json"
    architecture.write_text(json.dumps(_model(_layer("Conv2D", "one"), _layer("Conv2D", "two"))))
    assert list(_roles(weights, architecture=architecture)) == ["one/kernel", "two/kernel"]


def test_without_recorded_names_the_remedy_is_the_architecture(tmp_path: Path) -> None:
    path = _numbered(tmp_path / "m.weights.h5", {"layers/conv2d": (None, 1)})
    with pytest.raises(ModelError, match="records no name for layers/conv2d") as caught:
        list_variables(path)
    assert caught.value.remedy == "give the architecture JSON with it, or round the .keras file"


def test_the_layout_of_keras_2_13_is_read_with_its_architecture(tmp_path: Path) -> None:
    config = _model(_layer("Conv2D", "one"), _layer("BatchNormalization", "bn", center=False))
    folder = "_layer_checkpoint_dependencies"
    groups: dict[str, tuple[str | None, int]] = {
        f"{folder}/conv2d": (None, 1),
        f"{folder}/batch_normalization": (None, 3),
    }
    assert list(_roles(_keras_file(tmp_path, groups, config))) == [
        "one/kernel",
        "bn/gamma",
        "bn/moving_mean",
        "bn/moving_variance",
    ]
    with pytest.raises(ModelError, match="records no name for _layer_checkpoint_dependencies/"):
        list_variables(_numbered(tmp_path / "m.weights.h5", groups))


def test_an_architecture_of_another_model_is_refused(tmp_path: Path) -> None:
    weights = _numbered(tmp_path / "m.weights.h5", {"layers/conv2d": ("mine", 1)})
    architecture = tmp_path / "architecture.json"
    architecture.write_text(json.dumps(_model(_layer("Conv2D", "other"))))
    with pytest.raises(ModelError, match="calls layers/conv2d mine, the architecture other"):
        list_variables(weights, architecture=architecture)


@pytest.mark.parametrize("text", ["[]", "{}", '{"config": 3}'])
def test_json_that_is_no_architecture_is_refused(tmp_path: Path, text: str) -> None:
    weights = _numbered(tmp_path / "m.weights.h5", {"layers/conv2d": ("c", 1)})
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ModelError, match=r"a\.json is no Keras architecture") as caught:
        list_variables(weights, architecture=tmp_path / "a.json")
    assert "model.to_json()" in caught.value.remedy


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_an_architecture_that_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    weights = _numbered(tmp_path / "m.weights.h5", {"layers/conv2d": ("c", 1)})
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ModelError, match=r"a\.json cannot be read"):
        list_variables(weights, architecture=tmp_path / "a.json")


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("Conv2D", "conv2d"),
        ("DepthwiseConv2D", "depthwise_conv2d"),
        ("Conv2DTranspose", "conv2d_transpose"),
        ("BatchNormalization", "batch_normalization"),
        ("PReLU", "p_re_lu"),
        ("Dense", "dense"),
        ("LSTM", "lstm"),
    ],
)
def test_class_names_become_the_groups_that_keras_names_by_them(name: str, snake: str) -> None:
    assert to_snake_case(name) == snake


# Against Keras: the names are the variables' own paths, and the values under them are the variables' values.


def _convolutions(keras: ModuleType) -> Any:
    layers = keras.layers
    inputs = values = keras.Input((8, 8, 3), name="image")
    for layer in (
        layers.Conv2D(4, 3, name="c"),
        layers.BatchNormalization(name="b"),
        layers.DepthwiseConv2D(2, name="d"),
        layers.SeparableConv2D(5, 2, name="s"),
        layers.Conv2DTranspose(3, 2, name="t"),
        layers.GroupNormalization(3, name="g"),
        layers.LayerNormalization(name="n"),
        layers.PReLU(name="p"),
        layers.Flatten(name="f"),
        layers.Dense(3, use_bias=False, name="out"),
    ):
        values = layer(values)
    return keras.Model(inputs, values)


def _nested(keras: ModuleType) -> Any:
    layers = keras.layers

    def branch(name: str) -> Any:
        inputs = keras.Input((8, 8, 3))
        return keras.Model(inputs, layers.Conv2D(3, 1, name="inner")(inputs), name=name)

    inputs = keras.Input((8, 8, 3), name="image")
    values = branch("right")(branch("left")(inputs))
    values = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 1, name="sc")], name="seq")(values)
    return keras.Model(inputs, values)


def _sequential(keras: ModuleType) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Normalization(name="norm"),
            layers.Conv2D(2, 1, name="k"),
            layers.Flatten(),
            layers.Dense(3, name="out"),
        ],
        name="top",
    )


def _recurrent(keras: ModuleType) -> Any:
    layers = keras.layers
    inputs = keras.Input((8, 3), name="words")
    values = layers.LSTM(4, return_sequences=True, name="l")(inputs)
    values = layers.Bidirectional(layers.GRU(3, return_sequences=True), name="bi")(values)
    values = layers.MultiHeadAttention(2, 3, name="mha")(values, values)
    return keras.Model(inputs, layers.Conv1D(2, 1, name="c")(values))


def _mobilenet(keras: ModuleType) -> Any:
    del keras
    from precbench.checkpoints.architectures import build

    return build("MobileNetV2", input_size=32, classes=4, alpha=0.35)


@pytest.mark.parametrize("make", [_convolutions, _nested, _sequential, _recurrent, _mobilenet])
def test_every_layout_gives_each_variable_under_its_keras_path(keras: ModuleType, tmp_path: Path, make: Any) -> None:
    from precbench.checkpoints.variables import named_variables

    model = make(keras)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.normal(size=variable.shape))
    expected = {named.path: named.values() for named in named_variables(model) if "seed" not in named.path}
    files = save_checkpoint(model, tmp_path)
    model.compile("sgd", "mse")
    model.save(tmp_path / "whole.keras")
    model.save(tmp_path / "whole.h5")
    model.save_weights(tmp_path / "bare.weights.h5")
    paths = [files.weights, files.model, *(tmp_path / name for name in ("whole.keras", "whole.h5", "bare.weights.h5"))]
    for path in paths:
        found = _values(path)
        assert sorted(found) == sorted(expected), path.name
        assert all(np.array_equal(found[name], expected[name]) for name in expected), path.name


def _values(path: Path) -> dict[str, np.ndarray]:
    variables = list_variables(path)
    with open_weights(path) as weights, h5py.File(weights.hdf5) as file:
        return {variable.name: file[variable.dataset_path][()] for variable in variables}
