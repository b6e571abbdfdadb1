"""The record of a training, epoch by epoch."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What one epoch gave; accuracies are shares of 1, losses are mean cross-entropies in nats.

    Training figures are means over the epoch's batches while the weights move, on augmented images and, where labels
    are smoothed, against the smoothed ones; `learning_rate` and the validation figures are those at its end;
    `elapsed_seconds` is counted from the start of the training, without the time in which it was interrupted.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    elapsed_seconds: float


def rank(epoch: Epoch) -> tuple[float, float, int]:
    """Return what orders epochs: validation accuracy, then the lower validation loss, then the later."""
    return epoch.validation_accuracy, -epoch.validation_loss, epoch.epoch


def fill_csv(history: Sequence[Epoch], path: Path) -> None:
    """Write one row per epoch under a head with the names of `Epoch`'s fields; not atomic by itself."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Epoch)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in history)
