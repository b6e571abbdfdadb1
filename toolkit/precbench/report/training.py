"""What a training gave: sentences, the confusion matrix, and the curve."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from precbench.report.figures import percent
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
    """Draw accuracy by epoch, of training and validation, as `training-curve.png` and `.svg`.

    Raises:
        MissingDependencyError: a package of the extra `report` is not installed.
        OutputError: a file cannot be written.
    """
    from precbench.report.html.charts import training_curve
    from precbench.report.html.writing import write_plot

    rows = [
        {"epoch": epoch["epoch"], "part": part, "value": 100 * epoch[f"{part}_accuracy"]}
        for epoch in history
        for part in ("train", "validation")
    ]
    write_plot(training_curve(rows, y="accuracy, %"), folder, CURVE)
