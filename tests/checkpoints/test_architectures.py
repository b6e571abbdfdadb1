from types import ModuleType
from typing import Any

import numpy as np
import pytest

from precbench.checkpoints.architectures import build, set_bn_momentum
from precbench.errors import UsageError


@pytest.fixture(scope="module")
def mobilenet(keras: ModuleType) -> Any:
    return build("MobileNetV2", input_size=32, classes=10, bn_momentum=0.9, seed=3)


def _kernel_elements(model: Any) -> dict[str, int]:
    """Return the size of each layer's kernel."""
    return {
        variable.path.split("/")[0]: int(np.prod(variable.shape))
        for variable in model.variables
        if variable.path.endswith("/kernel")
    }


def test_mobilenetv2_has_the_papers_2202560_kernel_elements(mobilenet: Any) -> None:
    assert sum(_kernel_elements(mobilenet).values()) == 2_202_560


def test_the_papers_five_groups_hold_2188960_of_them(mobilenet: Any) -> None:
    sizes = _kernel_elements(mobilenet)
    grouped = [name for name in sizes if name in ("Conv1", "Conv_1") or name.startswith("block_")]
    assert sum(sizes[name] for name in grouped) == 2_188_960


def test_the_layers_have_the_names_of_keras_applications(mobilenet: Any) -> None:
    names = [layer.name for layer in mobilenet.layers]
    assert {"Conv1", "bn_Conv1", "expanded_conv_depthwise", "block_1_expand", "block_16_project", "Conv_1"} <= {*names}
    assert names[-1] == "predictions"
    assert tuple(mobilenet.output_shape) == (None, 10)


def test_the_momentum_is_set_on_all_52_batch_normalisations_and_is_part_of_the_architecture(mobilenet: Any) -> None:
    layers = [layer for layer in mobilenet.layers if type(layer).__name__ == "BatchNormalization"]
    assert [layer.get_config()["momentum"] for layer in layers] == [0.9] * 52


def test_the_same_arguments_give_the_same_model_whatever_was_built_before(keras: ModuleType, mobilenet: Any) -> None:
    again = build("MobileNetV2", input_size=32, classes=10, bn_momentum=0.9, seed=3)
    assert [variable.path for variable in again.variables] == [variable.path for variable in mobilenet.variables]
    assert [layer.name for layer in again.layers] == [layer.name for layer in mobilenet.layers]
    for ours, theirs in zip(again.get_weights(), mobilenet.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


def test_another_seed_gives_other_weights(mobilenet: Any) -> None:
    other = build("MobileNetV2", input_size=32, classes=10, seed=4)
    assert not np.array_equal(other.get_weights()[0], mobilenet.get_weights()[0])


def test_alpha_narrows_a_mobilenet(keras: ModuleType) -> None:
    assert build("MobileNetV2", input_size=32, classes=2, alpha=0.35).get_layer("Conv1").kernel.shape == (3, 3, 3, 16)


def test_without_a_momentum_the_architectures_own_stays(keras: ModuleType) -> None:
    model = build("MobileNetV2", input_size=32, classes=2, alpha=0.35)
    assert model.get_layer("bn_Conv1").momentum == 0.999


def test_momentum_reaches_nested_models(keras: ModuleType) -> None:
    inner = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    outer = keras.Sequential([keras.Input((4,)), inner, keras.layers.BatchNormalization()])
    assert set_bn_momentum(outer, 0.5) == 2
    assert inner.layers[0].momentum == 0.5


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("mobilenetv2", "MobileNetV2"), ("ResNet5O", "ResNet50"), ("vgg_16", "VGG16"), ("GoogleNet", "GoogLeNet")],
)
def test_an_unknown_architecture_is_refused_with_the_nearest(keras: ModuleType, name: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"the architecture '{name}' is unknown") as caught:
        build(name, input_size=32, classes=10)
    assert f" {nearest}" in caught.value.remedy
    assert caught.value.remedy.startswith("the nearest")


def test_a_name_like_no_architecture_is_refused_without_a_guess(keras: ModuleType) -> None:
    with pytest.raises(UsageError) as caught:
        build("##", input_size=32, classes=10)
    assert caught.value.remedy.startswith("known are ")
    assert caught.value.remedy.endswith("choose a model of keras.applications, AlexNet or GoogLeNet")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"classes": 1}, "number of classes is 1; it must be at least 2"),
        ({"alpha": 0.0}, r"alpha is 0\.0; it must be over 0"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"bn_momentum": 1.0}, r"batch normalisation is 1\.0; it must lie between 0 and 1"),
        ({"seed": -1}, "the seed -1 is outside 0 to 4294967295"),
    ],
)
def test_an_argument_outside_its_limits_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        build("MobileNetV2", **{"input_size": 32, "classes": 10, **change})


def test_alpha_is_refused_for_an_architecture_without_it(keras: ModuleType) -> None:
    with pytest.raises(UsageError, match=r"VGG16 has no width multiplier; alpha is 0\.5"):
        build("VGG16", input_size=32, classes=10, alpha=0.5)


@pytest.mark.parametrize("size", [8, 0, -3])
def test_an_input_that_is_too_small_is_refused(keras: ModuleType, size: int) -> None:
    with pytest.raises(UsageError, match=f"InceptionV3 cannot be built for {size} x {size} pixels") as caught:
        build("InceptionV3", input_size=size, classes=10)
    assert "larger input size" in caught.value.remedy
