"""The results of a run that is not finished, as far as its journal has them."""

from pathlib import Path
from typing import Any

from precbench.accuracy.noninferiority import smallest_margin_points
from precbench.errors import PrecbenchError
from precbench.graph import list_initializers, load_model
from precbench.study.definition import Study, study_from_json
from precbench.study.experiments import points_of
from precbench.study.journal import Journal, PointState
from precbench.study.results import Row, base_json, rows_of
from precbench.study.run_folder import check_is_run_folder

_NO_FILE = {"file": None, "file_bytes": None, "zstd_bytes": None}


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
        initializers = list_initializers(load_model(folder / "base.onnx"))
    except PrecbenchError:
        return None
    states: dict[str, dict[str, PointState]] = {}
    for state in journal.points():
        states.setdefault(state.experiment, {})[state.name] = state
    experiments = []
    for one in study.experiment:
        points = [point for point in points_of(one, initializers) if point.name in states.get(one.name, {})]
        rows = rows_of(
            points,
            states.get(one.name, {}),
            journal.predictions,
            base=base.classes,
            labels=labels.classes,
            accuracy=study.accuracy,
        )
        experiments.append(_experiment(study, one.name, one.targets, rows, len(labels.classes)))
    names = [str(name) for name in labels.facts.get("class_names", [])]
    return {
        "schema_version": 2,
        "study": journal.study(),
        "base": {**base_json(base.classes, labels.classes, names), **_NO_FILE},
        "margin_points": study.accuracy.margin_points,
        "level": study.accuracy.level,
        "smallest_margin_points": smallest_margin_points(len(labels.classes), level=study.accuracy.level),
        "experiments": experiments,
        "winners": {},
        "control": None,
        "timing": None,
        "zstd_level": None,
    }


def _experiment(study: Study, name: str, targets: str, rows: list[Row], images: int) -> dict[str, Any]:
    level = 1 - (1 - study.accuracy.level) / max(1, len(rows))
    return {
        "name": name,
        "targets": targets,
        "smallest_margin_points": smallest_margin_points(images, level=level),
        "rows": [{**row.to_json(), "file": None, "timing": None} for row in rows],
    }
