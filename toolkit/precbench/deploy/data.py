"""The three parts of the data that a deployment works with: to calibrate on, to choose by, to report."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.datasets import Preprocessing
from precbench.deploy.int8.ranges import Calibration
from precbench.deploy.reference import ROWS
from precbench.deploy.suitable import check_samples
from precbench.errors import DataError
from precbench.progress import SILENT, Progress
from precbench.runtime import Session, fixed_batch, input_recipe, seeded_inputs
from precbench.runtime.batches import batched_names, rows_of
from precbench.study.evaluation import (
    EvaluationData,
    image_feeds,
    is_classifier,
    is_one_set,
    load_data,
    model_preprocessing,
    preprocessing_for,
    recorded_preprocessing,
    with_class_names,
)

MOST_CALIBRATION_SAMPLES = 512
_CHUNK_ROWS = 32
_CHUNK_BYTES = 4 << 20
_CALIBRATION_SHARE = 0.2
_LEAST_TO_DIVIDE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentData:
    """What a model is calibrated, chosen and judged on; the three share no sample.

    Args:
        calibration: samples of the training part, or a fifth.
        validation: labelled samples to choose by; None where there are no labels.
        test: labelled samples to report; likewise.
        preprocessing: of images; None for arrays.
        not_judged: why accuracy cannot be measured, in words; None where it can.
    """

    calibration: EvaluationData
    validation: EvaluationData | None
    test: EvaluationData | None
    preprocessing: Preprocessing | None
    not_judged: str | None = None

    def calibration_for(self, session: Session) -> Calibration:
        """Return the calibration samples as feeds of a model."""
        rows = fixed_batch(session.inputs) or self._rows_a_chunk(session)
        samples = _rows(self.calibration, session)
        usable = samples if fixed_batch(session.inputs) is None else samples // rows * rows
        if usable == 0:
            raise DataError(
                f"{samples} samples do not fill one batch of the {rows} that the model is fixed to",
                "give more samples, or export the model with an open batch",
            )

        def chunks() -> Iterator[Mapping[str, NDArray[Any]]]:
            for start in range(0, usable, rows):
                yield self._feeds(session, slice(start, min(start + rows, usable)))

        return Calibration(chunks=chunks, samples=usable, description=self.calibration.description)

    def _rows_a_chunk(self, session: Session) -> int:
        """Fewer rows where they are large: all activations of a chunk are held at once."""
        row_bytes = sum(array.nbytes for array in self._feeds(session, slice(0, 1)).values())
        return max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // max(1, row_bytes)))

    def first(self, session: Session, rows: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return a few samples as feeds of one run, and where they are from: the test part where there is one."""
        part = self.test or self.calibration
        count = fixed_batch(session.inputs) or min(rows, _rows(part, session))
        return self._feeds(session, slice(0, count), part), {"kind": "data", **part.description}

    def _feeds(self, session: Session, rows: slice, part: EvaluationData | None = None) -> dict[str, NDArray[Any]]:
        data = part or self.calibration
        if data.images is not None and self.preprocessing is not None:
            return image_feeds(session.model, session.inputs, self.preprocessing, data.images[rows])
        names = batched_names(session.inputs)
        return {name: array[rows] if name in names else array for name, array in (data.inputs or {}).items()}


def load_deployment_data(
    spec: str,
    session: Session,
    *,
    preprocess: str | None = None,
    seed: int = 0,
    directory: Path | None = None,
    on_bad_image: str | None = None,
    most_calibration: int = MOST_CALIBRATION_SAMPLES,
    progress: Progress = SILENT,
) -> DeploymentData:
    """Find what `--data` means: calibration from the training part, validation to choose by, test to report.

    A source without parts (an archive, a folder without train and test) is divided here, drawn from the seed: a fifth
    of it, at most `most_calibration` samples, calibrates; half of the rest is validation, half test.

    Args:
        spec: see `study.evaluation.load_data`.
        session: of the model.
        preprocess: of images, a keras.applications mode; None takes what the model's metadata says.
        seed: draws the parts and the calibration samples.
        directory: where cifar10 lies.
        on_bad_image: "stop" or "skip".
        most_calibration: samples.
        progress: told what differs from published data.

    Raises:
        DataError: the data cannot be read, or do not fit the model.
    """

    told = _ToldOnce(progress)

    def load(split: str) -> EvaluationData:
        found = load_data(
            spec, session, split=split, seed=seed, directory=directory, on_bad_image=on_bad_image, progress=told
        )
        if found.inputs is not None:
            check_samples(found.inputs, recorded_preprocessing(session))
        return with_class_names(found, session.model)

    rng = np.random.default_rng(seed)
    if is_one_set(spec, session):
        parts = _divided(load("test"), session, rng, most_calibration)
    else:
        train = load("train")
        chosen = rng.permutation(_rows(train, session))[:most_calibration]
        parts = (_taken(train, session, chosen), load("validation"), load("test"))
    calibration, validation, test = parts
    not_judged = _why_not_judged(calibration, session)
    preprocessing = None
    if calibration.images is not None:
        preprocessing = (
            model_preprocessing(session) if preprocess is None else preprocessing_for(session, preprocess, calibration)
        )
    return DeploymentData(
        calibration=calibration,
        validation=validation if not_judged is None else None,
        test=test if not_judged is None else None,
        preprocessing=preprocessing,
        not_judged=not_judged,
    )


def reference_feeds(
    data: DeploymentData | None, session: Session, *, seed: int, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return a few inputs, of the data or drawn from the seed, as feeds of one run, and how they were had."""
    if data is not None:
        return data.first(session, ROWS)
    feeds = seeded_inputs(session.inputs, seed=seed, batch=ROWS, shapes=shapes)
    return feeds, input_recipe(session.inputs, seed=seed, batch=ROWS, shapes=shapes)


class _ToldOnce:
    """Progress whose notes are said once, though each part of the data is read anew."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._told = progress, set[str]()

    def track(self, label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        return self._progress.track(label, total)

    def note(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._progress.note(text)


def _why_not_judged(data: EvaluationData, session: Session) -> str | None:
    if is_classifier(session):
        return "the data have no labels" if data.labels is None else None
    outputs = ", ".join(f"{spec.name} {list(spec.shape)} of {spec.dtype}" for spec in session.outputs)
    return f"the model is no classifier with one output of scores; it has {outputs}"


def _divided(
    whole: EvaluationData, session: Session, rng: np.random.Generator, most_calibration: int
) -> tuple[EvaluationData, EvaluationData, EvaluationData]:
    rows = _rows(whole, session)
    if rows < _LEAST_TO_DIVIDE:
        raise DataError(
            f"{rows} samples are too few: a fifth of them calibrates, the rest chooses and reports",
            "give some hundred samples with --data",
        )
    order = rng.permutation(rows)
    if whole.labels is None:
        return _taken(whole, session, order[:most_calibration]), whole, whole
    first = min(most_calibration, max(1, int(rows * _CALIBRATION_SHARE)))
    middle = first + (rows - first) // 2
    return (
        _taken(whole, session, order[:first]),  # in drawn order: its first samples are of all kinds
        _taken(whole, session, np.sort(order[first:middle])),
        _taken(whole, session, np.sort(order[middle:])),
    )


def _rows(data: EvaluationData, session: Session) -> int:
    if data.images is not None:
        return len(data.images)
    return rows_of(data.inputs or {}, batched_names(session.inputs))


def _taken(data: EvaluationData, session: Session, rows: NDArray[np.intp]) -> EvaluationData:
    names = batched_names(session.inputs)
    return replace(
        data,
        description={**data.description, "samples": len(rows)},
        images=None if data.images is None else data.images[rows],
        inputs=None
        if data.inputs is None
        else {name: array[rows] if name in names else array for name, array in data.inputs.items()},
        labels=None if data.labels is None else data.labels[rows],
    )
