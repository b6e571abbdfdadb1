"""Train a study's network on its own, without the study."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from precbench.accuracy import accuracy_of, confusion_matrix
from precbench.errors import DataError, UsageError
from precbench.files import check_output, write_atomically
from precbench.grids import Grid
from precbench.progress import SILENT, Progress
from precbench.study.definition import Study
from precbench.study.material import TRAINING_STATE, Material, Places

if TYPE_CHECKING:
    from precbench.checkpoints.saving import CheckpointFiles

CONFUSION = "confusion.csv"


def train_network(
    study: Study,
    folder: Path,
    *,
    data: Path | None = None,
    weights: Path | None = None,
    checkpoint: Path | None = None,
    inq: Grid | None = None,
    force: bool = False,
    draw: Callable[[Sequence[Mapping[str, Any]], Path], object] | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Train, save, and say what the network gets right on the validation images.

    `confusion.csv` is written last: without it the training is not finished, and the same call goes on with it.

    Args:
        study: whose data, architecture and training are meant.
        folder: for the checkpoint's files and `confusion.csv`.
        data: see `Places`.
        weights: likewise.
        checkpoint: likewise; only with `inq`, which needs a trained network and trains one where none is given.
        inq: bring the kernels onto this grid by incremental retraining (`checkpoints.incremental`), each step with the
            study's training.
        force: replace what an earlier training, or anybody else, left there.
        draw: called with the history and the folder, once the checkpoint is saved.
        progress: told of every batch.

    Returns:
        The record, strict JSON: files, images, kept_epoch, history, versions, accuracy and confusion on validation.

    Raises:
        OutputError: the folder holds a finished training, or files of these names that are not an unfinished one's.
        PrecbenchError: the data or the weights cannot be read, do not fit, or the folder cannot be written.
    """
    from precbench.checkpoints.loading import load_model
    from precbench.checkpoints.predicting import predict_classes
    from precbench.checkpoints.saving import CheckpointFiles

    if checkpoint is not None and inq is None:
        raise UsageError(f"a checkpoint is given ({checkpoint}), and nothing to do with it", "add --inq pow2:5")
    if inq is not None:
        inq.fitted(np.ones(1, np.float32))  # refuses, before any training, a grid that needs to know channels
    unfinished = any(folder.glob(f"{Path(TRAINING_STATE).stem}*.npz"))
    for path in (folder / CONFUSION, *(() if unfinished else CheckpointFiles.of(folder).paths)):
        check_output(path, force=force)
    material = Material(study, Places(data=data, weights=weights, checkpoint=checkpoint), progress)
    files, facts = material.make_checkpoint(folder)
    if inq is not None:
        facts |= _retrained(material, study, files, grid=inq, folder=folder, progress=progress)
    validation = material.split("validation")
    if validation.labels is None:
        raise DataError(f"{validation.name} has no labels", "give a data set with labels")
    predicted = predict_classes(load_model(files.model), material.preprocessing, validation.images)
    if draw is not None:
        draw(facts["history"], folder)
    names = validation.class_names
    matrix = confusion_matrix(validation.labels, predicted, len(names))
    write_atomically(folder / CONFUSION, lambda path: _write_confusion(path, names, matrix.tolist()))
    for state in folder.glob(f"{Path(TRAINING_STATE).stem}*.npz"):
        state.unlink()
    return {
        "files": {name: str(getattr(files, name)) for name in ("architecture", "weights", "model", "history")}
        | {"confusion": str(folder / CONFUSION)},
        **facts,
        "validation": accuracy_of(validation.labels, predicted).to_json(),
        "class_names": list(names),
        "confusion": matrix.tolist(),
    }


def _retrained(
    material: Material, study: Study, files: "CheckpointFiles", *, grid: Grid, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Bring a checkpoint's kernels onto a grid, in place; return what is worth knowing of it."""
    from precbench.checkpoints.incremental import train_incrementally
    from precbench.checkpoints.loading import load_model
    from precbench.checkpoints.saving import save_checkpoint

    done = train_incrementally(
        load_model(files.model),
        material.splits,
        material.preprocessing,
        study.training,
        grid,
        states=folder,
        progress=progress,
    )
    save_checkpoint(done.trained.model, folder, done.trained.history)
    return {
        "history": [asdict(epoch) for epoch in done.trained.history],
        "kept_epoch": done.trained.kept_epoch,
        "inq": {
            "grid": str(grid),
            "grids": {path: str(fitted) for path, fitted in done.grids.items()},
            "steps": [asdict(step) for step in done.steps],
        },
    }


def _write_confusion(path: Path, names: Sequence[str], matrix: Sequence[Sequence[int]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["true \\ predicted", *names])
        writer.writerows([name, *row] for name, row in zip(names, matrix, strict=True))
