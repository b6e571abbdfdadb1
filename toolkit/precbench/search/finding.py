"""A search from files to a plan file: what `precbench search` does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

import precbench
from precbench.accuracy import Flips, check_classes, flips, smallest_margin_points
from precbench.deploy.data import DeploymentData
from precbench.deploy.measuring import check_max_drop
from precbench.deploy.packed.packing import pack
from precbench.deploy.sizes import zstd_bytes
from precbench.errors import DataError, ModelError, UsageError
from precbench.files import array_digest, file_digest
from precbench.graph import OnnxModel, Plan, list_initializers, load_model, round_model, save_model
from precbench.grids import DecimalGrid, Grid
from precbench.progress import SILENT, Progress
from precbench.runtime import Session, SessionSettings, fixed_batch, usable_cores
from precbench.search.costs import Objective, layer_cost
from precbench.search.evaluating import SHIFT_SAMPLES, Budget, ModelEvaluator, classes_of, part_of
from precbench.search.journal import SearchJournal
from precbench.search.limit import Limit
from precbench.search.searching import ROUNDS, Found, Trial, search
from precbench.study.experiments import target_layers
from precbench.study.plan_file import write_plan

CALIBRATION_SAMPLES = ROUNDS * SHIFT_SAMPLES
"""Samples of the training part that a search uses at most: others in each round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """What to search for. A value that cannot be used cannot be built.

    Args:
        output: the plan file to write; the journal lies beside it.
        max_drop_points: the upper end of the paired 95 % interval of the loss may reach so far.
        objective: what to have few of.
        grids: the options of each layer, at least one.
        budget: what the search may take.
        batch: samples per call, where the model fixes none.

    Raises:
        UsageError: a number is out of range.
    """

    output: Path
    max_drop_points: float = 0.5
    objective: Objective = Objective.BYTES
    grids: Sequence[Grid] = tuple(map(DecimalGrid, range(7)))
    budget: Budget
    batch: int = 32

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_max_drop(self.max_drop_points)
        if not self.grids:
            raise UsageError("no grid is given for the layers to choose from", "give some with --dp or --grid")


def journal_of(output: Path) -> Path:
    """Return where the journal of a search lies: beside the plan."""
    return output.with_name(f"{output.name}.journal")


def find_plan(
    request: SearchRequest, session: Session, data: DeploymentData, *, progress: Progress = SILENT
) -> dict[str, Any]:
    """Search, write the plan, and look once at the test part; return the record.

    The plan file is written whenever a better plan is found. The law: the same model, data, options and budget in
    evaluations give the same plan, whether the search was interrupted or not.

    Raises:
        UsageError: the budget or the number of images is too small, or the journal is another search's.
        DataError: nothing is labelled.
        PrecbenchError: the model cannot be run, or a file cannot be written.
    """
    model, digest = load_model(session.model), file_digest(session.model)
    labels = _labels(data)
    layers = target_layers(list_initializers(model))
    limit = Limit(points=request.max_drop_points)
    _check_images(len(labels), limit)
    settings = SessionSettings(provider=session.provider, intra_op_threads=usable_cores())
    batch = fixed_batch(session.inputs) or request.batch
    assert data.validation is not None
    evaluator = ModelEvaluator(
        model,
        layers,
        request.grids,
        calibration=part_of(session, data.calibration, data.preprocessing),
        validation=part_of(session, data.validation, data.preprocessing),
        settings=settings,
        batch=batch,
        budget=request.budget,
        journal=SearchJournal(journal_of(request.output), _about(request, digest, data, settings, batch)),
        progress=progress,
    )
    _check_budget(request.budget, evaluator)
    costs = _costs(model, layers, request)

    def keep(trial: Trial) -> None:
        word = "within" if limit.allows(trial.flips) else "not within"
        progress.note(
            f"best so far: {_amount(trial.cost, request.objective)}, {word} {limit.points:g} points "
            f"({trial.flips.difference_points:+.2f} [{trial.flips.low_points:+.2f}, {trial.flips.high_points:+.2f}])"
        )
        plan = evaluator.plan(trial.choice)
        write_plan(request.output, plan.grids, model=digest, about=_comments(request, trial, limit))

    found = search(costs, evaluator, limit=limit, better=keep)
    plan = evaluator.plan(found.best.choice)
    test = _confirmed(model, plan, session, data, settings=settings, batch=batch, progress=progress)
    return {
        "model": str(session.model),
        "model_digest": digest,
        "output": str(request.output),
        "journal": str(journal_of(request.output)),
        "data": dict(data.validation.description),
        "holds": found.holds,
        "max_drop_points": request.max_drop_points,
        "objective": str(request.objective),
        "grids": list(map(str, request.grids)),
        "evaluations": evaluator.evaluations,
        "rounds": found.rounds,
        "looks": len(found.trials),
        "plan": {name: str(grid) for name, grid in plan.grids.items()},
        "estimated": found.best.cost,
        "validation": found.best.flips.to_json(),
        "validation_many_looks": _many_looks(found, limit),
        "test": test.to_json(),
        "uniform": _uniform(found, request.grids),
        "sizes": {
            "full precision": sizes(model, Plan(grids={})),
            "plan": sizes(model, plan),
            **_uniform_sizes(model, layers, found, request),
        },
    }


def sizes(model: OnnxModel, plan: Plan) -> dict[str, int | None]:
    """Return a rounded model's bytes after zstd, as float32 and packed (None where nothing can be packed)."""
    rounded = round_model(model, plan).model if plan.grids else model
    with TemporaryDirectory(prefix="precbench-") as name:
        path = Path(name) / "model.onnx"
        save_model(rounded, path)
        found: dict[str, int | None] = {"zstd_bytes": zstd_bytes(path), "packed_zstd_bytes": None}
        try:
            save_model(pack(rounded).model, path.with_name("packed.onnx"))
            found["packed_zstd_bytes"] = zstd_bytes(path.with_name("packed.onnx"))
        except ModelError:
            pass
    return found


def _labels(data: DeploymentData) -> NDArray[np.int64]:
    if data.validation is None or data.test is None or data.validation.labels is None:
        raise DataError(f"accuracy cannot be measured: {data.not_judged}", "give labelled data of the model's classes")
    return check_classes(data.validation.labels)


def _check_images(images: int, limit: Limit) -> None:
    """Refuse to search where not even a plan that flips nothing could be shown to hold."""

    def shown(number: int) -> float:
        return smallest_margin_points(number, level=limit.level)

    if shown(images) <= limit.points:
        return
    if limit.points == 0:
        raise UsageError("--max-drop is 0, and no number of images shows that nothing is lost", "allow 0.1 or so")
    enough = images
    while shown(enough) > limit.points:
        enough = int(enough * 1.01) + 1
    raise UsageError(
        f"{images:,} validation images show a loss to be below {shown(images):.2g} points at best, "
        f"--max-drop is {limit.points:g}",
        f"give about {enough:,} validation images, or allow a larger drop",
    )


def _check_budget(budget: Budget, evaluator: ModelEvaluator) -> None:
    if budget.evaluations is not None and budget.evaluations < evaluator.least_evaluations:
        raise UsageError(
            f"a budget of {budget.evaluations:,} image evaluations has no room for full precision and one plan",
            f"give at least {evaluator.least_evaluations:,}, and some hundred thousand for a search",
        )


def _about(
    request: SearchRequest, digest: str, data: DeploymentData, settings: SessionSettings, batch: int
) -> list[Any]:
    """All that what a search evaluates depends on; the budget and the limit are not among it."""
    parts = (data.calibration, data.validation)
    digests = [
        array_digest(array)
        for part in parts
        if part is not None
        for array in (part.images, part.labels, *(part.inputs or {}).values())
        if array is not None
    ]
    preprocessing = None if data.preprocessing is None else data.preprocessing.to_json()
    return [
        precbench.__version__,
        digest,
        digests,
        preprocessing,
        [str(grid) for grid in request.grids],
        replace(settings, intra_op_threads=1).to_json(),  # how many there are may change from sitting to sitting
        batch,
    ]


def _costs(model: OnnxModel, layers: Mapping[str, Sequence[str]], request: SearchRequest) -> list[list[float]]:
    wanted = {name: layer for layer, names in layers.items() for name in names}
    tensors: dict[str, list[NDArray[Any]]] = {layer: [] for layer in layers}
    for held in model.tensors():
        if held.name in wanted:
            tensors[wanted[held.name]].append(model.values(held))
    return [[layer_cost(each, grid, request.objective) for grid in request.grids] for each in tensors.values()]


def _confirmed(
    model: OnnxModel,
    plan: Plan,
    session: Session,
    data: DeploymentData,
    *,
    settings: SessionSettings,
    batch: int,
    progress: Progress,
) -> Flips:
    """Look at the test part, for the first time and once."""
    assert data.test is not None
    assert data.test.labels is not None
    part = part_of(session, data.test, data.preprocessing)
    progress.note("the test part, once")
    base, rounded = (
        classes_of(model, each, part, settings=settings, batch=batch, progress=progress)
        for each in (Plan(grids={}), plan)
    )
    return flips(base, rounded, check_classes(data.test.labels))


def _many_looks(found: Found, limit: Limit) -> dict[str, Any]:
    """The loss that the validation images exclude if each path of plans counts as a look, and if each plan does."""
    paths, flips = 1 + found.rounds, found.best.flips
    return {
        "paths": paths,
        "shown_margin_points_by_paths": limit.as_one_of(paths).shown_points(flips),
        "shown_margin_points_by_looks": limit.as_one_of(len(found.trials)).shown_points(flips),
    }


def _uniform_trial(found: Found) -> Trial | None:
    """The cheapest uniform choice within the limit, of those tried."""
    uniform = (trial for trial in found.within if len(set(trial.choice)) == 1)
    return min(uniform, key=lambda trial: trial.cost, default=None)


def _uniform(found: Found, grids: Sequence[Grid]) -> dict[str, Any] | None:
    trial = _uniform_trial(found)
    if trial is None:
        return None
    return {"grid": str(grids[trial.choice[0]]), "estimated": trial.cost, "validation": trial.flips.to_json()}


def _uniform_sizes(
    model: OnnxModel, layers: Mapping[str, Sequence[str]], found: Found, request: SearchRequest
) -> dict[str, Any]:
    trial = _uniform_trial(found)
    if trial is None:
        return {}
    grid = request.grids[trial.choice[0]]
    names = [name for each in layers.values() for name in each]
    return {"best uniform": sizes(model, Plan(grids=dict.fromkeys(names, grid)))}


def _amount(cost: float, objective: Objective) -> str:
    return f"{cost / 1e6:.3f} MB" if objective is Objective.BYTES else f"{cost / 8e6:.3f} MB in bits"


def _comments(request: SearchRequest, trial: Trial, limit: Limit) -> list[str]:
    found = trial.flips
    return [
        f"A grid per initializer, by precbench {precbench.__version__}; `precbench round --plan` takes it.",
        f"Rounded weights: {_amount(trial.cost, request.objective)}"
        + (", packed and compressed." if request.objective is Objective.BYTES else "."),
        f"On {found.total:,} validation images: {found.difference_points:+.2f} points "
        f"[{found.low_points:+.2f}, {found.high_points:+.2f}], "
        + ("within" if limit.allows(found) else "NOT within")
        + f" {limit.points:g}.",
    ]
