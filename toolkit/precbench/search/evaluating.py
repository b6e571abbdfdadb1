"""The model as the search sees it: shifts on calibration samples, flips on validation images; each once."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.accuracy import Flips, check_classes, flips, top_classes
from precbench.datasets import Preprocessing
from precbench.graph import OnnxModel, Plan, round_model, save_model
from precbench.grids import Grid
from precbench.progress import SILENT, Progress
from precbench.runtime import Session, SessionSettings, open_session, predict_batches
from precbench.runtime.batches import batched_names, rows_of
from precbench.search.damage import check_finite, finite_scores, lead_shifts, log_probabilities
from precbench.search.frontier import Choice, Shifts
from precbench.search.journal import SearchJournal
from precbench.search.searching import Options
from precbench.study.evaluation import EvaluationData
from precbench.study.screening import feeds_of_rows
from precbench.sweep import Batches, Variant, rounded_variant, sweep

SHIFT_SAMPLES = 512
"""Samples that shifts are measured on in a round, others in each as far as there are."""
_DIGITS = 4
"""Decimals of a shift that are kept: it is a share of a lead."""

Make = Callable[[NDArray[np.intp]], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Samples of one part of the data.

    Args:
        rows: how many.
        make: from their numbers to the model's feeds.
        labels: int64 [rows]; None where they are not needed.
    """

    rows: int
    make: Make
    labels: NDArray[np.int64] | None = None

    def batches(self, size: int) -> Batches:
        """Return all of them, in order."""
        return Batches(rows=self.rows, size=size, make=lambda start, stop: self.make(np.arange(start, stop)))

    def only(self, numbers: NDArray[np.intp]) -> "Part":
        """Return some of the samples, by their numbers, as a part."""
        labels = None if self.labels is None else self.labels[numbers]
        return Part(rows=len(numbers), make=lambda rows: self.make(numbers[rows]), labels=labels)


def part_of(session: Session, data: EvaluationData, preprocessing: Preprocessing | None = None) -> Part:
    """Return data as a part, with its labels where it has any.

    Args:
        session: of the model.
        data: images, or arrays.
        preprocessing: of images; None for what the model's metadata says.
    """
    images, arrays = data.images, data.inputs or {}
    rows = len(images) if images is not None else rows_of(arrays, batched_names(session.inputs))
    labels = None if data.labels is None else check_classes(data.labels)
    return Part(rows=rows, make=feeds_of_rows(session, data, preprocessing), labels=labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much a search may take: image evaluations, seconds, either or both; None is no limit."""

    evaluations: int | None = None
    seconds: float | None = None


@dataclass(slots=True, kw_only=True)
class _Spent:
    """What was spent, what a journal remembers among it, and what the next of a kind is likely to take."""

    evaluations: int = 0
    seconds: float = 0.0
    trial_s: float = 0.0
    variant_s: float = 0.0


class ModelEvaluator:
    """A model with its layers' options, evaluated on two parts of the data; the test part is not among them."""

    def __init__(
        self,
        model: OnnxModel,
        layers: Mapping[str, Sequence[str]],
        grids: Sequence[Grid],
        *,
        calibration: Part,
        validation: Part,
        settings: SessionSettings,
        batch: int,
        budget: Budget,
        journal: SearchJournal,
        progress: Progress = SILENT,
    ) -> None:
        """Keep what is needed; nothing is run yet.

        Args:
            model: full precision.
            layers: layer to its initializers.
            grids: the options of each.
            calibration: to measure shifts on.
            validation: labelled, to choose by.
            settings: of the sessions.
            batch: samples per call.
            budget: what may be spent.
            journal: what is known already.
            progress: told of each evaluation.
        """
        self.model, self.layers, self.grids = model, layers, tuple(grids)
        self._calibration, self._validation = calibration, validation
        self._settings, self._batch, self._budget = settings, batch, budget
        self._journal, self._progress, self._spent = journal, progress, _Spent()
        self._base: NDArray[np.int64] | None = None
        self._rounds = 0

    @property
    def evaluations(self) -> int:
        """Images that models were run on, those of earlier sittings among them."""
        return self._spent.evaluations

    @property
    def least_evaluations(self) -> int:
        """Images that the smallest search takes: full precision, and one plan."""
        return 2 * self._validation.rows

    def plan(self, choice: Choice) -> Plan:
        """Return a choice as a plan."""
        pairs = zip(self.layers.values(), choice, strict=True)
        return Plan(grids={name: self.grids[place] for names, place in pairs for name in names})

    def enough_for(self, *, trials: int, variants: int) -> bool:
        """Whether the budget has room for so many more; see `searching.Evaluator`."""
        spent, budget = self._spent, self._budget
        wanted = trials * self._validation.rows
        if variants:
            wanted += (variants + 2) * min(SHIFT_SAMPLES, self._calibration.rows)
        if self._base is None:
            wanted += self._validation.rows
        seconds = trials * spent.trial_s + variants * spent.variant_s
        return (budget.evaluations is None or spent.evaluations + wanted <= budget.evaluations) and (
            budget.seconds is None or spent.seconds + seconds <= budget.seconds
        )

    def trial(self, choice: Choice) -> Flips:
        """Return what a choice flips on the validation images; see `searching.Evaluator`."""
        base = self._base_classes()
        found, seconds = self._known(
            ["trial", list(choice)], lambda: {"choice": list(choice), "classes": self._classes(self.plan(choice))}
        )
        self._spent.evaluations += self._validation.rows
        self._spent.trial_s = seconds
        if not self._spent.variant_s:  # the first guess; a session is made for each, which this has in it
            self._spent.variant_s = seconds * SHIFT_SAMPLES / self._validation.rows
        return self._flips(base, found["classes"])

    def known(self) -> list[tuple[Choice, Flips]]:
        """Return all trials that the journal has, of this sitting and earlier ones."""
        base = self._journal.get("base")
        if base is None:
            return []
        before = np.array(base["classes"], np.int64)
        return [
            (tuple(facts["choice"]), self._flips(before, facts["classes"]))
            for facts in self._journal.facts()
            if "choice" in facts
        ]

    def _flips(self, base: NDArray[np.int64], classes: Sequence[int]) -> Flips:
        assert self._validation.labels is not None
        return flips(base, np.array(classes, np.int64), self._validation.labels)

    def shifts(self, around: Choice | None, options: Options) -> Shifts:
        """Return what options do to the outputs, on samples of their own each time; see `searching.Evaluator`."""
        part = self._samples()
        self._rounds += 1
        about = [self._rounds, None if around is None else list(around)]
        pairs = [(layer, place) for layer, places in enumerate(options) for place in places]
        self._measure(around, pairs, part, about)
        seconds = 0.0
        shifts = np.full((len(self.layers), len(self.grids), part.rows), np.nan)
        for pair in (None, *pairs):
            facts = self._journal.get(["shift", *about, pair])
            seconds += facts["seconds"]
            if pair is None:
                centre = np.array(facts["shifts"], np.float64)
            else:
                shifts[pair] = np.array(facts["shifts"], np.float64) - centre
        if around is not None:
            shifts[range(len(around)), around] = 0.0
        self._spent.seconds += seconds
        self._spent.evaluations += (len(pairs) + 2) * part.rows
        self._spent.variant_s = seconds / max(len(pairs), 1)
        return Shifts(around=centre, options=shifts)

    def _known(self, key: Any, make: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], float]:
        """Return facts from the journal, or make and record them; with the seconds that they took."""
        facts = self._journal.get(key)
        if facts is None:
            began = time.perf_counter()
            facts = make()
            facts["seconds"] = time.perf_counter() - began
            self._journal.put(key, facts)
        self._spent.seconds += facts["seconds"]
        return facts, float(facts["seconds"])

    def _base_classes(self) -> NDArray[np.int64]:
        if self._base is None:
            found, _ = self._known("base", lambda: {"classes": self._classes(Plan(grids={}))})
            self._spent.evaluations += self._validation.rows
            self._base = np.array(found["classes"], np.int64)
        return self._base

    def _classes(self, plan: Plan) -> list[int]:
        found = classes_of(
            self.model, plan, self._validation, settings=self._settings, batch=self._batch, progress=self._progress
        )
        return [int(each) for each in found]

    def _samples(self) -> Part:
        """The next samples to measure on; from the first again where they end."""
        rows = self._calibration.rows
        start = self._rounds * SHIFT_SAMPLES
        return self._calibration.only(np.unique(np.arange(start, start + min(SHIFT_SAMPLES, rows)) % rows))

    def _measure(
        self, around: Choice | None, pairs: Sequence[tuple[int, int]], part: Part, about: Sequence[Any]
    ) -> None:
        """Measure what the journal has not, and record each as soon as it is known. None: of the base itself."""
        missing = [pair for pair in (None, *pairs) if self._journal.get(["shift", *about, pair]) is None]
        if not missing:
            return
        began = time.perf_counter()
        ((_, scores),) = self._scores(self.model, [Variant(name="", values=dict)], part)
        reference = log_probabilities(check_finite(scores))
        base = self.model if around is None else round_model(self.model, self.plan(around)).model
        by_name = {str(pair): pair for pair in missing}
        for name, scores in self._scores(base, [self._variant(pair) for pair in missing], part):
            shifts = _rounded(lead_shifts(reference, log_probabilities(finite_scores(scores))))
            now = time.perf_counter()
            self._journal.put(["shift", *about, by_name[name]], {"shifts": shifts, "seconds": now - began})
            began = now

    def _variant(self, pair: tuple[int, int] | None) -> Variant:
        """A layer at an option, the others as in the base, rounded from full precision; None: the base itself."""
        if pair is None:
            return Variant(name=str(pair), values=dict)
        layer, place = pair
        names = tuple(self.layers.values())[layer]
        values = rounded_variant("", self.model, Plan(grids=dict.fromkeys(names, self.grids[place]))).values
        return Variant(name=str(pair), values=values)

    def _scores(self, base: OnnxModel, variants: Sequence[Variant], part: Part) -> Iterator[tuple[str, NDArray[Any]]]:
        settings = replace(self._settings, intra_op_threads=1)  # a sweep runs a session per core
        for one in sweep(base, variants, part.batches(self._batch), settings, progress=self._progress):
            yield one.variant, next(iter(one.outputs.values()))


def _rounded(values: NDArray[np.float64]) -> list[float]:
    """As a journal keeps them; what is read from it is what was used before."""
    return [float(value) for value in values.round(_DIGITS)]


def classes_of(
    model: OnnxModel, plan: Plan, part: Part, *, settings: SessionSettings, batch: int, progress: Progress = SILENT
) -> NDArray[np.int64]:
    """Return the class that a model gives each sample when it is rounded by a plan.

    Where a rounded model's scores are no numbers it is one past the last class, and so never right.

    Raises:
        PrecbenchError: the rounded model cannot be run, or full precision's scores have no highest.
    """
    rounded = round_model(model, plan).model if plan.grids else model
    with TemporaryDirectory(prefix="precbench-") as folder:
        path = Path(folder) / "model.onnx"
        save_model(rounded, path)
        outputs = predict_batches(open_session(path, settings), part.batches(batch), rows=part.rows, progress=progress)
    scores = next(iter(outputs.values()))
    if not plan.grids:
        return top_classes(scores)
    usable = np.isfinite(scores).all(axis=1)
    return np.where(usable, top_classes(finite_scores(scores)), scores.shape[1])
