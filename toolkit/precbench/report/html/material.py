"""What a report of a run is made from: results, predictions, samples, the network; and what of it is not there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import PrecbenchError
from precbench.graph import OnnxModel, load_model
from precbench.study.journal import Journal, Stage, State
from precbench.study.partial import is_finished, results_so_far
from precbench.study.run_folder import BASE_MODEL, VARIANT_STAGE
from precbench.study.table import read_results

Row = Mapping[str, Any]
_TITLES = {
    "all": "All groups together",
    "each-group": "Groups, one at a time",
    "each-layer": "Layers, one at a time",
    "combinations": "Combinations of groups",
}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment of a run.

    Attributes:
        name: as in the study.
        title: its kind in words, with the name where the study has several of that kind.
        suffix: of the names of its figures and tables; empty for the first of its kind.
        planned: all rows, those that failed or are left among them.
        smallest_margin_points: the least loss, in percentage points, that its images can exclude.
    """

    name: str
    title: str
    suffix: str
    planned: list[Row] = field(repr=False)
    smallest_margin_points: float

    @property
    def rows(self) -> list[Row]:
        """Those that are evaluated."""
        return [row for row in self.planned if row["flips"] is not None]


@dataclass(frozen=True, kw_only=True)
class RunMaterial:
    """A run folder, read. What is missing is None, and the page does without.

    Args:
        folder: of the run.
        results: as in results.json; of an unfinished run, what is there so far.
        is_finished: whether the run is.
        images: uint8 RGB [n, height, width, 3], the test images; None where they are not at hand.
    """

    folder: Path
    results: Mapping[str, Any]
    is_finished: bool
    images: NDArray[np.uint8] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Of the study."""
        return str(self.results["study"]["name"])

    def experiments(self, targets: str) -> list["Experiment"]:
        """Return the experiments of a kind, in the study's order."""
        found = [one for one in self.results["experiments"] if one["targets"] == targets]
        return [
            Experiment(
                name=one["name"],
                title=_TITLES[targets] if len(found) == 1 else f"{_TITLES[targets]} ({one['name']})",
                suffix="" if one is found[0] else f"-{one['name']}",
                planned=one["rows"],
                smallest_margin_points=one["smallest_margin_points"],
            )
            for one in found
        ]

    @cached_property
    def base(self) -> OnnxModel | None:
        """The full-precision model."""
        try:
            return load_model(self.folder / BASE_MODEL)
        except PrecbenchError:
            return None

    @cached_property
    def timing(self) -> Mapping[str, Any] | None:
        """The record of the timing."""
        try:
            record = json.loads((self.folder / "timing.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and len(record.get("measurements", ())) == 1 else None

    @cached_property
    def labels(self) -> NDArray[np.int64] | None:
        """The true classes."""
        return self._predictions("labels")

    @cached_property
    def base_classes(self) -> NDArray[np.int64] | None:
        """What full precision says."""
        return self._predictions("base")

    def classes_of(self, experiment: str, name: str) -> NDArray[np.int64] | None:
        """Return what a variant says of each test image."""
        key = self._keys.get((experiment, name))
        found = None if key is None else self._journal.predictions(key)
        return None if found is None else found.classes

    @property
    def stages(self) -> Mapping[str, Stage]:
        """The steps of the run that are done, but for variants of a base model that was replaced."""
        found = self._journal.stages()
        base = found["base"].files.get(BASE_MODEL) if "base" in found else None
        return {
            name: stage
            for name, stage in found.items()
            if not name.startswith(VARIANT_STAGE) or stage.facts.get("base") == base
        }

    @cached_property
    def _journal(self) -> Journal:
        return Journal(self.folder)

    @cached_property
    def _keys(self) -> dict[tuple[str, str], str]:
        return {(p.experiment, p.name): p.key for p in self._journal.points() if p.state is State.DONE}

    def _predictions(self, which: str) -> NDArray[np.int64] | None:
        stage = self._journal.stages().get("predictions")
        found = None if stage is None else self._journal.predictions(str(stage.facts.get(which)))
        return None if found is None else found.classes


def read_run(folder: Path, *, images: NDArray[np.uint8] | None = None) -> RunMaterial:
    """Read a run folder, finished or not.

    Args:
        folder: of the run.
        images: the test images, where they are at hand.

    Raises:
        OutputError: it is no run folder.
        UsageError, DataError: nothing of it is evaluated yet, or it is damaged.
    """
    found = None if is_finished(folder) else results_so_far(folder)
    if found is not None:
        return RunMaterial(folder=folder, results=found, is_finished=False, images=images)
    return RunMaterial(folder=folder, results=read_results(folder), is_finished=True, images=images)
