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
from precbench.study.partial import results_so_far
from precbench.study.run_folder import RESULTS
from precbench.study.table import read_results

Row = Mapping[str, Any]


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

    def planned(self, targets: str) -> list[Row]:
        """Return all rows of the first experiment of a kind, those that failed or are left among them."""
        return next((one["rows"] for one in self.results["experiments"] if one["targets"] == targets), [])

    def experiment(self, targets: str) -> list[Row]:
        """Return the rows of the first experiment of a kind that are evaluated."""
        return [row for row in self.planned(targets) if row["flips"] is not None]

    @cached_property
    def base(self) -> OnnxModel | None:
        """The full-precision model."""
        try:
            return load_model(self.folder / "base.onnx")
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
        """The steps of the run that are done."""
        return self._journal.stages()

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
    found = None if (folder / RESULTS).exists() else results_so_far(folder)
    if found is not None:
        return RunMaterial(folder=folder, results=found, is_finished=False, images=images)
    return RunMaterial(folder=folder, results=read_results(folder), is_finished=True, images=images)
