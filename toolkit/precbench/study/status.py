"""What of a run is done, running, failed and left: read from its journal, also while it runs."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from precbench.errors import PrecbenchError
from precbench.study.journal import Journal, PointState, State
from precbench.study.run_folder import check_is_run_folder, is_at_work
from precbench.study.table import read_results

STEPS = ("checkpoint", "base", "timing", "results")
"""Of a run, apart from the points of its experiments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How far a run is.

    Attributes:
        folder: of the run.
        study: its name.
        at_work: whether a process works in the folder now.
        steps: step to whether it was finished (with what the study asked for then).
        experiments: experiment to state to number of points.
        failed: the points that failed, with the reason.
    """

    folder: Path
    study: str
    at_work: bool
    steps: Mapping[str, bool]
    experiments: Mapping[str, Mapping[State, int]]
    failed: tuple[PointState, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "folder": str(self.folder),
            "study": self.study,
            "at_work": self.at_work,
            "steps": dict(self.steps),
            "experiments": {
                name: {str(state): counts.get(state, 0) for state in State} for name, counts in self.experiments.items()
            },
            "failed": [
                {"experiment": point.experiment, "name": point.name, "why": point.detail} for point in self.failed
            ],
        }


def status_of(folder: Path) -> Status:
    """Return how far the run in a folder is.

    A point that was running when its process was killed is left: it begins anew.

    Raises:
        OutputError: the folder is no run folder.
        UsageError: its journal is damaged, or of another version.
    """
    check_is_run_folder(folder, exists=True)
    journal, at_work = Journal(folder), is_at_work(folder)
    stages, points = journal.stages(), journal.points()
    counts: dict[str, Counter[State]] = {}
    for point in points:
        state = State.LEFT if point.state is State.RUNNING and not at_work else point.state
        counts.setdefault(point.experiment, Counter())[state] += 1
    return Status(
        folder=folder,
        study=str(journal.study().get("name")),
        at_work=at_work,
        steps={step: step in stages for step in STEPS} | {"results": "results" in stages and _has_results(folder)},
        experiments=counts,
        failed=tuple(point for point in points if point.state is State.FAILED),
    )


def _has_results(folder: Path) -> bool:
    try:
        read_results(folder)
    except PrecbenchError:
        return False
    return True
