"""MobileNetV2, small: the laws of an exported model."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from precbench import __version__
from precbench.checkpoints import export
from precbench.checkpoints.export import ExportCheck, export_model, export_to_file, unused_variables
from precbench.errors import ModelError, OutputError, TargetError
from precbench.graph.metadata import read_metadata

GROUPS = {"stem": ["Conv1/kernel"], "expand": ["block_*_expand/kernel"], "depthwise": ["block_*_depthwise/kernel"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    keras_model: Any
    path: Path
    proto: onnx.ModelProto
    check: ExportCheck
    digest_before: str


def _digest(model: Any) -> str:
    parts = [variable.path.encode() + np.asarray(variable).tobytes() for variable in model.variables]
    return hashlib.sha256(b"".join([model.to_json().encode(), *parts])).hexdigest()


@pytest.fixture(scope="module")
def mobilenet(keras, randomise, tmp_path_factory) -> Exported:
    model = randomise(keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=10, alpha=0.35))
    path = tmp_path_factory.mktemp("export") / "base.onnx"
    before = _digest(model)
    check = export_to_file(
        model,
        path,
        source={"a.keras": "sha256:00"},
        preprocessing={"channels": "rgb"},
        class_names=[f"class {n}" for n in range(10)],
        groups=GROUPS,
    )
    return Exported(keras_model=model, path=path, proto=onnx.load(path), check=check, digest_before=before)


def _arrays(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in proto.graph.initializer}


def test_every_variable_comes_back_bit_for_bit_from_its_initializer(mobilenet):
    origins = read_metadata(mobilenet.proto).initializers
    arrays = _arrays(mobilenet.proto)
    for variable in mobilenet.keras_model.variables:
        values, origin, array = np.asarray(variable), origins[variable.path], arrays[variable.path]
        turned = [origin.keras_shape[axis] for axis in origin.permutation]
        back = array.reshape(turned).transpose(np.argsort(origin.permutation))
        assert origin.keras_shape == values.shape
        assert f"{origin.layer}/{origin.variable}" == variable.path
        assert back.tobytes() == values.tobytes()
        assert np.transpose(values, origin.permutation).reshape(array.shape).tobytes() == array.tobytes()


def test_there_is_one_initializer_for_each_variable_and_no_other_looks_like_one(mobilenet):
    names = [item.name for item in mobilenet.proto.graph.initializer]
    paths = {variable.path for variable in mobilenet.keras_model.variables}
    assert len(names) == len(set(names))
    assert paths < set(names)
    assert {name for name in names if not name.startswith("const/")} == paths
    assert paths == set(read_metadata(mobilenet.proto).initializers)


def test_the_nodes_are_those_of_the_network_and_one_transpose(mobilenet):
    nodes = mobilenet.proto.graph.node
    assert Counter(node.op_type for node in nodes) == {
        "Conv": 52,
        "BatchNormalization": 52,
        "Clip": 35,
        "Add": 11,
        "Pad": 4,
        "Transpose": 1,
        "GlobalAveragePool": 1,
        "Squeeze": 1,
        "MatMul": 1,
        "Softmax": 1,
    }
    (transpose,) = [node for node in nodes if node.op_type == "Transpose"]
    assert list(transpose.input) == [mobilenet.keras_model.layers[0].name]


def test_each_batch_normalisation_reads_its_own_four_variables(mobilenet):
    for node in mobilenet.proto.graph.node:
        if node.op_type == "BatchNormalization":
            layer = node.name.rpartition("/")[0]
            assert list(node.input[1:]) == [
                f"{layer}/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")
            ]


def test_a_node_is_named_after_its_layer(mobilenet):
    names = {node.name for node in mobilenet.proto.graph.node}
    layers = {layer.name for layer in mobilenet.keras_model.layers}
    assert "block_1_expand/Conv" in names
    assert {name.rpartition("/")[0] for name in names} <= layers
    assert len(names) == len(mobilenet.proto.graph.node)


def test_inputs_and_outputs_keep_their_keras_names_and_an_open_batch(mobilenet):
    (entry,), (result,) = mobilenet.proto.graph.input, mobilenet.proto.graph.output
    sizes = [
        [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim] for value in (entry, result)
    ]
    assert (entry.name, sizes[0]) == (mobilenet.keras_model.layers[0].name, ["batch", 32, 32, 3])
    assert (result.name, sizes[1]) == ("predictions", ["batch", 10])
    assert entry.type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_the_check_found_the_same_outputs(mobilenet):
    assert mobilenet.check.accepted
    assert mobilenet.check.max_error_relative < 1e-5
    assert mobilenet.check.top1_same is True
    assert mobilenet.check.images == 8
    assert mobilenet.check.left_out == ()


def test_the_checker_and_strict_shape_inference_accept_the_model(mobilenet):
    onnx.checker.check_model(mobilenet.proto, full_check=True)
    onnx.shape_inference.infer_shapes(mobilenet.proto, strict_mode=True, data_prop=True)
    assert [(item.domain, item.version) for item in mobilenet.proto.opset_import if item.domain == ""] == [("", 17)]


def test_the_metadata_says_what_made_the_model_and_from_what(mobilenet):
    metadata = read_metadata(mobilenet.proto)
    assert metadata.versions.keys() == {"precbench", "keras", "tensorflow", "tf2onnx", "onnx"}
    assert metadata.versions["precbench"] == __version__
    assert metadata.source == {"a.keras": "sha256:00"}
    assert metadata.preprocessing == {"channels": "rgb"}
    assert metadata.class_names == tuple(f"class {n}" for n in range(10))
    assert metadata.groups == {group: tuple(patterns) for group, patterns in GROUPS.items()}
    assert metadata.initializers["Conv1/kernel"].group == "stem"
    assert metadata.initializers["block_3_expand/kernel"].group == "expand"
    assert metadata.initializers["block_3_depthwise/kernel"].group == "depthwise"
    assert metadata.initializers["bn_Conv1/gamma"].group is None


def test_export_leaves_the_keras_model_as_it_was(mobilenet):
    assert _digest(mobilenet.keras_model) == mobilenet.digest_before


def test_two_exports_of_one_model_are_the_same_bytes(keras, randomise):
    model = randomise(_small(keras))
    first, second = (export_model(model).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_keras_has_its_own_operations_back_afterwards(keras, mobilenet):
    from keras.src import backend

    assert backend.nn.batch_normalization.__module__.startswith("keras.")
    assert backend.nn.conv.__module__.startswith("keras.")
    assert backend.name_scope.__module__.startswith("keras.")


def _small(keras, activation="softmax"):
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation=activation),
        ],
        name="small",
    )


def test_a_variable_that_inference_does_not_use_is_left_out_and_named(keras, tmp_path):
    model = _small(keras)
    check = export_to_file(model, tmp_path / "m.onnx")
    (seed,) = check.left_out
    assert "seed_generator_state" in seed
    assert check.left_out == unused_variables(model, onnx.load(tmp_path / "m.onnx"))


def test_equal_variables_are_not_mistaken_for_one_another(keras):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(4, kernel_initializer="zeros", name="one"),
            keras.layers.Dense(4, kernel_initializer="zeros", name="two"),
        ]
    )
    names = {item.name for item in export_model(model).graph.initializer}
    assert names == {"one/kernel", "one/bias", "two/kernel", "two/bias"}


def test_a_model_that_does_not_match_is_not_left_behind(keras, tmp_path, monkeypatch):
    model = _small(keras)
    honest = export.export_model

    def spoiled(*arguments, **named):
        proto = honest(*arguments, **named)
        item = next(
            item
            for item in proto.graph.initializer
            if item.name.endswith("dense/kernel") or item.name.endswith("/kernel")
        )
        item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item) * np.float32(1.5), item.name))
        return proto

    monkeypatch.setattr(export, "export_model", spoiled)
    target = tmp_path / "m.onnx"
    with pytest.raises(ModelError, match=r"does not match Keras: outputs differ by .* of the largest \(at most 0.0001"):
        export_to_file(model, target)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_there_stays_when_the_export_fails(keras, tmp_path, monkeypatch):
    target = tmp_path / "m.onnx"
    target.write_bytes(b"before")
    model = _small(keras, activation=None)
    model.layers[-1].kernel.assign(np.full(model.layers[-1].kernel.shape, np.nan))
    with pytest.raises(ModelError, match=r"kernel' holds 432 NaN or infinite values of 432\nrepair or train"):
        export_to_file(model, target)
    assert target.read_bytes() == b"before"


def test_a_path_that_cannot_be_written_is_refused(keras, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        export_to_file(_small(keras), tmp_path / "file" / "m.onnx")


def test_a_group_that_matches_nothing_is_refused(keras):
    with pytest.raises(TargetError, match="matches no initializer"):
        export_model(_small(keras), groups={"expand": ["block_*_expand/kernel"]})


def test_a_model_above_two_gigabytes_is_refused(keras, monkeypatch):
    monkeypatch.setattr(export, "MAX_WEIGHT_BYTES", 100)
    with pytest.raises(ModelError, match=r"holds [\d,]+ bytes of weights; one ONNX file takes at most 100"):
        export_model(_small(keras))


def test_a_model_without_declared_inputs_is_refused(keras):
    with pytest.raises(ModelError, match="has no declared inputs"):
        export_model(keras.Sequential([keras.layers.Dense(2)]))


def test_a_half_precision_model_is_refused_with_the_layer(keras):
    entry = keras.Input((4,))
    model = keras.Model(entry, keras.layers.Dense(2, dtype="mixed_float16", name="half")(entry))
    with pytest.raises(ModelError, match="layer 'half' computes in mixed_float16; only float32 models are exported"):
        export_model(model)
