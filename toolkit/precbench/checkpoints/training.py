"""Train a classifier: repeatable bit for bit, and able to go on where it was ended."""

import importlib.metadata
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.checkpoints.architectures import set_bn_momentum
from precbench.checkpoints.batches import Batch, batch_size, labels_of, training_batches
from precbench.checkpoints.held import Held, hold
from precbench.checkpoints.history import Epoch, rank
from precbench.checkpoints.saving import CheckpointFiles, save_checkpoint
from precbench.checkpoints.tensorflow_quietly import import_keras, import_quietly
from precbench.checkpoints.training_settings import Training
from precbench.checkpoints.training_state import TrainingState, damaged, read_state, write_state
from precbench.datasets import Dataset, Preprocessing, Splits
from precbench.errors import ModelError
from precbench.files import array_digest, check_output, value_digest
from precbench.progress import SILENT, Progress

__all__ = ["CheckpointFiles", "Epoch", "Trained", "Training", "save_checkpoint", "train"]

_VALIDATION_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """A trained model, not compiled, with the weights of `kept_epoch`, and the record of every epoch."""

    model: Any
    history: tuple[Epoch, ...]
    kept_epoch: int


def train(
    model: Any,
    splits: Splits,
    preprocessing: Preprocessing,
    training: Training,
    *,
    held: Mapping[str, Held] | None = None,
    state: Path | None = None,
    clock: Callable[[], float] = time.perf_counter,
    progress: Progress = SILENT,
) -> Trained:
    """Train a copy of a Keras classifier; the model given is not modified.

    The laws: on one machine with one thread count, the same arguments give the same weights bit for bit
    (TensorFlow's deterministic operations are switched on for the whole process, which cost no time that we could
    measure). With `state`, a training that was ended at any moment and is called again goes on behind its last
    finished epoch and gives the same weights and figures as one that was not.

    The kept epoch is the one with the best validation accuracy; of equals, the one with the lowest validation loss,
    then the latest. The test part is never read.

    Args:
        model: a `keras.Model` with one image input and one softmax output of [n, classes].
        splits: labelled images; `train` to fit and `validation` to choose.
        preprocessing: from these images to the model's input.
        training: how.
        held: weights that stay where they are, by the variable's path; see `held.hold`.
        state: an `.npz` file that is written after each epoch, about four times as large as the weights. It is left
            there at the end, for an end that comes before the result is saved: remove it then.
        clock: seconds, for the record only.
        progress: told of every batch.

    Raises:
        DataError: a part has no labels, or fewer images than one batch needs.
        ModelError: the model does not take these images or classes, or the loss is not finite.
        UsageError: the state is damaged, or that of another training.
        OutputError: the state cannot be written.
    """
    for part in (splits.train, splits.validation):
        labels_of(part)
    _check_model(model, preprocessing, classes=len(splits.train.class_names))
    steps = len(splits.train) // batch_size(splits.train, training)
    keras = import_keras()
    held = held or {}
    key = "" if state is None else _key(model, splits, preprocessing, training, held)
    run = _Run(keras, model, training, steps, held)
    if state is not None:
        check_output(state, force=True)
        run.restore(state, read_state(state, key))
    seconds_before = run.history[-1].elapsed_seconds if run.history else 0.0
    start = clock()
    with progress.track("training", training.epochs * steps) as advance:
        advance(len(run.history) * steps)
        for number in range(len(run.history) + 1, training.epochs + 1):
            batches = training_batches(splits.train, training, preprocessing, run.rng)
            fitted = _fit(run.worker, batches, number, advance)
            validation = _validate(run.worker, preprocessing, splits.validation)
            run.add(_record(number, run.worker, fitted, validation, seconds_before + clock() - start))
            if state is not None:
                write_state(state, run.state(key))
    trained = _copy(keras, model, training)
    trained.set_weights(run.kept)
    return Trained(model=trained, history=tuple(run.history), kept_epoch=run.kept_epoch)


class _Run:
    """A training under way: a compiled copy of the model, the generator, the record, and the best weights so far."""

    def __init__(self, keras: Any, model: Any, training: Training, steps: int, held: Mapping[str, Held]) -> None:
        self.worker = _prepare(keras, model, training, steps, held)
        self.rng = np.random.default_rng(training.seed)
        self.history: list[Epoch] = []
        self.kept_epoch, self.kept = 0, self.worker.get_weights()

    def add(self, epoch: Epoch) -> None:
        self.history.append(epoch)
        if rank(epoch) == max(map(rank, self.history)):
            self.kept_epoch, self.kept = epoch.epoch, self.worker.get_weights()

    def state(self, key: str) -> TrainingState:
        return TrainingState(
            key=key,
            history=tuple(self.history),
            kept_epoch=self.kept_epoch,
            generator=self.rng.bit_generator.state,
            variables=tuple(np.asarray(variable) for variable in self.worker.variables),
            optimizer=tuple(np.asarray(variable) for variable in self.worker.optimizer.variables),
            kept=tuple(self.kept),
        )

    def restore(self, path: Path, state: TrainingState | None) -> None:
        """Go on from a state; where there is none nothing changes."""
        if state is None:
            return
        optimizer = self.worker.optimizer
        optimizer.build(self.worker.trainable_variables)
        try:
            self.worker.set_weights(state.kept)  # only to see that they fit
            _assign([*self.worker.variables, *optimizer.variables], [*state.variables, *state.optimizer])
            self.rng.bit_generator.state = dict(state.generator)
        except (ValueError, TypeError, KeyError) as error:
            raise damaged(path, error) from error
        self.history = list(state.history)
        self.kept_epoch, self.kept = state.kept_epoch, list(state.kept)


def _assign(variables: Sequence[Any], arrays: Sequence[NDArray[Any]]) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _key(model: Any, splits: Splits, preprocessing: Preprocessing, training: Training, held: Mapping[str, Held]) -> str:
    """Return the digest of all that a training's result depends on, the machine and its threads aside."""
    parts = (splits.train, splits.validation)
    return value_digest(
        [
            asdict(training),
            preprocessing.to_json(),
            model.to_json(),
            [array_digest(weights) for weights in model.get_weights()],
            {path: one.digest() for path, one in held.items()},
            [[*part.class_names, array_digest(part.images), array_digest(labels_of(part))] for part in parts],
            {name: importlib.metadata.version(name) for name in ("keras", "numpy", "tensorflow")},
        ]
    )


def _prepare(keras: Any, model: Any, training: Training, steps: int, held: Mapping[str, Held]) -> Any:
    """Return a compiled copy, after everything random was seeded."""
    import_quietly("tensorflow").config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(training.seed)
    worker = _copy(keras, model, training)
    worker.set_weights(model.get_weights())
    hold(keras, worker, held)
    optimizer = keras.optimizers.AdamW(_schedule(keras, training, steps), weight_decay=training.weight_decay)
    loss = "categorical_crossentropy" if training.label_smoothing else "sparse_categorical_crossentropy"
    worker.compile(optimizer, loss=loss, metrics=["accuracy"], jit_compile=False)
    return worker


def _schedule(keras: Any, training: Training, steps: int) -> Any:
    decay = keras.optimizers.schedules.CosineDecay
    if training.warmup_epochs == 0:
        return decay(training.learning_rate, training.epochs * steps)
    rising = training.warmup_epochs * steps
    return decay(0.0, training.epochs * steps - rising, warmup_target=training.learning_rate, warmup_steps=rising)


def _copy(keras: Any, model: Any, training: Training) -> Any:
    copy = keras.models.clone_model(model)
    set_bn_momentum(copy, training.bn_momentum)
    return copy


def _fit(worker: Any, batches: Iterator[Batch], epoch: int, advance: Callable[[int], None]) -> tuple[float, float]:
    """Run one epoch; return the means of loss and accuracy over its batches, which are all of one size."""
    results = []
    for inputs, labels in batches:
        worker.reset_metrics()
        result = worker.train_on_batch(inputs, labels, return_dict=True)
        if not math.isfinite(result["loss"]):
            raise ModelError(
                f"the training loss is {float(result['loss'])} in epoch {epoch}",
                "lower the learning rate, or check the images and their preprocessing",
            )
        results.append((float(result["loss"]), float(result["accuracy"])))
        advance(1)
    loss, accuracy = np.mean(results, axis=0)
    return float(loss), float(accuracy)


def _validate(worker: Any, preprocessing: Preprocessing, part: Dataset) -> tuple[float, float]:
    """Return loss and accuracy; preprocessed batch by batch, since a data set at the network's size fills gigabytes."""
    labels = labels_of(part)
    starts = range(0, len(part), _VALIDATION_BATCH)
    inputs = (preprocessing.apply(part.images[start : start + _VALIDATION_BATCH]) for start in starts)
    probabilities = np.concatenate([worker.predict_on_batch(each) for each in inputs]).astype(np.float64)
    if not np.isfinite(probabilities).all():
        raise ModelError(
            "the network's probabilities on the validation images are not finite",
            "lower the learning rate, or check the images and their preprocessing",
        )
    right = probabilities[np.arange(len(labels)), labels]
    loss = -np.log(np.maximum(right, 1e-7)).mean()  # Keras clips there too
    return float(loss), float((probabilities.argmax(axis=1) == labels).mean())


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
