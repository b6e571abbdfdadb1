"""Train a classifier, and write it as the paper's pair, with a `.keras` file and its history beside it."""

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.checkpoints.architectures import set_bn_momentum
from precbench.checkpoints.tensorflow_quietly import import_keras, import_quietly
from precbench.datasets import Dataset, Preprocessing, Splits
from precbench.errors import DataError, ModelError, UsageError
from precbench.files import write_atomically, write_text
from precbench.progress import SILENT, Progress

_VALIDATION_BATCH = 256
_HDF5_HEADER_BYTES = 64512  # an HDF5 attribute does not hold more; Keras splits longer lists in the same way


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How to train: AdamW, cosine decay to zero, random shifts.

    The defaults were chosen on the digits, by validation accuracy alone.

    Args:
        epochs: at least 1.
        batch_size: images per step, at least 1; an incomplete last batch of an epoch is left out.
        learning_rate: at the first step, over 0.
        weight_decay: of AdamW, at least 0.
        bn_momentum: of every batch normalisation, over 0 and under 1.
        shift_pixels: each training image moves by up to so many pixels each way, black moving in; at least 0.
        seed: of the order, the shifts and dropout; 0 to 2^32 - 1.

    Raises:
        UsageError: a value is outside its limits.
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    bn_momentum: float = 0.9
    shift_pixels: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the limits."""
        limits = {
            "epochs": self.epochs >= 1,
            "batch_size": self.batch_size >= 1,
            "learning_rate": 0 < self.learning_rate < math.inf,
            "weight_decay": 0 <= self.weight_decay < math.inf,
            "bn_momentum": 0 < self.bn_momentum < 1,
            "shift_pixels": self.shift_pixels >= 0,
            "seed": 0 <= self.seed < 2**32,
        }
        for name, fits in limits.items():
            if not fits:
                raise UsageError(
                    f"the training's {name} is {getattr(self, name)}, outside its limits",
                    "leave it out for the default, or choose a value that the documentation allows",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What one epoch gave; accuracies are shares of 1, losses are mean cross-entropies in nats.

    Training figures are means over the epoch's batches while the weights move; `learning_rate` and the validation
    figures are those at its end; `elapsed_seconds` is counted from the start of the training.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    elapsed_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """A trained model, not compiled, with the weights of `kept_epoch`, and the record of every epoch."""

    model: Any
    history: tuple[Epoch, ...]
    kept_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFiles:
    """Where `save_checkpoint` wrote what."""

    architecture: Path
    weights: Path
    model: Path
    history: Path


def train(
    model: Any,
    splits: Splits,
    preprocessing: Preprocessing,
    training: Training,
    *,
    clock: Callable[[], float] = time.perf_counter,
    progress: Progress = SILENT,
) -> Trained:
    """Train a copy of a Keras classifier; the model given is not modified.

    The law: on one machine with one thread count, the same arguments give the same weights bit for bit
    (TensorFlow's deterministic operations are switched on for the whole process, which cost no time that we could
    measure). The kept epoch is the one with the best validation accuracy; of equals, the one with the lowest
    validation loss, then the latest. The test part is never read.

    Args:
        model: a `keras.Model` with one image input and one softmax output of [n, classes].
        splits: labelled images; `train` to fit and `validation` to choose.
        preprocessing: from these images to the model's input.
        training: how.
        clock: seconds, for the record only.
        progress: told of every batch.

    Raises:
        DataError: a part has no labels, or fewer images than one batch needs.
        ModelError: the model does not take these images or classes, or the loss is not finite.
    """
    train_labels = _labels(splits.train)
    _check_model(model, preprocessing, classes=len(splits.train.class_names))
    batch = min(training.batch_size, len(splits.train))
    steps = len(splits.train) // batch
    keras = import_keras()
    worker = _prepare(keras, model, training, steps)
    validation = _Validation(worker, preprocessing.apply(splits.validation.images), _labels(splits.validation))
    rng = np.random.default_rng(training.seed)
    history: list[Epoch] = []
    kept_epoch, kept_weights = 0, worker.get_weights()
    start = clock()
    with progress.track("training", training.epochs * steps) as advance:
        for number in range(1, training.epochs + 1):
            batches = _batches(splits.train.images, train_labels, batch, training.shift_pixels, rng)
            fitted = _fit(worker, preprocessing, batches, number, advance)
            history.append(_record(number, worker, fitted, validation(), clock() - start))
            if _rank(history[-1]) == max(map(_rank, history)):
                kept_epoch, kept_weights = number, worker.get_weights()
    trained = _copy(keras, model, training)
    trained.set_weights(kept_weights)
    return Trained(model=trained, history=tuple(history), kept_epoch=kept_epoch)


def save_checkpoint(model: Any, folder: Path, history: Sequence[Epoch] = ()) -> CheckpointFiles:
    """Write `architecture.json`, `weights.h5`, `model.keras` and `history.csv` into a folder, each atomically.

    The law: the pair and the `.keras` file both load back with every variable bit for bit. `weights.h5` has the
    layout that Keras 2 wrote and Keras 3 still reads, with one group per layer, so that a kernel is found at
    `block_1_expand/block_1_expand/kernel`.

    Args:
        model: a built `keras.Model`, not compiled (else the optimizer's state would be saved with it).
        folder: made where it is missing; files of these names are replaced.
        history: one row per epoch.

    Raises:
        OutputError: a file cannot be written.
    """
    files = CheckpointFiles(
        architecture=folder / "architecture.json",
        weights=folder / "weights.h5",
        model=folder / "model.keras",
        history=folder / "history.csv",
    )
    write_text(files.architecture, json.dumps(json.loads(model.to_json()), indent=1) + "\n")
    write_atomically(files.weights, lambda path: _write_weights(model, path))
    write_atomically(files.model, model.save)
    write_atomically(files.history, lambda path: _write_history(history, path))
    return files


def _prepare(keras: Any, model: Any, training: Training, steps: int) -> Any:
    """Return a compiled copy, after everything random was seeded."""
    import_quietly("tensorflow").config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(training.seed)
    worker = _copy(keras, model, training)
    worker.set_weights(model.get_weights())
    schedule = keras.optimizers.schedules.CosineDecay(training.learning_rate, training.epochs * steps)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=training.weight_decay)
    worker.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return worker


def _copy(keras: Any, model: Any, training: Training) -> Any:
    copy = keras.models.clone_model(model)
    set_bn_momentum(copy, training.bn_momentum)
    return copy


def _fit(
    worker: Any,
    preprocessing: Preprocessing,
    batches: Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]],
    epoch: int,
    advance: Callable[[int], None],
) -> tuple[float, float]:
    """Run one epoch; return the means of loss and accuracy over its batches, which are all of one size."""
    results = []
    for images, labels in batches:
        worker.reset_metrics()
        result = worker.train_on_batch(preprocessing.apply(images), labels, return_dict=True)
        if not math.isfinite(result["loss"]):
            raise ModelError(
                f"the training loss is {float(result['loss'])} in epoch {epoch}",
                "lower the learning rate, or check the images and their preprocessing",
            )
        results.append((float(result["loss"]), float(result["accuracy"])))
        advance(1)
    loss, accuracy = np.mean(results, axis=0)
    return float(loss), float(accuracy)


def _batches(
    images: NDArray[np.uint8], labels: NDArray[np.int64], batch: int, shift: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Yield whole batches of one epoch, in random order, shifted."""
    order = rng.permutation(len(images))
    for start in range(0, len(order) - batch + 1, batch):
        chosen = order[start : start + batch]
        yield shift_images(images[chosen], shift, rng), labels[chosen]


def shift_images(images: NDArray[np.uint8], pixels: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return each image moved by up to `pixels` each way, independently, with black moving in.

    Args:
        images: uint8, [n, height, width, 3].
        pixels: at least 0; 0 returns the images as they are.
        rng: draws one (down, right) per image, uniformly.
    """
    if pixels == 0:
        return images
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))
    starts = rng.integers(0, 2 * pixels + 1, size=(len(images), 2))
    moved = [image[top : top + height, left : left + width] for image, (top, left) in zip(padded, starts, strict=True)]
    return np.stack(moved)


class _Validation:
    """Loss and accuracy of a compiled model on the same preprocessed images, again and again."""

    def __init__(self, worker: Any, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        self._worker, self._inputs, self._labels = worker, inputs, labels

    def __call__(self) -> tuple[float, float]:
        starts = range(0, len(self._inputs), _VALIDATION_BATCH)
        parts = [self._worker.predict_on_batch(self._inputs[start : start + _VALIDATION_BATCH]) for start in starts]
        probabilities = np.concatenate(parts).astype(np.float64)
        right = probabilities[np.arange(len(self._labels)), self._labels]
        loss = -np.log(np.maximum(right, 1e-7)).mean()  # Keras clips there too
        return float(loss), float((probabilities.argmax(axis=1) == self._labels).mean())


def _record(
    number: int,
    worker: Any,
    fitted: tuple[float, float],
    validation: tuple[float, float],
    elapsed_seconds: float,
) -> Epoch:
    return Epoch(
        epoch=number,
        learning_rate=float(worker.optimizer.learning_rate),
        train_loss=fitted[0],
        train_accuracy=fitted[1],
        validation_loss=validation[0],
        validation_accuracy=validation[1],
        elapsed_seconds=elapsed_seconds,
    )


def _rank(epoch: Epoch) -> tuple[float, float, int]:
    return epoch.validation_accuracy, -epoch.validation_loss, epoch.epoch


def _labels(part: Dataset) -> NDArray[np.int64]:
    if part.labels is None:
        raise DataError(f"{part.name} has no labels to train on", "give a data set with labels")
    return part.labels


def _check_model(model: Any, preprocessing: Preprocessing, *, classes: int) -> None:
    expected = (None, *preprocessing.size, 3)
    if tuple(model.input_shape) != expected:
        raise ModelError(
            f"the model takes {model.input_shape}, the images become {expected}",
            "build the model for that input size, or preprocess to the size that it takes",
        )
    if tuple(model.output_shape) != (None, classes):
        raise ModelError(
            f"the model gives {model.output_shape} for {classes} classes", "build the model with one output per class"
        )


def _write_weights(model: Any, path: Path) -> None:
    """Write Keras's older HDF5 layout: one group per layer, in it one dataset per variable under its path.

    It is built in memory: HDF5 that cannot flush to a full disk ends the process with a segmentation fault.
    """
    h5py, keras = import_quietly("h5py"), import_keras()
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        _write_names(file, "layer_names", [layer.name for layer in model.layers])
        file.attrs["backend"] = np.bytes_(keras.backend.backend())
        file.attrs["keras_version"] = np.bytes_(keras.__version__)
        for layer in model.layers:
            variables = layer.trainable_weights + layer.non_trainable_weights
            group = file.create_group(layer.name)
            _write_names(group, "weight_names", [variable.path for variable in variables])
            for variable in variables:
                group.create_dataset(variable.path, data=keras.ops.convert_to_numpy(variable))
        _write_names(file.create_group("top_level_model_weights"), "weight_names", [])
    path.write_bytes(content.getvalue())


def _write_names(group: Any, name: str, values: list[str]) -> None:
    array = np.array([value.encode() for value in values])
    parts = -(-max(array.nbytes, 1) // _HDF5_HEADER_BYTES)
    if parts == 1:
        group.attrs[name] = array
        return
    for number, part in enumerate(np.array_split(array, parts + 1)):
        group.attrs[f"{name}{number}"] = part


def _write_history(history: Sequence[Epoch], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Epoch)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in history)
