"""Inception v1, counted against two publications; and every variable in the exported model."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from precbench.checkpoints.architectures import build
from precbench.checkpoints.loading import load_model
from precbench.checkpoints.saving import save_checkpoint
from precbench.errors import UsageError

from .conftest import Exported

pytestmark = pytest.mark.slow

GROUPS = {
    "stem": ["conv1_7x7/kernel", "conv2_3x3*/kernel"],
    "reduce": ["inception_*_reduce/kernel"],
    "3x3": ["inception_*_3x3/kernel"],
    "5x5": ["inception_*_5x5/kernel"],
    "1x1": ["inception_*_1x1/kernel"],
    "projection": ["inception_*_pool_proj/kernel"],
}


@pytest.fixture(scope="module")
def full(keras: ModuleType) -> Any:
    return build("GoogLeNet", input_size=224, classes=1000)


@pytest.fixture(scope="module")
def small(keras: ModuleType) -> Any:
    return build("GoogLeNet", input_size=32, classes=10)


def _elements(model: Any, word: str) -> int:
    return sum(int(np.prod(each.shape)) for each in model.weights if each.path.endswith(f"/{word}"))


def test_kernels_biases_and_head_are_the_6998552_parameters_of_2014(full: Any) -> None:
    """The count of BVLC's Caffe model; a bias there is the beta of a batch normalisation here."""
    assert _elements(full, "kernel") + _elements(full, "beta") + _elements(full, "bias") == 6_998_552


def test_with_3x3_in_place_of_5x5_it_has_the_6624904_parameters_of_torchvision(full: Any) -> None:
    trainable = sum(int(np.prod(each.shape)) for each in full.trainable_weights)
    fives = [each for each in full.weights if each.path.endswith("_5x5/kernel")]
    assert len(fives) == 9
    assert trainable - sum((25 - 9) * int(np.prod(each.shape[2:])) for each in fives) == 6_624_904


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("pool1", (56, 56, 64)),
        ("pool2", (28, 28, 192)),
        ("inception_3a_output", (28, 28, 256)),
        ("inception_3b_output", (28, 28, 480)),
        ("inception_4a_output", (14, 14, 512)),
        ("inception_4d_output", (14, 14, 528)),
        ("inception_4e_output", (14, 14, 832)),
        ("inception_5b_output", (7, 7, 1024)),
    ],
)
def test_the_layers_have_the_shapes_of_the_papers_table_1(full: Any, layer: str, shape: tuple[int, ...]) -> None:
    assert tuple(full.get_layer(layer).output.shape[1:]) == shape


@pytest.mark.parametrize("size", [31, 0, -1])
def test_a_size_that_is_too_small_is_refused(keras: ModuleType, size: int) -> None:
    with pytest.raises(UsageError, match=f"GoogLeNet takes at least 32 pixels a side, not {size}") as caught:
        build("GoogLeNet", input_size=size, classes=2)
    assert caught.value.remedy.startswith("choose a larger input size")


def test_momentum_and_dropout_are_settings_and_the_papers_dropout_the_default(small: Any) -> None:
    assert small.get_layer("dropout").rate == 0.4
    other = build("GoogLeNet", input_size=32, classes=10, dropout=0.2, bn_momentum=0.9)
    assert other.get_layer("dropout").rate == 0.2
    assert other.get_layer("inception_5b_5x5_bn").momentum == 0.9


def test_every_variable_that_inference_uses_is_exported_and_groups_are_easy_to_write(
    small: Any, exported_whole: Callable[..., Exported]
) -> None:
    exported = exported_whole(small, GROUPS)
    assert exported.check.top1_same is True
    kinds = Counter(exported.op_types)
    assert (kinds["Conv"], kinds["BatchNormalization"], kinds["Concat"]) == (57, 57, 9)
    groups = Counter(exported.groups)
    assert {name: groups[name] for name in GROUPS} == {
        "stem": 3, "reduce": 18, "3x3": 9, "5x5": 9, "1x1": 9, "projection": 9
    }  # fmt: skip


def test_it_loads_back_with_the_tools_own_loader(small: Any, tmp_path: Path) -> None:
    files = save_checkpoint(small, tmp_path)
    for loaded in (load_model(files.architecture, files.weights), load_model(files.model)):
        assert [layer.name for layer in loaded.layers] == [layer.name for layer in small.layers]
        for ours, theirs in zip(loaded.get_weights(), small.get_weights(), strict=True):
            assert (ours == theirs).all()
