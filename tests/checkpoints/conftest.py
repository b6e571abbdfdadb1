"""Keras, where it is installed, and weights that make a mix-up show."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

from precbench.checkpoints.tensorflow_quietly import import_keras
from precbench.datasets import Dataset, Splits
from precbench.graph.metadata import assign_groups, read_metadata


@pytest.fixture(scope="session")
def keras() -> ModuleType:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed (pip install 'precbench[keras]')")
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed (pip install 'precbench[keras]')")
    return import_keras()


@pytest.fixture(scope="session")
def randomise() -> Callable[[Any], Any]:
    """Give biases and batch normalisation values that are not 0 and 1; the kernels keep Keras's initial ones."""
    ranges = {
        "moving_variance": (0.5, 2),
        "gamma": (0.5, 1.5),
        "beta": (-0.3, 0.3),
        "bias": (-0.3, 0.3),
        "moving_mean": (-0.3, 0.3),
        "alpha": (0.1, 0.4),
    }

    def apply(model: Any) -> Any:
        random = np.random.default_rng(7)
        for variable in model.variables:
            if variable.name in ranges:
                variable.assign(random.uniform(*ranges[variable.name], variable.shape))
        return model

    return apply


def tiny_network(keras: ModuleType) -> Any:
    """A convolution, a depthwise one and a head, for the images of `noise_splits`."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Conv2D(4, 3, strides=2, use_bias=False, name="Conv1"),
            layers.BatchNormalization(name="bn_Conv1"),
            layers.ReLU(name="relu"),
            layers.DepthwiseConv2D(3, name="block_1_depthwise"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dropout(0.1, name="dropout"),
            layers.Dense(2, activation="softmax", name="predictions"),
        ],
        name="tiny",
    )


def noise_splits(contrast: int) -> Splits:
    """Dark and bright noise: two classes that a tiny model can tell apart, the better the higher the contrast."""
    return Splits(
        train=_noise(50, 0, contrast), validation=_noise(20, 1, contrast), test=_noise(20, 2, contrast), seed=0
    )


def _noise(count: int, seed: int, contrast: int) -> Dataset:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.integers(0, 100, (count, 8, 8, 3)) + contrast * labels[:, None, None, None]
    return Dataset(name="noise", images=images.astype(np.uint8), labels=labels, class_names=("dark", "bright"))


@dataclass(frozen=True)
class Exported:
    check: Any
    op_types: Sequence[str]
    groups: Sequence[str | None]


@pytest.fixture
def exported_whole(randomise: Callable[[Any], Any], tmp_path: Path) -> Callable[..., Exported]:
    """Export a model with groups, and see that every variable is an initializer and the outputs are Keras's."""
    from precbench.checkpoints.export import export_to_file

    def export(model: Any, groups: Mapping[str, Sequence[str]]) -> Exported:
        check = export_to_file(randomise(model), tmp_path / "model.onnx", groups=groups)
        proto = onnx.load(tmp_path / "model.onnx")
        metadata = read_metadata(proto)
        assert metadata is not None
        assert set(metadata.initializers) == {variable.path for variable in model.weights}
        assert check.max_error_relative < 2e-5
        return Exported(
            check=check,
            op_types=[node.op_type for node in proto.graph.node],
            groups=[*assign_groups(metadata.initializers, groups).values()],
        )

    return export
