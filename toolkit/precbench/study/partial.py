"""The results of a run that is not finished, as far as its journal has them."""

from pathlib import Path
from typing import Any

from precbench.errors import PrecbenchError
from precbench.graph import list_initializers, load_model
from precbench.study.definition import study_from_json
from precbench.study.experiments import points_of
from precbench.study.journal import Journal
from precbench.study.results import accuracy_json, base_json, rows_by_experiment
from precbench.study.run_folder import BASE_MODEL, RESULTS, check_is_run_folder
from precbench.study.table import SCHEMA_VERSION

_NO_FILE = {"file": None, "file_bytes": None, "zstd_bytes": None}


def is_finished(folder: Path) -> bool:
    """Whether a run folder's results are those of what lies in it.

    Raises:
        OutputError: it is no run folder.
        UsageError: its journal is damaged, or of another version.
    """
    check_is_run_folder(folder, exists=True)
    return (folder / RESULTS).exists() and "results" in Journal(folder).stages()


def results_so_far(folder: Path) -> dict[str, Any] | None:
    """Return what `results.json` would hold of what is evaluated; files and times are not in it.

    Returns:
        The results, or None where full precision itself is not evaluated yet.

    Raises:
        OutputError: it is no run folder.
        UsageError: its journal is damaged, or of another version.
    """
    check_is_run_folder(folder, exists=True)
    journal = Journal(folder)
    stage = journal.stages().get("predictions")
    base = None if stage is None else journal.predictions(str(stage.facts["base"]))
    labels = None if stage is None else journal.predictions(str(stage.facts["labels"]))
    if base is None or labels is None:
        return None
    try:
        study = study_from_json(journal.study())
        initializers = list_initializers(load_model(folder / BASE_MODEL))
    except PrecbenchError:
        return None
    planned = {(state.experiment, state.name) for state in journal.points()}
    experiments = {
        one.name: [point for point in points_of(one, initializers) if (one.name, point.name) in planned]
        for one in study.experiment
    }
    rows = rows_by_experiment(experiments, journal, base=base.classes, labels=labels.classes, accuracy=study.accuracy)
    names = [str(name) for name in labels.facts.get("class_names", [])]
    return {
        "schema_version": SCHEMA_VERSION,
        "study": journal.study(),
        "base": {**base_json(base.classes, labels.classes, names), **_NO_FILE},
        **accuracy_json(study, rows, len(labels.classes), lambda row: {**row.to_json(), "file": None, "timing": None}),
        "winners": {},
        "control": None,
        "timing": None,
        "environment": None,
        "zstd_level": None,
    }
