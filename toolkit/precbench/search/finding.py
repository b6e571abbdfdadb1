"""A search from files to a plan file: what `precbench search` does."""

import hashlib
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
from precbench.errors import DataError, ModelError, OutputError, UsageError
from precbench.files import array_digest, check_named, check_output, file_digest, write_text
from precbench.graph import (
    OnnxModel,
    Plan,
    Role,
    list_initializers,
    load_model,
    model_digest,
    round_model,
    save_model,
)
from precbench.grids import DecimalGrid, Grid
from precbench.progress import SILENT, Progress
from precbench.runtime import Session, SessionSettings, fixed_batch, usable_cores
from precbench.search.costs import Objective, layer_costs
from precbench.search.evaluating import SHIFT_SAMPLES, Budget, ModelEvaluator, classes_of, part_of
from precbench.search.frontier import Choice, cost_of
from precbench.search.journal import SearchJournal
from precbench.search.limit import Limit
from precbench.search.searching import ROUNDS, Found, Trial, rank, search
from precbench.study.experiments import target_layers
from precbench.study.plan_file import plan_text

_MOST_IMAGES = 10**12
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
        check_named(self.output)
        check_output(self.output, force=True)
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
    model = load_model(session.model)
    digest = model_digest(model, session.model)
    labels = _labels(data)
    layers = target_layers(list_initializers(model))
    limit = Limit(points=request.max_drop_points)
    _check_images(len(labels), limit)
    costs = layer_costs(model, layers, request.grids, request.objective)
    settings = SessionSettings(provider=session.provider, intra_op_threads=usable_cores())
    batch = fixed_batch(session.inputs) or request.batch
    journal = SearchJournal(journal_of(request.output), _about(request, digest, data, settings, batch))
    written = _WrittenPlan(request.output, journal)
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
        journal=journal,
        progress=progress,
    )
    _check_budget(request.budget, evaluator)

    def known() -> list[Trial]:
        return [Trial(choice=one, cost=cost_of(costs, one), flips=flips) for one, flips in evaluator.known()]

    earlier = min((rank(trial, limit) for trial in known()), default=None)

    def keep(trial: Trial) -> None:
        word = "within" if limit.allows(trial.flips) else "not within"
        progress.note(
            f"best so far: {_amount(trial.cost, request.objective)}, {word} {limit.points:g} points "
            f"({trial.flips.difference_points:+.2f} [{trial.flips.low_points:+.2f}, {trial.flips.high_points:+.2f}])"
        )
        if earlier is None or rank(trial, limit) <= earlier:  # else an earlier sitting found a better one
            plan = evaluator.plan(trial.choice)
            written.write(plan_text(plan.grids, model=digest, about=_comments(request, trial, limit)))

    found = search(costs, evaluator, limit=limit, better=keep)
    looks = known()
    best = min([found.best, *looks], key=lambda trial: rank(trial, limit))
    plan = evaluator.plan(best.choice)
    written.write(plan_text(plan.grids, model=digest, about=_comments(request, best, limit)))
    test, test_looks = _confirmed(
        model, evaluator, best.choice, session, data, settings=settings, batch=batch, journal=journal, progress=progress
    )
    return {
        "model": str(session.model),
        "model_digest": digest,
        "output": str(request.output),
        "journal": str(journal_of(request.output)),
        "data": dict(data.validation.description),
        "holds": limit.allows(best.flips),
        "max_drop_points": request.max_drop_points,
        "objective": str(request.objective),
        "grids": list(map(str, request.grids)),
        "evaluations": evaluator.evaluations,
        "rounds": found.rounds,
        "stopped": found.stopped,
        "looks": len(looks),
        "plan": {name: str(grid) for name, grid in plan.grids.items()},
        "estimated": best.cost,
        "validation": best.flips.to_json(),
        "validation_many_looks": _many_looks(best.flips, limit, paths=1 + found.rounds, looks=len(looks)),
        "test": test.to_json(),
        "test_looks": test_looks,
        "other_weights": _other_weights(model, plan),
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
    while shown(enough) > limit.points and enough < _MOST_IMAGES:
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


def _confirmed(
    model: OnnxModel,
    evaluator: ModelEvaluator,
    choice: Choice,
    session: Session,
    data: DeploymentData,
    *,
    settings: SessionSettings,
    batch: int,
    journal: SearchJournal,
    progress: Progress,
) -> tuple[Flips, int]:
    """Look at the test part, once for a plan, in however many sittings; return also how many plans it has seen."""
    assert data.test is not None
    assert data.test.labels is not None
    part = part_of(session, data.test, data.preprocessing)
    truth = check_classes(data.test.labels)
    about = [array_digest(truth), part.rows]

    def classes(plan: Plan, key: list[Any], more: dict[str, Any]) -> NDArray[np.int64]:
        facts = journal.get(key)
        if facts is None:
            found = classes_of(model, plan, part, settings=settings, batch=batch, progress=progress)
            facts = {**more, "test": [int(each) for each in found]}
            journal.put(key, facts)
        return np.array(facts["test"], np.int64)

    progress.note("the test part, once")
    base = classes(Plan(grids={}), ["test base", *about], {})
    rounded = classes(evaluator.plan(choice), ["test", *about, list(choice)], {"test_choice": list(choice)})
    seen = {tuple(facts["test_choice"]) for facts in journal.facts() if "test_choice" in facts}
    return flips(base, rounded, truth), len(seen)


def _many_looks(flips: Flips, limit: Limit, *, paths: int, looks: int) -> dict[str, Any]:
    """The loss that the validation images exclude if each path of plans counts as a look, and if each plan does."""
    return {
        "paths": paths,
        "shown_margin_points_by_paths": limit.as_one_of(paths).shown_points(flips),
        "shown_margin_points_by_looks": limit.as_one_of(looks).shown_points(flips),
    }


def _other_weights(model: OnnxModel, plan: Plan) -> int:
    """How many weights are no targets and stay as they are."""
    return sum(one.role is Role.WEIGHT and one.name not in plan.grids for one in list_initializers(model))


class _WrittenPlan:
    """The plan file of a search: never in place of what it did not write itself."""

    def __init__(self, path: Path, journal: SearchJournal) -> None:
        self._path, self._journal = path, journal
        mine = {facts["plan"] for facts in journal.facts() if "plan" in facts}
        if path.exists() and file_digest(path) not in mine:
            raise OutputError(f"{path} exists, and not as this search wrote it", "name another -o, or remove it")

    def write(self, text: str) -> None:
        digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        if self._journal.get(["plan", digest]) is None:
            self._journal.put(["plan", digest], {"plan": digest})
        write_text(self._path, text)


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
    return f"{cost / 1e3:,.1f} kB" if objective is Objective.BYTES else f"{cost / 1e3:,.1f} kbit"


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
