"""Layers that make an export hard, each in a network of a few layers: all laws hold, and outputs match Keras."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from precbench.checkpoints.export import export_model, export_to_file
from precbench.checkpoints.variables import named_variables
from precbench.errors import ModelError
from precbench.graph.metadata import read_metadata


def _checked(model, path):
    """Export, compare with Keras, check that every initializer leads back to its variable; return the model."""
    check = export_to_file(model, path / "model.onnx")
    proto = onnx.load(path / "model.onnx")
    assert check.max_error_relative < 2e-5
    arrays = {item.name: numpy_helper.to_array(item) for item in proto.graph.initializer}
    origins = read_metadata(proto).initializers
    by_path = {variable.path: variable.values() for variable in named_variables(model)}
    assert {name for name in arrays if not name.startswith("const/")} == origins.keys()
    assert set(by_path) == origins.keys() | set(check.left_out)
    for name, origin in origins.items():
        turned = np.transpose(by_path[name], origin.permutation).reshape(arrays[name].shape)
        assert turned.tobytes() == arrays[name].tobytes()
    return proto


def _types(proto):
    return Counter(node.op_type for node in proto.graph.node)


def _chain(keras, shape, *layers, **named):
    entry = value = keras.Input(shape)
    for layer in layers:
        value = layer(value)
    return keras.Model(entry, value, **named)


def test_a_dense_network_has_its_normalisations_on_rows_as_they_are(keras, randomise, tmp_path):
    layers = keras.layers
    model = randomise(
        _chain(
            keras,
            (20,),
            layers.Dense(16, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(8),
            layers.BatchNormalization(scale=False),
            layers.BatchNormalization(center=False),
            layers.Dense(3),
        )
    )
    assert _types(_checked(model, tmp_path)) == {"MatMul": 3, "Add": 3, "Relu": 1, "BatchNormalization": 3}


def test_a_normalisation_without_scale_or_offset_gets_constants_for_them(keras, randomise, tmp_path):
    model = randomise(
        _chain(
            keras,
            (6, 6, 3),
            keras.layers.Conv2D(4, 3, name="c"),
            keras.layers.BatchNormalization(scale=False, center=False, name="bn"),
        )
    )
    proto = _checked(model, tmp_path)
    (node,) = [node for node in proto.graph.node if node.op_type == "BatchNormalization"]
    assert list(node.input[1:]) == [
        "const/bn/BatchNormalization/scale",
        "const/bn/BatchNormalization/B",
        "bn/moving_mean",
        "bn/moving_variance",
    ]


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_normalisation_over_any_axis_is_one_node(keras, randomise, tmp_path, axis):
    model = randomise(_chain(keras, (4, 5, 6), keras.layers.BatchNormalization(axis=axis), keras.layers.ReLU()))
    assert _types(_checked(model, tmp_path))["BatchNormalization"] == 1


@pytest.mark.parametrize("shape", [(12, 4), (5, 6, 7, 2)], ids=["sequences", "volumes"])
def test_sequences_and_volumes_are_normalised_by_one_node(keras, randomise, tmp_path, shape):
    convolution = keras.layers.Conv1D if len(shape) == 2 else keras.layers.Conv3D
    model = randomise(_chain(keras, shape, convolution(3, 3), keras.layers.BatchNormalization(), keras.layers.ReLU()))
    assert _types(_checked(model, tmp_path))["BatchNormalization"] == 1


def test_separable_and_depthwise_convolutions_keep_each_kernel(keras, randomise, tmp_path):
    model = randomise(
        _chain(
            keras,
            (12, 12, 4),
            keras.layers.SeparableConv2D(8, 3, depth_multiplier=2, name="s"),
            keras.layers.DepthwiseConv2D(3, depth_multiplier=3, strides=2, name="d"),
            keras.layers.PReLU(name="p"),
            keras.layers.GlobalAveragePooling2D(),
        )
    )
    proto = _checked(model, tmp_path)
    shapes = {item.name: list(item.dims) for item in proto.graph.initializer}
    assert shapes["s/depthwise_kernel"] == [8, 1, 3, 3]
    assert shapes["s/pointwise_kernel"] == [8, 8, 1, 1]
    assert shapes["d/kernel"] == [24, 1, 3, 3]
    assert _types(proto)["Conv"] == 3


def test_transposed_dilated_and_grouped_convolutions_match(keras, randomise, tmp_path):
    layers = keras.layers
    model = randomise(
        _chain(
            keras,
            (8, 8, 4),
            layers.Conv2DTranspose(6, 3, strides=2, padding="same"),
            layers.BatchNormalization(),
            layers.UpSampling2D(),
            layers.Conv2D(8, 3, dilation_rate=2),
            layers.Conv2D(8, 3, groups=4),
        )
    )
    proto = _checked(model, tmp_path)
    assert (_types(proto)["ConvTranspose"], _types(proto)["Conv"]) == (1, 2)


def test_other_normalisations_and_an_exact_gelu_match(keras, randomise, tmp_path):
    layers = keras.layers
    _checked(
        randomise(
            _chain(
                keras,
                (8, 8, 4),
                layers.Conv2D(8, 3, activation="gelu"),
                layers.GroupNormalization(4),
                layers.LeakyReLU(),
                layers.LayerNormalization(),
                layers.GlobalMaxPooling2D(),
                layers.Dense(4, activation="gelu"),
            )
        ),
        tmp_path,
    )


def test_squeeze_and_excitation_takes_no_detour(keras, randomise, tmp_path):
    layers = keras.layers
    entry = keras.Input((8, 8, 4))
    value = layers.Conv2D(8, 3)(entry)
    weight = layers.Reshape((1, 1, 8))(layers.GlobalAveragePooling2D()(value))
    weight = layers.Conv2D(8, 1, activation="sigmoid")(layers.Conv2D(2, 1, activation="swish")(weight))
    model = randomise(keras.Model(entry, layers.GlobalAveragePooling2D()(layers.Multiply()([value, weight]))))
    types = _types(_checked(model, tmp_path))
    assert (types["Transpose"], types["Reshape"]) == (1, 0)


def test_zero_padding_before_a_max_pooling_counts_as_zero(keras, tmp_path):
    """ONNX Runtime's Pad_Fusion would make it minus infinity, which shows where all values are negative."""
    layers = keras.layers
    negative = layers.Conv2D(2, 1, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(-1))
    model = _chain(keras, (6, 6, 1), negative, layers.ZeroPadding2D(1), layers.MaxPooling2D(3, strides=2))
    proto = _checked(model, tmp_path)
    assert _types(proto)["Pad"] == 1
    assert "const/float32/1.17549435e-38" in {item.name for item in proto.graph.initializer}


def test_the_padding_after_a_relu_is_left_at_zero(keras, tmp_path):
    layers = keras.layers
    model = _chain(
        keras, (6, 6, 1), layers.Conv2D(2, 1), layers.ReLU(), layers.ZeroPadding2D(1), layers.MaxPooling2D(3)
    )
    assert not any("e-38" in item.name for item in _checked(model, tmp_path).graph.initializer)


def test_a_shared_layer_has_each_variable_once(keras, randomise, tmp_path):
    layers = keras.layers
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    convolution, normalise = layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization(name="bn")
    ends = [layers.GlobalAveragePooling2D()(normalise(convolution(entry))) for entry in (left, right)]
    proto = _checked(randomise(keras.Model([left, right], layers.Subtract(name="gap")(ends))), tmp_path)
    assert (_types(proto)["Conv"], _types(proto)["BatchNormalization"]) == (2, 2)
    assert [value.name for value in proto.graph.input] == ["left", "right"]
    assert [item.name for item in proto.graph.initializer][:2] == ["conv/kernel", "conv/bias"]


def test_a_variable_used_in_two_layouts_keeps_keras_own(keras, tmp_path):
    class Tied(keras.layers.Layer):
        def build(self, _shape):
            self.table = self.add_weight(shape=(6, 4), name="table", initializer="glorot_uniform")

        def call(self, value):
            return keras.ops.matmul(keras.ops.matmul(value, self.table), keras.ops.transpose(self.table))

    proto = _checked(_chain(keras, (6,), Tied(name="tied")), tmp_path)
    (item,) = [item for item in proto.graph.initializer if item.name == "tied/table"]
    assert list(item.dims) == [6, 4]
    assert read_metadata(proto).initializers["tied/table"].permutation == (0, 1)


def test_arithmetic_on_a_variable_stays_in_the_graph(keras, tmp_path):
    class Scaled(keras.layers.Layer):
        def build(self, _shape):
            self.scale = self.add_weight(shape=(1,), name="scale", initializer="ones")

        def call(self, value):
            return value * (self.scale * 3.0 - 1.0)

    proto = _checked(_chain(keras, (6,), Scaled(name="scaled")), tmp_path)
    assert "scaled/scale" in {item.name for item in proto.graph.initializer}


def test_branches_made_from_one_architecture_are_told_apart(keras, randomise, tmp_path):
    def branch(name):
        return _chain(
            keras,
            (8, 8, 3),
            keras.layers.Conv2D(4, 3, name="conv"),
            keras.layers.BatchNormalization(name="bn"),
            keras.layers.GlobalAveragePooling2D(),
            name=name,
        )

    entry = keras.Input((8, 8, 3))
    joined = keras.layers.Concatenate()([branch("left")(entry), branch("right")(entry)])
    names = {item.name for item in _checked(randomise(keras.Model(entry, joined)), tmp_path).graph.initializer}
    assert {"left/conv/kernel", "right/conv/kernel", "left/bn/gamma", "right/bn/gamma"} <= names


def test_a_nested_model_of_its_own_keeps_the_paths_of_its_layers(keras, tmp_path):
    base = _chain(keras, (8, 8, 3), keras.layers.Conv2D(4, 3, name="stem"), keras.layers.Flatten(), name="base")
    model = keras.Sequential([keras.Input((8, 8, 3)), base, keras.layers.Dense(2, name="head")], name="whole")
    names = {item.name for item in _checked(model, tmp_path).graph.initializer}
    assert {"stem/kernel", "stem/bias", "head/kernel", "head/bias"} <= names


def test_several_inputs_and_outputs_keep_their_order_and_names(keras, tmp_path):
    layers = keras.layers
    image, facts = keras.Input((8, 8, 3), name="image"), keras.Input((5,), name="facts")
    row = layers.Dense(4)(facts)
    joined = layers.Concatenate()([layers.Flatten()(layers.Conv2D(4, 3)(image)), row])
    model = keras.Model([facts, image], [layers.Dense(3, name="classes")(joined), layers.Dense(1, name="age")(row)])
    proto = _checked(model, tmp_path)
    assert [value.name for value in proto.graph.input] == ["facts", "image"]
    assert [value.name for value in proto.graph.output] == ["classes", "age"]


def test_inputs_and_outputs_in_dictionaries_match(keras, tmp_path):
    layers = keras.layers
    image, facts = keras.Input((4, 4, 3), name="image"), keras.Input((5,), name="facts")
    ends = {"z": layers.Dense(2, name="first")(layers.Flatten()(image)), "a": layers.Dense(3, name="second")(facts)}
    proto = _checked(keras.Model({"image": image, "facts": facts}, ends), tmp_path)
    assert {value.name for value in proto.graph.output} == {"first", "second"}


def test_an_output_that_is_used_inside_and_one_of_an_input_name_match(keras, tmp_path):
    layers = keras.layers
    entry = keras.Input((6, 6, 3), name="x")
    value = layers.Conv2D(4, 3, name="c")(entry)
    ends = [value, layers.Activation("linear", name="same")(value), layers.Flatten(name="f")(value)]
    model = keras.Model(entry, ends)
    assert [value.name for value in _checked(model, tmp_path).graph.output] == ["c", "same", "f"]


def test_rescaling_and_normalisation_at_the_input_become_constants(keras, tmp_path):
    normalise = keras.layers.Normalization(name="norm")
    normalise.adapt(np.random.default_rng(0).normal(3, 2, (50, 6, 6, 3)).astype("float32"))
    model = _chain(keras, (6, 6, 3), normalise, keras.layers.Rescaling(1 / 127.5, offset=-1), keras.layers.Conv2D(2, 3))
    proto = _checked(model, tmp_path)
    assert all(origin.layer.startswith("conv2d") for origin in read_metadata(proto).initializers.values())


def test_an_open_image_size_and_a_fixed_batch_are_kept(keras, tmp_path):
    layers = keras.layers
    entry = keras.Input((None, None, 3), name="image")
    model = keras.Model(entry, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, strides=2, padding="same")(entry)))
    (value,) = _checked(model, tmp_path).graph.input
    assert [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim] == [
        "batch",
        "image_1",
        "image_2",
        3,
    ]

    entry = keras.Input(batch_shape=(4, 6, 6, 3), name="image")
    model = keras.Model(entry, layers.Flatten()(layers.Conv2D(2, 3)(entry)))
    (value,) = _checked(model, tmp_path).graph.input
    assert [size.dim_value for size in value.type.tensor_type.shape.dim] == [4, 6, 6, 3]


def test_attention_and_embedding_match(keras, tmp_path):
    layers = keras.layers
    entry = keras.Input((6,), dtype="int32")
    value = layers.Embedding(20, 8, name="words")(entry)
    value = layers.MultiHeadAttention(2, 4, name="mha")(value, value)
    names = {item.name for item in _checked(keras.Model(entry, layers.Flatten()(value)), tmp_path).graph.initializer}
    assert {"words/embeddings", "mha/query/kernel", "mha/attention_output/bias"} <= names


def test_names_that_no_graph_takes_are_kept_for_variables(keras, tmp_path):
    model = _chain(keras, (6, 6, 3), keras.layers.Conv2D(2, 3, name="my conv:1"), keras.layers.Flatten())
    assert "my conv:1/kernel" in {item.name for item in _checked(model, tmp_path).graph.initializer}


def test_an_operation_that_onnx_lacks_is_named(keras):
    model = _chain(keras, (6, 4), keras.layers.LSTM(5))
    with pytest.raises(ModelError, match="uses operations that ONNX does not have: TensorListReserve"):
        export_model(model)


def test_what_tf2onnx_cannot_convert_is_said_with_its_reason(keras, monkeypatch):
    from tf2onnx import tfonnx

    def failing(*arguments, **named):
        raise ValueError("no such thing")

    monkeypatch.setattr(tfonnx, "process_tf_graph", failing)
    with pytest.raises(ModelError, match=r"tf2onnx cannot convert the model \(ValueError: no such thing\)"):
        export_model(_chain(keras, (4,), keras.layers.Dense(2)))


def test_a_variable_of_whole_numbers_is_refused(keras):
    class Counting(keras.layers.Layer):
        def build(self, _shape):
            self.steps = self.add_weight(shape=(1,), name="steps", dtype="int32", initializer="ones", trainable=False)

        def call(self, value):
            return value * keras.ops.cast(self.steps, "float32")

    with pytest.raises(ModelError, match="variable 'counting/steps' is int32; only float32 models are exported"):
        export_model(_chain(keras, (4,), Counting(name="counting")))


def test_a_lookup_table_is_refused(keras):
    entry = keras.Input((1,), dtype="int32")
    lookup = keras.layers.IntegerLookup(vocabulary=[3, 5, 7], output_mode="one_hot")
    with pytest.raises(ModelError, match="which is no array"):
        export_model(keras.Model(entry, keras.layers.Dense(2)(lookup(entry))))


@pytest.mark.slow
def test_exporting_a_model_again_gives_the_same_bytes(keras):
    model = keras.applications.MobileNetV2(weights=None, alpha=0.35, input_shape=(32, 32, 3), classes=4)
    first = export_model(model).SerializeToString(deterministic=True)
    assert all(export_model(model).SerializeToString(deterministic=True) == first for _ in range(3))
