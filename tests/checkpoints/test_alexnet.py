"""One tower, as torchvision counts it; and every variable in the exported model."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from precbench.checkpoints.architectures import build
from precbench.checkpoints.loading import load_model
from precbench.checkpoints.saving import save_checkpoint
from precbench.errors import UsageError

from .conftest import Exported

pytestmark = pytest.mark.slow

GROUPS = {"first": ["conv1/kernel"], "convolutions": ["conv[2-5]/kernel"], "dense": ["fc?/kernel"]}


@pytest.fixture(scope="module")
def small(keras: ModuleType) -> Any:
    return build("AlexNet", input_size=63, classes=10)


@pytest.fixture(scope="module")
def full(keras: ModuleType) -> Any:
    return build("AlexNet", input_size=224, classes=1000)


def test_it_has_the_61100840_parameters_of_torchvision(full: Any) -> None:
    assert full.count_params() == 61_100_840


def test_the_convolutions_have_the_published_shapes_and_the_grid_before_fc6_is_6x6(full: Any) -> None:
    shapes = {n: tuple(full.get_layer(f"conv{n}").output.shape[1:]) for n in range(1, 6)}
    assert shapes == {1: (55, 55, 64), 2: (27, 27, 192), 3: (13, 13, 384), 4: (13, 13, 256), 5: (13, 13, 256)}
    assert tuple(full.get_layer("pool5").output.shape[1:]) == (6, 6, 256)


@pytest.mark.parametrize(("size", "grid"), [(63, 1), (96, 2), (254, 6)])
def test_smaller_images_leave_a_smaller_grid(keras: ModuleType, size: int, grid: int) -> None:
    model = build("AlexNet", input_size=size, classes=2)
    assert tuple(model.get_layer("pool5").output.shape[1:3]) == (grid, grid)
    assert tuple(model.output_shape) == (None, 2)


@pytest.mark.parametrize("size", [0, 62, 255, 5000])
def test_a_size_outside_its_range_is_refused(keras: ModuleType, size: int) -> None:
    with pytest.raises(UsageError, match=f"AlexNet takes 63 to 254 pixels a side, not {size}") as caught:
        build("AlexNet", input_size=size, classes=2)
    assert caught.value.remedy.startswith("choose an input size in that range")


def test_half_of_what_the_dense_layers_see_is_dropped_unless_told_otherwise(small: Any) -> None:
    assert [small.get_layer(f"fc{n}_drop").rate for n in (6, 7)] == [0.5, 0.5]
    other = build("AlexNet", input_size=63, classes=10, dropout=0.1)
    assert [other.get_layer(f"fc{n}_drop").rate for n in (6, 7)] == [0.1, 0.1]


def test_every_variable_that_inference_uses_is_exported_and_groups_are_easy_to_write(
    small: Any, exported_whole: Callable[..., Exported]
) -> None:
    exported = exported_whole(small, GROUPS)
    assert all("seed_generator" in path for path in exported.check.left_out)
    assert Counter(exported.op_types)["Conv"] == 5
    assert Counter(exported.groups) == {"first": 1, "convolutions": 4, "dense": 2, None: 9}


def test_it_loads_back_with_the_tools_own_loader(small: Any, tmp_path: Path) -> None:
    files = save_checkpoint(small, tmp_path)
    for loaded in (load_model(files.architecture, files.weights), load_model(files.model)):
        assert [layer.name for layer in loaded.layers] == [layer.name for layer in small.layers]
        for ours, theirs in zip(loaded.get_weights(), small.get_weights(), strict=True):
            assert (ours == theirs).all()


def test_imagenet_weights_and_a_width_are_refused(keras: ModuleType) -> None:
    with pytest.raises(UsageError, match=r"AlexNet takes no ImageNet weights; they are a\.h5"):
        build("AlexNet", input_size=63, classes=2, weights=Path("a.h5"))
    with pytest.raises(UsageError, match="AlexNet has no width multiplier"):
        build("AlexNet", input_size=63, classes=2, alpha=0.5)
