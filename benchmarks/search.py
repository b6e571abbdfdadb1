"""The search for decimals per layer against the obvious ones, at equal numbers of image evaluations.

Run: python benchmarks/search.py BASE.onnx STUDY --data-dir FOLDER
Each may spend what precbench's search takes, on the same validation images, with the same options and the same limit:
one number of decimals for all; greedy (from the best of those, one layer coarser at a time, the one that saves most
first); Optuna's TPE with the limit as its constraint, begun with that same plan; and the accuracy-aware loop of NNCF
re-created: all layers a step coarser than holds, ranked on 300 images by how much reverting each alone brings the
outputs back, then reverted in that order until the limit holds. Every plan that is found is looked at once on the test
images. It writes benchmarks/results/search.json and .md.
"""

import contextlib
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from laboratory import HERE, table_of, write_result

from precbench.accuracy import flips
from precbench.bench.sessions import open_model
from precbench.deploy.data import load_deployment_data
from precbench.errors import NoTimeError
from precbench.files import file_digest
from precbench.graph import Plan, list_initializers, load_model
from precbench.grids import parse_grid
from precbench.runtime import SessionSettings, usable_cores
from precbench.search.costs import Objective, layer_costs
from precbench.search.evaluating import Budget, ModelEvaluator, Part, classes_of, part_of
from precbench.search.finding import CALIBRATION_SAMPLES, sizes
from precbench.search.frontier import Choice, cost_of
from precbench.search.journal import SearchJournal
from precbench.search.limit import Limit
from precbench.search.searching import Trial, search
from precbench.study.experiments import target_layers

RANKING_IMAGES = 300


class SpentError(Exception):
    """The budget has no room for another plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What every way works on.

    Attributes:
        make: a fresh evaluator with so many image evaluations to spend; what was evaluated before is not run again.
        costs: per layer of each.
        limit: of the loss.
    """

    make: Callable[[int | None], ModelEvaluator]
    costs: Sequence[Sequence[float]]
    limit: Limit


class Tries:
    """The trials of one way, within its budget; the best, and after how many image evaluations it was found."""

    def __init__(self, task: Task, budget: int | None) -> None:
        self.task, self.evaluator = task, task.make(budget)
        self.best: Trial | None = None
        self.at = self.count = 0

    def __call__(self, choice: Choice) -> Trial:
        """Try a choice."""
        if not self.evaluator.enough_for(trials=1, variants=0):
            raise SpentError
        trial = Trial(choice=choice, cost=cost_of(self.task.costs, choice), flips=self.evaluator.trial(choice))
        self.count += 1
        if self.task.limit.allows(trial.flips) and (self.best is None or trial.cost < self.best.cost):
            self.best, self.at = trial, self.evaluator.evaluations
        return trial


def main() -> None:
    """Search in each way, confirm each plan, and write the result."""
    options = read_options()
    session = open_model(options.base, SessionSettings())
    data = load_deployment_data(
        options.study, session, directory=options.data_dir, most_calibration=CALIBRATION_SAMPLES
    )
    assert data.validation is not None
    assert data.test is not None
    model = load_model(options.base)
    layers, grids = target_layers(list_initializers(model)), [parse_grid(text) for text in options.grids]
    settings = SessionSettings(intra_op_threads=usable_cores())
    calibration, validation, test = (
        part_of(session, part, data.preprocessing) for part in (data.calibration, data.validation, data.test)
    )
    with TemporaryDirectory() as folder:
        about = [file_digest(options.base), options.study, list(map(str, grids))]
        journal = SearchJournal(options.journal or Path(folder) / "journal", about)

        def make(evaluations: int | None) -> ModelEvaluator:
            return ModelEvaluator(
                model, layers, grids, calibration=calibration, validation=validation, settings=settings,
                batch=32, budget=Budget(evaluations=evaluations), journal=journal,
            )  # fmt: skip

        costs = layer_costs(model, layers, grids, Objective.BYTES)
        limit = Limit(points=options.max_drop)
        ranking = calibration.only(np.arange(min(RANKING_IMAGES, calibration.rows)))
        ways = run_all(Task(make=make, costs=costs, limit=limit), options.budget, ranking, settings)

    def confirmed(choice: Choice) -> dict[str, Any]:
        plan = make_plan(choice)
        base, rounded = (classes_of(model, each, test, settings=settings, batch=32) for each in (Plan(grids={}), plan))
        assert test.labels is not None
        return {"test": flips(base, rounded, test.labels).to_json(), "sizes": sizes(model, plan)}

    make_plan = make(None).plan
    for way in ways:
        if way["choice"] is not None:
            way.update(confirmed(tuple(way["choice"])))
    value = {
        "base_digest": file_digest(options.base),
        "study": options.study,
        "max_drop_points": options.max_drop,
        "grids": list(map(str, grids)),
        "validation_images": validation.rows,
        "test_images": test.rows,
        "ways": ways,
    }
    write_result(options.results, "search", value, text(value))


def read_options() -> Namespace:
    """Read the command line."""
    made = ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    made.add_argument("base", type=Path, help="the full-precision model")
    made.add_argument("study", help="whose data are meant")
    made.add_argument("--data-dir", type=Path, help="where they lie")
    made.add_argument("--max-drop", type=float, default=0.5, help="percentage points that may be lost")
    made.add_argument("--grids", nargs="+", default=[f"decimal:{n}" for n in range(5)], help="options of each layer")
    made.add_argument("--budget", type=int, default=600_000, help="image evaluations of each way at most")
    made.add_argument("--journal", type=Path, help="what was evaluated, to go on with; a temporary one where not given")
    made.add_argument("--results", type=Path, default=HERE / "results", help="folder for the result")
    return made.parse_args()


def run_all(task: Task, budget: int, ranking: Part, settings: SessionSettings) -> list[dict[str, Any]]:
    """Return what each way found; the others may spend what precbench's search did."""
    ours = Tries(task, budget)
    found = search(task.costs, Watched(ours), limit=task.limit)
    spent = ours.evaluator.evaluations
    ways = [row("precbench search", ours, rounds=found.rounds)]
    print(ways[-1], flush=True)
    uniform = Tries(task, None)
    for place in range(len(task.costs[0])):
        uniform((place,) * len(task.costs))
    ways.append(row("best uniform", uniform))
    assert uniform.best is not None
    start = uniform.best.choice
    for name, way in (("greedy per layer", greedy), ("Optuna TPE", tpe), ("accuracy-aware reverting", reverting)):
        tries = Tries(task, spent)
        with contextlib.suppress(SpentError):
            way(task, tries, start, ranking, settings)
        ways.append(row(name, tries))
        print(ways[-1], flush=True)
    return ways


class Watched:
    """The evaluator of precbench's search, its trials counted like those of the others."""

    def __init__(self, tries: Tries) -> None:
        self._tries = tries
        self.shifts, self.enough_for = tries.evaluator.shifts, tries.evaluator.enough_for

    def trial(self, choice: Choice) -> Any:
        """Try a choice, and return its flips."""
        try:
            return self._tries(choice).flips
        except SpentError as error:
            raise NoTimeError("the budget is spent", "give more") from error


def row(name: str, tries: Tries, **more: Any) -> dict[str, Any]:
    """Return what a way found."""
    best = tries.best
    return {
        "way": name,
        "evaluations": tries.evaluator.evaluations,
        "plans": tries.count,
        "choice": None if best is None else list(best.choice),
        "bytes": None if best is None else best.cost,
        "found_after": tries.at,
        "validation": None if best is None else best.flips.to_json(),
        **more,
    }


def greedy(task: Task, tries: Tries, start: Choice, _ranking: Part, _settings: SessionSettings) -> None:
    """One layer coarser at a time, the one that saves most first; what does not hold is not tried again."""
    current, refused = tries(start).choice, set[tuple[int, int]]()
    while True:
        steps = [
            (task.costs[layer][place] - task.costs[layer][place - 1], layer)
            for layer, place in enumerate(current)
            if place > 0 and (layer, place) not in refused
        ]
        if not steps:
            return
        _, layer = max(steps)
        tried = (*current[:layer], current[layer] - 1, *current[layer + 1 :])
        if task.limit.allows(tries(tried).flips):
            current = tried
        else:
            refused.add((layer, current[layer]))


def tpe(task: Task, tries: Tries, start: Choice, _ranking: Part, _settings: SessionSettings) -> None:
    """Optuna's tree-structured Parzen estimator, the limit as its constraint."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)

    def objective(trial: Any) -> float:
        places = [trial.suggest_int(str(layer), 0, len(task.costs[0]) - 1) for layer in range(len(task.costs))]
        tried = tries(tuple(places))
        trial.set_user_attr("over", task.limit.shown_points(tried.flips) - task.limit.points)
        return tried.cost

    sampler = optuna.samplers.TPESampler(seed=0, constraints_func=lambda trial: [trial.user_attrs["over"]])
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial({str(layer): place for layer, place in enumerate(start)})
    study.optimize(objective, n_trials=10_000)


def reverting(task: Task, tries: Tries, start: Choice, ranking: Part, settings: SessionSettings) -> None:
    """All layers a step coarser than holds; those that matter most are put back until the limit holds."""
    from precbench.search.damage import divergences, log_probabilities

    coarse = tuple(max(0, place - 1) for place in start)
    evaluator = tries.evaluator

    def divergence(choice: Choice | None) -> Any:
        plan = Plan(grids={}) if choice is None else evaluator.plan(choice)
        return log_probabilities(scores_of(evaluator.model, plan, ranking, settings))

    reference = divergence(None)
    effects = []
    for layer in range(len(coarse)):
        reverted = (*coarse[:layer], start[layer], *coarse[layer + 1 :])
        effects.append((float(divergences(reference, divergence(reverted)).mean()), layer))
    evaluator._spent.evaluations += (1 + len(coarse)) * ranking.rows
    current = list(coarse)
    for _, layer in sorted(effects):  # whose reverting leaves the least divergence
        if task.limit.allows(tries(tuple(current)).flips):
            return
        current[layer] = start[layer]
    tries(tuple(current))


def scores_of(model: Any, plan: Plan, part: Part, settings: SessionSettings) -> Any:
    """Return a rounded model's scores."""
    from precbench.sweep import Variant, rounded_variant, sweep

    variant = rounded_variant("v", model, plan) if plan.grids else Variant(name="v", values=dict)
    (one,) = sweep(model, [variant], part.batches(32), settings)
    return next(iter(one.outputs.values()))


def text(value: Mapping[str, Any]) -> str:
    """Return the result as Markdown."""
    uniform = next(way for way in value["ways"] if way["way"] == "best uniform")
    rows = []
    for way in value["ways"]:
        if way["choice"] is None:
            rows.append([way["way"], "none", "", "", f"{way['evaluations']:,}", "", "", ""])
            continue
        packed, theirs = (each["sizes"]["packed_zstd_bytes"] for each in (way, uniform))
        test, validation = way["test"], way["validation"]
        rows.append(
            [
                way["way"],
                f"{packed / 1e6:.3f}",
                f"{100 * (1 - packed / theirs):.1f} %",
                f"{way['sizes']['zstd_bytes'] / 1e6:.3f}",
                f"{way['found_after']:,} of {way['evaluations']:,}",
                str(way["plans"]),
                points(validation),
                points(test),
            ]
        )
    head = ["way", "packed, zstd MB", "fewer", "float32, zstd MB", "image evaluations", "plans", "validation", "test"]
    return (
        f"{value['study']}: the upper end of the paired 95 % interval of the loss on {value['validation_images']:,} "
        f"validation images at most {value['max_drop_points']:g} points; options for each layer "
        f"{', '.join(value['grids'])}; the test images ({value['test_images']:,}) looked at once for each plan.\n\n"
        f"{table_of(head, rows)}\n"
    )


def points(found: Mapping[str, Any]) -> str:
    """Write a difference with its interval."""
    return f"{found['difference_points']:+.2f} [{found['low_points']:+.2f}, {found['high_points']:+.2f}]"


if __name__ == "__main__":
    main()
