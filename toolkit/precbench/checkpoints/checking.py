"""Does an exported model compute what the Keras model computes?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.checkpoints.tensorflow_quietly import import_keras, import_quietly
from precbench.checkpoints.tracing import input_structure, keras_names
from precbench.errors import DataError, ModelError
from precbench.runtime import SessionSettings, open_session, predict

MAX_INPUT_ELEMENTS = 1 << 28
ERROR_LIMIT = 1e-4
_BATCH_IMAGES = 32
_UNKNOWN_SIZE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportCheck:
    """An exported model beside the Keras model that it was made from.

    Attributes:
        max_error_relative: largest difference of an output element, as a share of the largest magnitude in that
            output; of the worst output.
        top1_same: whether no image changed its class, ties of Keras's own aside; None where the model is no
            classifier (several outputs, or one that is not [batch, classes]).
        images: how many images (rows of the inputs) were compared.
        left_out: variables of the Keras model that inference does not use and that are therefore not in the file.
    """

    max_error_relative: float
    top1_same: bool | None
    images: int
    left_out: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether the error is at most 1e-4 and no image changed its class."""
        return self.max_error_relative <= ERROR_LIMIT and self.top1_same is not False


def check_export(model: Any, onnx_path: Path, inputs: Mapping[str, NDArray[Any]] | NDArray[Any]) -> ExportCheck:
    """Run both models on the same inputs, on the CPU, and compare their outputs.

    Args:
        model: the Keras model.
        onnx_path: the exported file.
        inputs: one array, [images, height, width, channels] as the model wants it, or an array for each input by its
            name; float32.

    Raises:
        DataError: an input is missing, is not one of the model's, or the inputs hold different numbers of images.
        ModelError: Keras's own outputs are not finite, so that nothing can be compared.
    """
    arrays = _by_position(model, inputs)
    expected = _run_keras(model, arrays)
    if not all(np.isfinite(output).all() for output in expected):
        raise ModelError(
            "the Keras model's own outputs hold NaN or infinity for the check inputs",
            "check the model's weights, or give other check inputs",
        )
    actual = _run_onnx(onnx_path, dict(zip(keras_names(model.inputs), arrays, strict=True)), _batch(model))
    errors = [_error_relative(one, other) for one, other in zip(expected, actual, strict=True)]
    return ExportCheck(max_error_relative=max(errors), top1_same=_top1_same(expected, actual), images=len(arrays[0]))


def seeded_check_inputs(model: Any, *, images: int = 8, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return inputs drawn uniformly from [-1, 1) (whole numbers 0 and 1 for integer inputs), by input name.

    Raises:
        ModelError: the model's inputs are larger than memory should hold.
    """
    random = np.random.default_rng(seed)
    rows = _fixed_batch(model) or images
    drawn = {}
    for name, tensor in zip(keras_names(model.inputs), model.inputs, strict=True):
        shape = (rows, *(_UNKNOWN_SIZE if size is None else int(size) for size in tensor.shape[1:]))
        if math.prod(shape) > MAX_INPUT_ELEMENTS:
            raise ModelError(
                f"{rows} inputs of the shape {shape[1:]} are {math.prod(shape):,} numbers; at most "
                f"{MAX_INPUT_ELEMENTS:,} are drawn to check an export",
                "give one input with --check-data",
            )
        values = random.uniform(-1, 1, shape) if "float" in tensor.dtype else random.integers(0, 2, shape)
        drawn[name] = values.astype(tensor.dtype)
    return drawn


def _by_position(model: Any, inputs: Mapping[str, NDArray[Any]] | NDArray[Any]) -> list[NDArray[Any]]:
    names = keras_names(model.inputs)
    by_name = dict(inputs) if isinstance(inputs, Mapping) else {names[0]: inputs}
    if by_name.keys() != set(names):
        raise DataError(
            f"the check inputs are {', '.join(sorted(by_name)) or 'none'}; the model's are {', '.join(names)}",
            "give one array for each input of the model, by its name",
        )
    arrays = [np.asarray(by_name[name]) for name in names]
    shapes = ", ".join(str(array.shape) for array in arrays)
    if any(array.ndim == 0 or len(array) != len(arrays[0]) or len(array) == 0 for array in arrays):
        raise DataError(
            f"the check inputs have the shapes {shapes}", "give every input the same number of images, at least one"
        )
    wanted = ", ".join(str(tuple(tensor.shape)) for tensor in model.inputs)
    if not all(_fits(array, tensor) for array, tensor in zip(arrays, model.inputs, strict=True)):
        raise DataError(
            f"the check inputs have the shapes {shapes}; the model wants {wanted}",
            "give images of the model's size, channels last, as float32",
        )
    return [array.astype(tensor.dtype) for array, tensor in zip(arrays, model.inputs, strict=True)]


def _fits(array: NDArray[Any], tensor: Any) -> bool:
    """Whether an array has the sizes that the model declares; the batch is cut later."""
    return array.ndim == len(tensor.shape) and all(
        wanted is None or size == wanted for size, wanted in zip(array.shape[1:], tensor.shape[1:], strict=True)
    )


def _run_keras(model: Any, arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
    keras, tensorflow = import_keras(), import_quietly("tensorflow")
    batch = _batch(model)
    pieces = []
    with tensorflow.device("/cpu:0"):  # a GPU would compute in TF32
        for start in range(0, len(arrays[0]), batch):
            rows = [tensorflow.constant(array[start : start + batch]) for array in arrays]
            outputs = model(keras.tree.pack_sequence_as(input_structure(model), rows), training=False)
            pieces.append([np.asarray(output) for output in keras.tree.flatten(outputs)])
    return [np.concatenate(output) for output in zip(*pieces, strict=True)]


def _run_onnx(path: Path, feeds: Mapping[str, NDArray[Any]], batch: int) -> list[NDArray[Any]]:
    session = open_session(path, SessionSettings(provider="cpu"))
    outputs = predict(session, feeds, batch=batch)
    return [outputs[spec.name] for spec in session.outputs]


def _batch(model: Any) -> int:
    return _fixed_batch(model) or _BATCH_IMAGES


def _fixed_batch(model: Any) -> int | None:
    sizes = [tensor.shape[0] for tensor in model.inputs if tensor.shape and tensor.shape[0] is not None]
    return int(sizes[0]) if sizes else None


def _error_relative(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    """The largest difference over the largest magnitude; infinite where shapes differ or `actual` is not finite."""
    if expected.shape != actual.shape or not np.isfinite(actual).all():
        return float("inf")
    difference = float(np.max(np.abs(actual.astype(np.float64) - expected.astype(np.float64)), initial=0))
    magnitude = float(np.max(np.abs(expected), initial=0))
    if difference == 0:
        return 0.0
    return difference / magnitude if magnitude else float("inf")


def _top1_same(expected: list[NDArray[Any]], actual: list[NDArray[Any]]) -> bool | None:
    """Whether every image whose two best classes Keras tells apart by more than the error limit keeps its class."""
    if len(expected) != 1 or expected[0].ndim != 2 or expected[0].shape[1] < 2:
        return None
    if expected[0].shape != actual[0].shape:
        return False
    ordered = np.sort(expected[0], axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > ERROR_LIMIT * np.max(np.abs(expected[0]))
    same = expected[0].argmax(axis=1) == actual[0].argmax(axis=1)
    return bool(np.all(same | ~clear))
