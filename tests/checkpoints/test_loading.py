import contextlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from precbench.checkpoints import hdf5, loading
from precbench.checkpoints.loading import load_model
from precbench.errors import ModelError

h5py = pytest.importorskip("h5py", reason="h5py is not installed (pip install 'precbench[keras]')")


@pytest.fixture(scope="module")
def model(keras, randomise) -> Any:
    entry = keras.Input((8, 8, 3), name="image")
    value = keras.layers.Conv2D(4, 3, name="conv", kernel_regularizer="l2")(entry)
    value = keras.layers.BatchNormalization(name="bn")(value)
    value = keras.layers.ReLU(6.0, name="relu")(value)
    value = keras.layers.DepthwiseConv2D(3, name="dw")(value)
    value = keras.layers.Dropout(0.1, name="drop")(keras.layers.GlobalAveragePooling2D(name="gap")(value))
    built = randomise(keras.Model(entry, keras.layers.Dense(3, activation="softmax", name="head")(value), name="small"))
    built.compile("adam", loss="mse", metrics=["mae"])
    return built


@pytest.fixture(scope="module")
def files(model, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("saved")
    for suffix in (".keras", ".h5"):
        model.save(folder / f"model{suffix}")
    model.save_weights(folder / "model.weights.h5")
    (folder / "model.json").write_text(model.to_json())
    old = folder / "old.json"
    old.write_text(json.dumps(as_keras_2(json.loads(model.to_json()))))
    write_keras_2_weights(model, folder / "old_weights.h5")
    with h5py.File(folder / "old.h5", "w") as file:
        file.attrs["model_config"] = old.read_text()
        file.attrs["keras_version"] = "2.9.0"
        write_keras_2_group(model, file.create_group("model_weights"))
    return {path.name: path for path in folder.iterdir()}


def as_keras_2(value: Any) -> Any:
    """Rewrite an architecture as Keras 2.9 wrote it: no modules, calls as lists, settings that Keras 3 refuses."""
    if isinstance(value, list):
        return [as_keras_2(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy":
        return value["config"]["name"]
    kept = {
        key: as_keras_2(item)
        for key, item in value.items()
        if key not in ("module", "registered_name", "build_config", "compile_config", "inbound_nodes")
    }
    if "inbound_nodes" in value:
        kept["inbound_nodes"] = [[[*node["args"][0]["config"]["keras_history"], {}]] for node in value["inbound_nodes"]]
    if value.get("class_name") == "Functional":
        for key in ("input_layers", "output_layers"):
            kept["config"][key] = (
                [kept["config"][key]] if isinstance(kept["config"][key][0], str) else kept["config"][key]
            )
    config = kept.get("config")
    if value.get("class_name") == "InputLayer":
        config["batch_input_shape"] = config.pop("batch_shape")
        config.pop("optional")
    if value.get("class_name") == "BatchNormalization":
        config["axis"] = [3]
        for key in ("synchronized", "renorm", "renorm_clipping", "renorm_momentum"):
            config.pop(key, None)
    if value.get("class_name") == "DepthwiseConv2D":
        config |= {
            "groups": 1,
            "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
            "kernel_regularizer": None,
            "kernel_constraint": None,
        }
    return kept


def write_keras_2_group(model: Any, group: Any) -> None:
    group.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
    group.attrs["keras_version"] = b"2.9.0"
    group.attrs["backend"] = b"tensorflow"
    for layer in model.layers:
        own = group.create_group(layer.name)
        prefix = "depthwise_" if layer.name == "dw" else ""
        names = [f"{layer.name}/{prefix if weight.name == 'kernel' else ''}{weight.name}:0" for weight in layer.weights]
        own.attrs["weight_names"] = [name.encode() for name in names]
        for name, weight in zip(names, layer.weights, strict=True):
            own.create_dataset(name, data=np.asarray(weight))


def write_keras_2_weights(model: Any, path: Path) -> None:
    with h5py.File(path, "w") as file:
        write_keras_2_group(model, file)


@pytest.mark.parametrize(
    "names",
    [
        ("model.keras",),
        ("model.h5",),
        ("model.json", "model.weights.h5"),
        ("model.json", "model.h5"),
        ("old.json", "old_weights.h5"),
        ("old.h5",),
        ("old.json", "model.weights.h5"),
        ("model.json", "old_weights.h5"),
        ("model.keras", "old_weights.h5"),
        ("old.h5", "model.weights.h5"),
    ],
    ids=" + ".join,
)
def test_every_form_gives_the_weights_that_were_saved(model, files, names):
    loaded = load_model(*[files[name] for name in names])
    images = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    for one, other in zip(loaded.weights, model.weights, strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(other)), other.path
    assert np.array_equal(loaded(images, training=False), model(images, training=False))
    assert [variable.path for variable in loaded.weights] == [variable.path for variable in model.weights]


def test_a_loaded_model_is_not_compiled(files):
    assert all(not load_model(files[name]).compiled for name in ("model.keras", "model.h5"))


def test_what_a_file_is_is_read_from_its_bytes_not_its_name(files, tmp_path):
    for name, as_name in (("model.keras", "a.h5"), ("model.h5", "b.keras"), ("model.weights.h5", "weights.bin")):
        (tmp_path / as_name).write_bytes(files[name].read_bytes())
    load_model(tmp_path / "a.h5")
    load_model(tmp_path / "b.keras")
    load_model(files["model.json"], tmp_path / "weights.bin")


def test_a_nested_model_of_keras_2_is_called_from_its_first_call(keras, tmp_path):
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="inside")], name="inner")
    entry = keras.Input((4,), name="entry")
    nested = keras.Model(entry, keras.layers.Dense(2, name="end")(inner(entry)))
    config = as_keras_2(json.loads(nested.to_json()))
    config["config"]["layers"][2]["inbound_nodes"][0][0][1] = 1  # Keras 2 counts the making as the first call
    (tmp_path / "m.json").write_text(json.dumps(config))
    nested.save_weights(tmp_path / "m.weights.h5")
    assert load_model(tmp_path / "m.json", tmp_path / "m.weights.h5").count_params() == nested.count_params()


def test_slashes_in_the_layer_names_of_keras_2_become_underscores(model, files, tmp_path):
    text = files["old.json"].read_text().replace('"conv"', '"stage/conv"')
    (tmp_path / "m.json").write_text(text)
    loaded = load_model(tmp_path / "m.json", files["old_weights.h5"])
    assert loaded.weights[0].path == "stage_conv/kernel"
    assert np.array_equal(np.asarray(loaded.weights[0]), np.asarray(model.weights[0]))


def _refusal(path: Path, weights: Path | None = None) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_model(path, weights)
    assert str(path.name) in caught.value.problem or (weights and weights.name in caught.value.problem)
    assert "\n" not in caught.value.problem + caught.value.remedy
    assert caught.value.remedy
    return caught.value


def test_a_missing_file_is_refused(tmp_path):
    assert "does not exist" in _refusal(tmp_path / "none.keras").problem


def test_a_directory_is_refused(tmp_path):
    error = _refusal(tmp_path)
    assert "is a directory" in error.problem
    assert "SavedModel" in error.remedy


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "m.h5").touch()
    assert "is empty" in _refusal(tmp_path / "m.h5").problem


def test_an_hdf5_file_that_keras_did_not_write_is_refused(files, tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["table"] = np.zeros(3)
    assert "is an HDF5 file, but no Keras model" in _refusal(tmp_path / "m.h5").problem
    assert "Keras wrote no weights to it" in _refusal(files["model.json"], tmp_path / "m.h5").problem


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "old.h5"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_file_is_refused(keras, files, tmp_path, name, share):
    content = files[name].read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    problem = _refusal(tmp_path / name).problem
    assert "truncated or damaged" in problem or "is a damaged .keras file" in problem


@pytest.mark.parametrize("name", ["model.weights.h5", "old_weights.h5"])
def test_weights_without_an_architecture_are_refused_with_what_is_missing(files, name):
    error = _refusal(files[name])
    assert "holds weights without an architecture" in error.problem
    assert "give the architecture JSON" in error.remedy


def test_an_architecture_without_weights_is_refused(keras, files):
    error = _refusal(files["model.json"])
    assert "is an architecture without weights" in error.problem
    assert "weights H5" in error.remedy


def test_a_whole_model_without_its_weights_is_refused(keras, files, tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = files["old.json"].read_text()
    assert "holds an architecture but no weights" in _refusal(tmp_path / "m.h5").problem


def test_weights_of_another_width_are_refused_with_layer_and_shapes(keras, model, files, tmp_path):
    other = json.loads(files["model.json"].read_text())
    other["config"]["layers"][-1]["config"]["units"] = 5
    (tmp_path / "m.json").write_text(json.dumps(other))
    legacy = _refusal(tmp_path / "m.json", files["old_weights.h5"]).problem
    assert "do not fit the architecture" in legacy
    current = _refusal(tmp_path / "m.json", files["model.weights.h5"]).problem
    for problem in (legacy, current):
        assert "head" in problem
        assert "(4, 5)" in problem
        assert "(4, 3)" in problem


def test_weights_of_a_longer_network_are_refused(keras, files, tmp_path):
    small = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    (tmp_path / "m.json").write_text(small.to_json())
    assert "found 4 saved layers" in _refusal(tmp_path / "m.json", files["old_weights.h5"]).problem
    assert "the model has 2 variables" in _refusal(tmp_path / "m.json", files["model.weights.h5"]).problem


def test_weights_that_are_no_hdf5_are_refused(keras, files):
    assert "is no HDF5 file" in _refusal(files["model.json"], files["model.keras"]).problem


def test_text_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "m.json").write_text("not json")
    assert "is neither a .keras file nor HDF5, nor JSON" in _refusal(tmp_path / "m.json").problem


def test_a_json_nested_without_end_is_refused(tmp_path):
    (tmp_path / "m.json").write_text("[" * 100_000)
    assert "nor JSON" in _refusal(tmp_path / "m.json").problem


def test_a_large_file_of_another_kind_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "_MAX_CONFIG_BYTES", 10)
    (tmp_path / "m.bin").write_bytes(b"x" * 11)
    assert "too large for an architecture" in _refusal(tmp_path / "m.bin").problem


@pytest.mark.parametrize(
    "content",
    ["[1, 2]", '{"a": 1}', '{"class_name": "Dense", "config": {}}', '{"class_name": "Functional", "config": 3}', "3"],
)
def test_a_json_that_is_no_keras_model_is_refused(tmp_path, content):
    (tmp_path / "m.json").write_text(content)
    assert "is no architecture of a Keras model" in _refusal(tmp_path / "m.json", tmp_path / "w.h5").problem


def test_an_architecture_that_keras_cannot_build_is_refused_with_keras_reason(keras, files, tmp_path):
    config = json.loads(files["model.json"].read_text())
    config["config"]["layers"][1]["config"]["kernel_size"] = [-1, 3]
    (tmp_path / "m.json").write_text(json.dumps(config))
    problem = _refusal(tmp_path / "m.json", files["model.weights.h5"]).problem
    assert "is no architecture that Keras" in problem
    assert "kernel_size" in problem


def test_an_architecture_that_was_never_built_is_refused(keras, tmp_path):
    (tmp_path / "m.json").write_text(keras.Sequential([keras.layers.Dense(2)]).to_json())
    assert "does not say what input the model takes" in _refusal(tmp_path / "m.json", tmp_path / "w.h5").problem


def _archive(path: Path, **members: Any) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return path


def test_a_zip_that_is_no_keras_file_is_refused(tmp_path):
    problem = _refusal(_archive(tmp_path / "m.keras", note__txt="hello")).problem
    assert "is a ZIP file without config.json" in problem


def test_a_member_that_unpacks_too_large_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "_MAX_CONFIG_BYTES", 10)
    problem = _refusal(_archive(tmp_path / "m.keras", config__json="x" * 11)).problem
    assert "declares 11 bytes for config.json; at most 10 are read" in problem


def test_members_with_paths_out_of_the_archive_are_not_unpacked(files, tmp_path):
    path = tmp_path / "in" / "m.keras"
    path.parent.mkdir()
    path.write_bytes(files["model.keras"].read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../escaped.txt", "out")
        archive.writestr("assets/../../escaped.txt", "out")
    load_model(path)
    assert [item.name for item in tmp_path.rglob("*")] == ["in", "m.keras"]


@pytest.fixture
def outside(tmp_path) -> Path:
    with h5py.File(tmp_path / "outside.h5", "w") as file:
        file["secret"] = np.arange(4, dtype=np.float32)
    return tmp_path / "outside.h5"


def _external_link(file: Any, outside: Path) -> None:
    file["layer/k"] = h5py.ExternalLink(outside.name, "/secret")


def _soft_link(file: Any, outside: Path) -> None:
    file["there"] = np.zeros(2)
    file["layer/k"] = h5py.SoftLink("/there")


def _external_storage(file: Any, outside: Path) -> None:
    file.create_dataset("layer/k", (4,), np.float32, external=[(str(outside), 0, 16)])


def _virtual(file: Any, outside: Path) -> None:
    layout = h5py.VirtualLayout((4,), np.float32)
    layout[:] = h5py.VirtualSource(str(outside), "secret", (4,))
    file.create_virtual_dataset("layer/k", layout)


@pytest.mark.parametrize(
    "planted",
    [
        (_external_link, "holds an external link, /layer/k"),
        (_soft_link, "holds a soft link, /layer/k"),
        (_external_storage, "holds /layer/k, whose data is in another file"),
        (_virtual, "holds /layer/k, whose data is in another file"),
    ],
)
@pytest.mark.parametrize("name", ["old.h5", "model.weights.h5"])
def test_weights_that_read_another_file_are_refused(files, tmp_path, outside, planted, name):
    plant, message = planted
    path = tmp_path / name
    path.write_bytes(files[name].read_bytes())
    with h5py.File(path, "a") as file:
        plant(file, outside)
    whole = name == "old.h5"
    assert message in _refusal(*((path,) if whole else (files["model.json"], path))).problem


def test_weights_inside_an_archive_are_checked_too(keras, files, tmp_path, outside):
    weights = tmp_path / "w.h5"
    weights.write_bytes(files["model.weights.h5"].read_bytes())
    with h5py.File(weights, "a") as file:
        _external_link(file, outside)
    path = _archive(
        tmp_path / "m.keras", config__json=files["model.json"].read_text(), model__weights__h5=weights.read_bytes()
    )
    assert "external link" in _refusal(path).problem


def test_weights_that_declare_too_much_are_refused(keras, files, tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "MAX_DATA_BYTES", 100)
    assert "at most 100 in" in _refusal(files["model.h5"]).problem


def test_groups_that_hold_each_other_are_visited_once(keras, files, tmp_path):
    path = tmp_path / "m.h5"
    path.write_bytes(files["model.h5"].read_bytes())
    with h5py.File(path, "a") as file:
        file["model_weights/again"] = file["/"]
    load_model(path)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_an_architecture_inside_a_file_that_is_no_json_is_refused(files, tmp_path, name):
    path = tmp_path / name
    if name == "model.keras":
        _archive(path, config__json="{")
    else:
        path.write_bytes(files[name].read_bytes())
        with h5py.File(path, "a") as file:
            file.attrs["model_config"] = "{"
    assert "holds an architecture that is no JSON" in _refusal(path).problem


def test_a_file_that_may_not_be_read_is_refused(files, tmp_path, monkeypatch):
    def refuse(*arguments, **named):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "cannot be read: Permission denied" in _refusal(files["model.h5"]).problem


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "m.h5")
    assert "is no regular file" in _refusal(tmp_path / "m.h5").problem


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("names", [("model.keras",), ("old.h5",), ("model.json", "model.weights.h5")], ids=" + ".join)
def test_a_few_wrong_bytes_load_or_are_refused_but_never_crash(keras, files, tmp_path, names, seed):
    random = np.random.default_rng(seed)
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.write_bytes(files[path.name].read_bytes())
    victim = paths[seed % len(paths)]
    content = bytearray(victim.read_bytes())
    for place in random.integers(0, min(len(content), 6000), 3):
        content[place] = random.integers(0, 256)
    victim.write_bytes(content)
    with contextlib.suppress(ModelError):
        load_model(*paths)


def test_an_architecture_far_larger_than_its_weights_is_refused_before_it_is_built(keras, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8)])
    model.save_weights(tmp_path / "m.weights.h5")
    config = json.loads(model.to_json())
    config["config"]["layers"][1]["config"]["units"] = 1 << 26
    (tmp_path / "m.json").write_text(json.dumps(config))
    before = keras.Layer.add_weight
    with pytest.raises(ModelError, match=r"declares layers of 805,306,368 bytes of weights or more; its weights file"):
        load_model(tmp_path / "m.json", tmp_path / "m.weights.h5")
    assert keras.Layer.add_weight is before
