"""Predict the test images with full precision and at every point of a study; each finished point is in the journal."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from precbench.accuracy import top_classes
from precbench.datasets import Dataset
from precbench.errors import DataError, ModelError
from precbench.files import array_digest, file_digest, value_digest
from precbench.graph import OnnxModel, Plan, round_model
from precbench.progress import SILENT, Progress
from precbench.runtime import SessionSettings, environment, open_session
from precbench.study.definition import DataSection
from precbench.study.evaluation import image_feeds, model_preprocessing
from precbench.study.experiments import Point
from precbench.study.journal import Journal, PointState, Predictions, State
from precbench.sweep import Batches, Limits, Variant, rounded_variant, sweep

BASE = Plan(grids={})
BATCH = 32
_PASS_S = 60.0  # what a kill may lose
_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnx", "onnx-ir", "numpy", "precbench")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluationSet:
    """Labelled images that every point is evaluated on.

    Attributes:
        images: uint8 [n, height, width, 3].
        labels: int64 [n].
        class_names: in the order of the labels.
        key: digest of all that predictions depend on, apart from the plan: the images, the base model, the runtime, the
            CPU.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    key: str

    @classmethod
    def of(cls, part: Dataset, data: DataSection, base: Path) -> Self:
        """Return a split as such a set.

        Raises:
            DataError: it has no labels.
        """
        if part.labels is None:
            raise DataError(f"{part.name} has no labels to evaluate on", "give a data set with labels")
        digests = [array_digest(part.images), array_digest(part.labels)]
        found = environment()  # ONNX Runtime chooses its kernels by the CPU
        runs_on = [found["cpu_model"], *(found["packages"].get(name) for name in _PACKAGES)]
        key = value_digest([asdict(data), digests, file_digest(base), SessionSettings().to_json(), BATCH, runs_on])
        return cls(images=part.images, labels=part.labels, class_names=part.class_names, key=key)


def point_key(test: EvaluationSet, plan: Plan) -> str:
    """Return the digest of all that a plan's predictions depend on."""
    return value_digest([test.key, plan.to_json()])


def labels_key(test: EvaluationSet) -> str:
    """Return under which key the journal holds the true labels, so that it answers without the images."""
    return value_digest([test.key, "labels"])


def evaluate_points(
    base: Path,
    model: OnnxModel,
    points: Sequence[Point],
    test: EvaluationSet,
    journal: Journal,
    *,
    progress: Progress = SILENT,
) -> None:
    """Predict with full precision and at every point; what the journal has is not done again.

    A point whose scores have no highest (NaN) is recorded as failed, with the reason; the others go on.

    Args:
        base: the model's file.
        model: the same, read.
        points: of all experiments; those with one plan are evaluated once.
        test: what to predict.
        journal: where each finished point is recorded, and the plan of all of them before the first.
        progress: stepped by images.

    Raises:
        PrecbenchError: the model cannot be run on the images, or the journal cannot be written.
    """
    plans = {point_key(test, BASE): BASE} | {point_key(test, point.plan): point.plan for point in points}
    journal.plan(
        [
            PointState(experiment=point.experiment, name=point.name, key=point_key(test, point.plan), state=State.LEFT)
            for point in points
        ]
    )
    known = journal.known_predictions()
    if labels_key(test) not in known:
        names = {"class_names": list(test.class_names)}
        journal.record_predictions(labels_key(test), Predictions(classes=test.labels, facts=names))
    failed = {point.key for point in journal.points() if point.state is State.FAILED}
    left = {key: plan for key, plan in plans.items() if key not in known | failed}
    if not left:
        return
    finished = sweep(
        model,
        [_variant(key, model, plan) for key, plan in left.items()],
        _batches(base, test),
        SessionSettings(),
        limits=Limits(pass_s=_PASS_S),
        started=lambda keys: journal.set_state(keys, State.RUNNING),
        progress=progress,
    )
    for one in finished:
        scores = next(iter(one.outputs.values()))
        try:
            classes = top_classes(scores)
        except DataError as error:
            if left[one.variant] == BASE:
                raise ModelError(f"{base}: {error.problem}", "give a network whose scores are numbers") from error
            journal.set_state([one.variant], State.FAILED, error.problem)
            continue
        journal.record_predictions(one.variant, Predictions(classes=classes, facts=_amounts(model, left[one.variant])))


def _variant(key: str, model: OnnxModel, plan: Plan) -> Variant:
    return rounded_variant(key, model, plan) if plan.grids else Variant(name=key, values=dict)


def _batches(base: Path, test: EvaluationSet) -> Batches:
    session = open_session(base, SessionSettings())
    preprocessing, inputs = model_preprocessing(session), session.inputs

    def make(start: int, stop: int) -> Mapping[str, NDArray[Any]]:
        return image_feeds(base, inputs, preprocessing, test.images[start:stop])

    return Batches(rows=len(test.images), size=BATCH, make=make)


def _amounts(model: OnnxModel, plan: Plan) -> dict[str, int]:
    """How many weights the plan rounds, and how many of these it changes."""
    outcomes = [o for o in round_model(model, plan).outcomes if o.skipped is None] if plan.grids else []
    return {"elements": sum(o.elements for o in outcomes), "changed": sum(o.changed for o in outcomes)}
