"""What a training gave: sentences, the confusion matrix, and the curve."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from precbench.files import write_atomically
from precbench.report.figures import percent
from precbench.report.plots import figure, save_figure
from precbench.report.tables import confusion_table
from precbench.report.terminal import say

CURVE = "training-curve"


def show_training(console: Console, record: Mapping[str, Any], folder: Path) -> None:
    """Print how well it does on the validation images, which are confused with which, and where everything is."""
    console.print(confusion_table(record))
    accuracy = record["validation"]
    say(
        console,
        f"\n{percent(accuracy['fraction'])} of {accuracy['total']:,} validation images are right "
        f"(95 % interval {percent(accuracy['low'])} to {percent(accuracy['high'])}); they chose epoch "
        f"{record['kept_epoch']} of {len(record['history'])}, so this flatters a little.",
    )
    say(console, f"\nEverything is in {folder}/")


def write_training_curve(history: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Draw loss and accuracy by epoch, of training and validation, as `training-curve.png` and `.svg`.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    epochs = [epoch["epoch"] for epoch in history]
    drawing, (loss, accuracy) = figure(columns=2, size_inches=(9.0, 3.5))
    for part, style in (("train", "--"), ("validation", "-")):
        loss.plot(epochs, [epoch[f"{part}_loss"] for epoch in history], style, label=part)
        accuracy.plot(epochs, [100 * epoch[f"{part}_accuracy"] for epoch in history], style, label=part)
    loss.set(xlabel="epoch", ylabel="cross-entropy in nats")
    accuracy.set(xlabel="epoch", ylabel="accuracy in %")
    for axes in (loss, accuracy):
        axes.legend(frameon=False)
    for suffix in ("png", "svg"):
        write_atomically(folder / f"{CURVE}.{suffix}", lambda path: save_figure(drawing, path))
