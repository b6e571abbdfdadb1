"""Keras, where it is installed, and weights that make a mix-up show."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from precbench.checkpoints.tensorflow_quietly import import_keras


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
