import numpy as np
import pytest

from precbench.checkpoints import checking
from precbench.checkpoints.checking import ExportCheck, check_export, seeded_check_inputs
from precbench.checkpoints.export import export_to_file
from precbench.errors import DataError, ModelError


@pytest.fixture(scope="module")
def pair(keras, tmp_path_factory):
    entry = keras.Input((6, 6, 3), name="image")
    value = keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(entry))
    model = keras.Model(entry, keras.layers.Dense(3)(value))
    path = tmp_path_factory.mktemp("check") / "m.onnx"
    export_to_file(model, path)
    return model, path


def test_one_array_or_a_named_one_may_be_given(pair):
    images = np.random.default_rng(0).uniform(-1, 1, (40, 6, 6, 3)).astype(np.float32)
    check = check_export(*pair, images)
    assert check == check_export(*pair, {"image": images})
    assert (check.images, check.top1_same, check.accepted) == (40, True, True)
    assert check.max_error_relative < 1e-5


def test_inputs_of_another_name_are_refused_with_the_models(pair):
    with pytest.raises(DataError, match="the check inputs are picture; the model's are image"):
        check_export(*pair, {"picture": np.zeros((1, 6, 6, 3), np.float32)})


def test_inputs_of_another_size_are_refused_with_both_shapes(pair):
    with pytest.raises(DataError, match=r"have the shapes \(2, 3, 6, 6\); the model wants \(None, 6, 6, 3\)"):
        check_export(*pair, np.zeros((2, 3, 6, 6), np.float32))


def test_no_images_are_refused(pair):
    with pytest.raises(DataError, match=r"have the shapes \(0, 6, 6, 3\)"):
        check_export(*pair, np.zeros((0, 6, 6, 3), np.float32))


def test_a_keras_model_without_finite_outputs_cannot_be_compared(pair):
    with pytest.raises(ModelError, match="the Keras model's own outputs hold NaN or infinity"):
        check_export(*pair, np.full((1, 6, 6, 3), np.nan, np.float32))


def test_seeded_inputs_are_the_same_each_time_and_fit_the_model(pair):
    first, second = seeded_check_inputs(pair[0]), seeded_check_inputs(pair[0])
    assert first["image"].shape == (8, 6, 6, 3)
    assert first["image"].dtype == np.float32
    assert np.array_equal(first["image"], second["image"])
    assert not np.array_equal(first["image"], seeded_check_inputs(pair[0], seed=1)["image"])


@pytest.mark.parametrize(
    ("error", "same", "accepted"),
    [(1e-4, True, True), (1.01e-4, True, False), (0.0, False, False), (0.0, None, True), (float("inf"), None, False)],
)
def test_a_check_is_accepted_up_to_its_limit(error, same, accepted):
    assert ExportCheck(max_error_relative=error, top1_same=same, images=1).accepted is accepted


def test_a_change_between_classes_that_keras_cannot_tell_apart_is_no_change():
    keras_says = [np.array([[1.0, 1.0 + 5e-5, 0.0]])]
    onnx_says = [np.array([[1.0 + 6e-5, 1.0, 0.0]])]
    assert checking._top1_same(keras_says, onnx_says) is True


def test_a_change_between_classes_that_keras_tells_apart_is_one():
    assert checking._top1_same([np.array([[1.0, 1.1, 0.0]])], [np.array([[1.1, 1.0, 0.0]])]) is False


@pytest.mark.parametrize(
    "outputs",
    [[np.zeros((2, 4, 4, 3))], [np.zeros((2, 1))], [np.zeros((2, 3))] * 2],
    ids=["an image", "one number", "two outputs"],
)
def test_top1_is_not_asked_of_what_is_no_classifier(outputs):
    assert checking._top1_same(outputs, outputs) is None


def test_the_error_is_relative_to_the_largest_magnitude():
    assert checking._error_relative(np.array([4.0, -8.0]), np.array([4.0, -8.4])) == pytest.approx(0.05)
    assert checking._error_relative(np.zeros(2), np.zeros(2)) == 0
    assert checking._error_relative(np.zeros(2), np.ones(2)) == float("inf")
    assert checking._error_relative(np.ones(2), np.array([1, np.nan])) == float("inf")
    assert checking._error_relative(np.ones(2), np.ones(3)) == float("inf")
