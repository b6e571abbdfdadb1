"""Nothing in a configuration may lead outside Keras. The planted files would leave a trace if anything ran."""

import base64
import copy
import json
import marshal
from typing import Any

import pytest

from precbench.checkpoints.loading import load_model
from precbench.checkpoints.saved_config import safe_config
from precbench.errors import ModelError


@pytest.fixture(scope="module")
def architecture(keras) -> dict[str, Any]:
    entry = keras.Input((4,))
    value = keras.layers.Dense(3, activation="relu", name="middle")(entry)
    config: dict[str, Any] = json.loads(keras.Model(entry, keras.layers.Dense(2, name="end")(value)).to_json())
    return config


def _with_layer(architecture: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Change the middle layer; `config` is laid over the layer's own."""
    config = copy.deepcopy(architecture)
    layer = config["config"]["layers"][1]
    layer["config"] |= changes.pop("config", {})
    layer |= changes
    return config


def _refusal(config: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        safe_config(config, "m.json")
    assert caught.value.problem.startswith("m.json ")
    assert caught.value.remedy
    return caught.value


def _marshalled(tmp_path) -> list[Any]:
    code = compile(f"lambda x: open({str(tmp_path / 'ran')!r}, 'w') and x", "f", "eval").co_consts[0]
    return [base64.b64encode(marshal.dumps(code)).decode(), None, None]


def test_a_lambda_layer_is_refused_and_its_code_does_not_run(architecture, tmp_path):
    function = {
        "class_name": "__lambda__",
        "config": {"code": _marshalled(tmp_path)[0], "defaults": None, "closure": None},
    }
    planted = _with_layer(
        architecture,
        class_name="Lambda",
        config={"function": function, "output_shape": None, "mask": None, "arguments": {}},
    )
    (tmp_path / "m.json").write_text(json.dumps(planted))
    (tmp_path / "w.h5").write_bytes(b"x")
    with pytest.raises(ModelError, match="holds a Lambda layer 'middle', which would run code from the file") as caught:
        load_model(tmp_path / "m.json", tmp_path / "w.h5")
    assert "rebuild the model with Keras's own layers" in caught.value.remedy
    assert not (tmp_path / "ran").exists()


def test_a_lambda_of_keras_2_is_refused(architecture, tmp_path):
    planted = _with_layer(
        architecture,
        class_name="Lambda",
        module=None,
        config={"function": _marshalled(tmp_path), "function_type": "lambda"},
    )
    assert "holds a Lambda layer" in _refusal(planted).problem


def test_code_in_the_place_of_an_activation_is_refused(architecture, tmp_path):
    code = {"class_name": "__lambda__", "config": {"value": _marshalled(tmp_path)}}
    assert "would run code" in _refusal(_with_layer(architecture, config={"activation": code})).problem


@pytest.mark.parametrize("name", ["TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"])
def test_a_layer_that_runs_a_program_is_refused(architecture, name):
    assert f"holds a {name} layer" in _refusal(_with_layer(architecture, class_name=name)).problem


@pytest.mark.parametrize("name", ["TFOpLambda", "SlicingOpLambda"])
def test_an_operation_that_keras_2_called_by_name_is_refused_with_a_way_out(architecture, name):
    error = _refusal(_with_layer(architecture, class_name=name))
    assert "a TensorFlow function that Keras 2 called by its name" in error.problem
    assert "build the architecture anew with Keras 3" in error.remedy


def test_a_layer_that_reads_a_vocabulary_is_refused(architecture):
    planted = _with_layer(architecture, class_name="StringLookup", config={"vocabulary": "/etc/passwd"})
    assert "may read other files" in _refusal(planted).problem


@pytest.mark.parametrize(
    "changes", [{"registered_name": "Custom>Mine"}, {"class_name": "my>Dense"}, {"registered_name": "Other"}]
)
def test_a_registered_class_of_someone_else_is_refused(architecture, changes):
    assert "a class that is not Keras's own" in _refusal(_with_layer(architecture, **changes)).problem


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("subprocess", "Popen"),
        ("keras_cv.layers", "Dense"),
        ("keras.src.utils.file_utils", "get_file"),
        ("keras.utils", "get_file"),
        ("keras.layers", "deserialize"),
        ("keras.src.ops.core", "importlib"),
        ("keras.src.ops.nowhere", "Add"),
        ("keras.callbacks", "LambdaCallback"),
        ("tensorflow.io", "write_file"),
        ("keras.layers", "NoSuchLayer"),
    ],
)
def test_a_class_outside_the_parts_of_a_model_is_refused(architecture, module, name):
    error = _refusal(_with_layer(architecture, module=module, class_name=name, registered_name=None))
    assert f"holds {module}.{name}, which is no class that a model of Keras" in error.problem


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.utils", "get_file"),
        ("os", "system"),
        ("builtins", "eval"),
        ("keras.activations", "deserialize"),
        ("builtins", 3),
        ("keras.src.activations", "relu"),
    ],
)
def test_a_function_that_is_no_activation_is_refused(architecture, module, name):
    function = {"class_name": "function", "module": module, "config": name, "registered_name": name}
    error = _refusal(_with_layer(architecture, config={"activation": function}))
    assert "which is no activation of Keras" in error.problem or "not Keras's own" in error.problem


def test_a_class_named_by_no_text_is_refused(architecture):
    assert "names a class by 3" in _refusal(_with_layer(architecture, class_name=3)).problem


def test_a_configuration_nested_too_deep_is_refused(architecture):
    deep: Any = 0
    for _ in range(300):
        deep = [deep]
    assert "deeper than 200 levels" in _refusal(_with_layer(architecture, config={"units": deep})).problem


def test_a_setting_that_keras_3_lacks_is_dropped_only_where_it_changes_nothing(architecture):
    dropped = safe_config(_with_layer(architecture, config={"groups": 1}), "m.json")
    assert "groups" not in dropped["config"]["layers"][1]["config"]
    error = _refusal(_with_layer(architecture, config={"groups": 2}))
    assert "sets groups=2 on a Dense, which Keras 3 does not have" in error.problem


def test_how_a_model_was_compiled_is_dropped_unseen(architecture):
    planted = {**architecture, "compile_config": {"loss": {"class_name": "Lambda", "config": {}}}}
    assert "compile_config" not in safe_config(planted, "m.json")


def test_the_module_names_of_older_keras_lead_to_the_same_classes(keras, architecture):
    for module in ("keras.src.layers.core.dense", "tensorflow.keras.layers", "tf_keras.layers", "keras.engine.base"):
        checked = safe_config(_with_layer(architecture, module=module), "m.json")
        assert checked["config"]["layers"][1]["module"] == "keras.layers"


def test_operations_and_applications_of_keras_stay_allowed(keras):
    entry = keras.Input((4, 4, 3))
    value = keras.ops.mean(entry * 2.0 + 1.0, axis=(1, 2))
    config = json.loads(keras.Model(entry, value).to_json())
    rebuilt = keras.saving.deserialize_keras_object(safe_config(config, "m.json"))
    assert rebuilt.output_shape == (None, 3)
