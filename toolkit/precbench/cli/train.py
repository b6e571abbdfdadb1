"""`precbench train`: a network on a data set, and what it is saved as."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from precbench.cli.app import app
from precbench.cli.output import Checkpoint, DataDir, Force, Json, OnBadImage, Weights, emit, progress

if TYPE_CHECKING:
    from precbench.study.definition import Study


@app.command()
def train(
    study: Annotated[
        str, typer.Argument(help="A study file (TOML), or the name of one that comes with precbench: what is not said.")
    ] = "mobilenetv2-digits",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The folder; checkpoints/ARCHITECTURE-DATA where not given.")
    ] = None,
    architecture: Annotated[
        str | None, typer.Option("--architecture", help="A keras.applications network, AlexNet or GoogLeNet.")
    ] = None,
    alpha: Annotated[float | None, typer.Option("--alpha", help="Width multiplier of the MobileNets.")] = None,
    input_size: Annotated[int | None, typer.Option("--input-size", help="Pixels a side of its input.")] = None,
    preprocess: Annotated[
        str | None,
        typer.Option("--preprocess", help="tf, torch, caffe or none, as ImageNet weights of the network need it."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="digits, cifar10, folder:PATH (one folder per class), or an .npz with labels."),
    ] = None,
    data_dir: DataDir = None,
    on_bad_image: OnBadImage = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size", help="Pixels a side that digits and a folder's images are read at; else as the network takes."
        ),
    ] = None,
    weights: Weights = None,
    checkpoint: Checkpoint = None,
    inq: Annotated[
        str | None,
        typer.Option(
            "--inq",
            metavar="GRID",
            help="Incremental quantization: bring the kernels onto a grid such as pow2:5 by halves, retraining the "
            "rest; of --checkpoint, else of what is trained first. --epochs are those of each step.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Images per step.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="The highest.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the split, the weights and the training.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a network and write it.

    As the paper's pair, architecture.json and weights.h5, with model.keras beside it; also history.csv, the
    training curve (PNG, SVG) and the confusion matrix on the validation images. A training that was stopped goes on
    behind its last finished epoch when the same command is given again.

    Example: precbench train --architecture AlexNet --data folder:photos --input-size 64 --size 64 -o alexnet
    """
    from rich.console import Console

    from precbench.grids import parse_grid
    from precbench.report.training import show_training, write_training_curve
    from precbench.study.definition import DataSection, load_study
    from precbench.study.training import train_network

    own = {"name": architecture, "alpha": alpha, "input_size": input_size, "preprocessing": preprocess}
    definition = load_study(study)
    if data is not None:  # of other data the study's split and size say nothing
        definition = replace(definition, data=DataSection(source=data, seed=definition.data.seed))
    definition = _changed(
        definition,
        architecture={**own, "weights": None if weights is None else "imagenet"},
        data={"size": size, "seed": seed, "on_bad_image": on_bad_image},
        training={"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed},
    )
    folder = output or Path("checkpoints") / f"{definition.architecture.name}-{_stem(definition.data.source)}"
    record = train_network(
        definition,
        folder,
        data=data_dir,
        weights=weights,
        checkpoint=checkpoint,
        inq=None if inq is None else parse_grid(inq),
        force=force,
        draw=write_training_curve,
        progress=progress(),
    )

    def show(console: Console) -> None:
        show_training(console, record, folder)

    emit("train", record, as_json=as_json, show=show)


def _changed(study: "Study", **sections: dict[str, Any]) -> "Study":
    """Replace what was given on the command line; the values are checked as those of a file are."""
    changed = {
        name: replace(getattr(study, name), **{key: value for key, value in values.items() if value is not None})
        for name, values in sections.items()
    }
    return replace(study, **changed)


def _stem(source: str) -> str:
    return Path(source.partition(":")[2] or source).stem or "data"
