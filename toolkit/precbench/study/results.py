"""What a study found, from what its journal holds: per experiment one row per point, paired with full precision."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.accuracy import Accuracy, Flips, accuracy_of, confusion_matrix, flips
from precbench.accuracy.noninferiority import Decision, decide, smallest_margin_points
from precbench.grids import DecimalGrid
from precbench.study.definition import AccuracySection, Study
from precbench.study.experiments import Point
from precbench.study.journal import Journal, PointState, Predictions, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A point with what was found of it.

    Attributes:
        point: what was rounded.
        state: how far it is.
        detail: why it failed; empty otherwise.
        facts: of its predictions; None unless it is done.
        accuracy: of its predictions; None likewise.
        flips: against full precision; None likewise.
        decision: what the flips show, as one of the experiment's points that are done; None likewise.
    """

    point: Point
    state: State
    detail: str
    facts: Mapping[str, Any] | None
    accuracy: Accuracy | None
    flips: Flips | None
    decision: Decision | None

    @property
    def keeps(self) -> bool:
        """Whether it is shown to lose less than the margin."""
        return self.decision is not None and self.decision.within_margin

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.point.name,
            "parts": dict(self.point.parts),
            "decimals": _one_number(self.point),
            "state": str(self.state),
            "detail": self.detail,
            **(self.facts or {}),
            "accuracy": None if self.accuracy is None else self.accuracy.to_json(),
            "flips": None if self.flips is None else self.flips.to_json(),
            "decision": None if self.decision is None else self.decision.to_json(),
        }


def rows_of(
    points: Sequence[Point],
    states: Mapping[str, PointState],
    predictions: Callable[[str], Predictions | None],
    *,
    base: NDArray[np.int64],
    labels: NDArray[np.int64],
    accuracy: AccuracySection,
) -> list[Row]:
    """Pair the points of one experiment with full precision; the words are corrected for all of them that are done.

    Args:
        points: of one experiment, in order.
        states: point's name to its state.
        predictions: a point's key to what it predicts; None where it is not done. One is held at a time.
        base: int64 [images], classes that full precision predicts.
        labels: int64 [images], the true ones.
        accuracy: the margin and the level.
    """
    paired, facts, right = dict[str, Flips](), dict[str, Mapping[str, Any]](), dict[str, Accuracy]()
    for point in points:
        found = predictions(states[point.name].key)
        if found is not None:
            paired[point.name] = flips(base, found.classes, labels, level=accuracy.level)
            facts[point.name], right[point.name] = found.facts, accuracy_of(labels, found.classes)
    decisions = dict(zip(paired, decide([*paired.values()], margin_points=accuracy.margin_points), strict=True))
    return [
        Row(
            point=point,
            state=State.DONE if point.name in paired else states[point.name].state,
            detail=states[point.name].detail,
            facts=facts.get(point.name),
            accuracy=right.get(point.name),
            flips=paired.get(point.name),
            decision=decisions.get(point.name),
        )
        for point in points
    ]


def rows_by_experiment(
    experiments: Mapping[str, Sequence[Point]],
    journal: Journal,
    *,
    base: NDArray[np.int64],
    labels: NDArray[np.int64],
    accuracy: AccuracySection,
) -> dict[str, list[Row]]:
    """Pair the points of every experiment with full precision; see `rows_of`.

    Args:
        experiments: name to its points, all of them planned in the journal.
        journal: of the run.
        base: int64 [images], classes that full precision predicts.
        labels: int64 [images], the true ones.
        accuracy: the margin and the level.
    """
    states: dict[str, dict[str, PointState]] = {}
    for state in journal.points():
        states.setdefault(state.experiment, {})[state.name] = state
    return {
        name: rows_of(points, states.get(name, {}), journal.predictions, base=base, labels=labels, accuracy=accuracy)
        for name, points in experiments.items()
    }


def accuracy_json(
    study: Study, rows: Mapping[str, Sequence[Row]], images: int, row_json: Callable[[Row], Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the margin, what so many images can show of it, and every experiment with its rows.

    Args:
        study: whose experiments these are.
        rows: of each experiment, by its name.
        images: that were evaluated.
        row_json: a row's plain values.
    """
    level = study.accuracy.level
    return {
        "margin_points": study.accuracy.margin_points,
        "level": level,
        "smallest_margin_points": smallest_margin_points(images, level=level),
        "experiments": [
            {
                "name": one.name,
                "targets": one.targets,
                "smallest_margin_points": smallest_margin_points(
                    images, level=1 - (1 - level) / max(1, len(rows[one.name]))
                ),
                "rows": [row_json(row) for row in rows[one.name]],
            }
            for one in study.experiment
        ],
    }


def winner(rows: Sequence[Row], elements: Mapping[str, int]) -> Row | None:
    """Return the row of the fewest decimals that is shown to lose less than the margin; None where none is.

    Decimals are counted per targeted weight; one that is left at full precision counts as 9, as in the paper.

    Args:
        rows: of one experiment.
        elements: targeted initializer's name to how many weights it has.
    """

    def cost(row: Row) -> int:
        grids = row.point.plan.grids
        decimals = {name: grid.decimals for name, grid in grids.items() if isinstance(grid, DecimalGrid)}
        return sum(count * decimals.get(name, 9) for name, count in elements.items())

    return min((row for row in rows if row.keeps), key=cost, default=None)


def base_json(predicted: NDArray[np.int64], labels: NDArray[np.int64], class_names: Sequence[str]) -> dict[str, Any]:
    """Return accuracy and confusion of full precision (rows are true classes)."""
    classes = max(len(class_names), int(predicted.max()) + 1)
    return {
        "accuracy": accuracy_of(labels, predicted).to_json(),
        "confusion": confusion_matrix(labels, predicted, classes).tolist(),
        "class_names": list(class_names),
    }


def _one_number(point: Point) -> int | None:
    numbers = set(point.parts.values())
    return numbers.pop() if len(numbers) == 1 else None
