"""Run folders that are made up: results and a journal, as many classes and variants as a test asks for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from precbench.accuracy import accuracy_of, flips
from precbench.accuracy.noninferiority import decide, smallest_margin_points
from precbench.files import file_digest
from precbench.report.html.material import RunMaterial, read_run
from precbench.study.definition import load_study
from precbench.study.journal import Journal, PointState, Predictions, Stage, State
from precbench.study.results import base_json
from precbench.study.table import SCHEMA_VERSION

Json = dict[str, Any]
MakeRun = Callable[..., RunMaterial]


def _timing(name: str, ratio: float) -> Json:
    interval = {"point": ratio, "low": ratio - 0.002, "high": ratio + 0.002}
    return {"arm": name, "ratio": interval, "verdict": "equivalent", "smallest_effect": 0.006}


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a function that makes a run folder and reads it."""

    def make(
        *, images: int = 400, classes: int = 10, layers: int = 4, decimals: tuple[int, ...] = (1, 2, 3),
        timed: bool = True, names: list[str] | None = None, pixels: bool = True, level_of_noise: float = 0.3,
    ) -> RunMaterial:  # fmt: skip
        rng = np.random.default_rng(0)
        labels = rng.integers(0, classes, images)
        base = np.where(rng.random(images) < 0.9, labels, rng.integers(0, classes, images))
        study = load_study("mobilenetv2-digits").to_json()
        study = json.loads(json.dumps({**study, "name": "made-up"}))
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        journal = Journal(folder, study=study)
        journal.record_predictions("base", Predictions(classes=base, facts={}))
        journal.record_predictions("labels", Predictions(classes=labels, facts={"class_names": names or []}))
        points: list[PointState] = []

        def rows(experiment: str, parts: list[dict[str, int]]) -> list[Json]:
            made = []
            for number, part in enumerate(parts):
                name = ",".join(f"{key}.dp{n}" for key, n in part.items())
                key, noise = f"{experiment}-{number}", level_of_noise / 10 ** next(iter(part.values()))
                predicted = np.where(rng.random(images) < noise, rng.integers(0, classes, images), base)
                journal.record_predictions(key, Predictions(classes=predicted, facts={}))
                points.append(PointState(experiment=experiment, name=name, key=key, state=State.DONE))
                found = flips(base, predicted, labels, level=0.95)
                (decision,) = decide([found], margin_points=0.5)
                file = {
                    "file": f"variants/{name}.onnx",
                    "file_bytes": 9_000_000,
                    "zstd_bytes": 1_000_000 * (1 + number),
                }
                file["targets"] = {"distinct": 5, "zeros": 1, "subnormals": 0}
                made.append(
                    {"name": name, "parts": part, "decimals": next(iter(part.values())), "state": "done", "detail": "",
                     "elements": 10, "changed": 9, "accuracy": accuracy_of(labels, predicted).to_json(),
                     "flips": found.to_json(), "decision": decision.to_json(),
                     "file": file if experiment == "all" else None,
                     "timing": _timing(name, 1 + 0.001 * number) if timed and experiment == "all" else None}
                )  # fmt: skip
            return made

        smallest = smallest_margin_points(images, level=0.95)
        experiments = [
            {"name": "all", "targets": "all", "rows": rows("all", [{"all": n} for n in decimals])},
            {"name": "layers", "targets": "each-layer",
             "rows": rows("layers", [{f"layer{i}": n} for i in range(layers) for n in decimals[:2]])},
        ]  # fmt: skip
        for one in experiments:
            one["smallest_margin_points"] = smallest
        warnings = [{"problem": "noise", "remedy": "wait"}]
        environment = {"cpu_model": "made up", "packages": {"numpy": "2"}, "affinity": [0, 1]}
        record = {
            "schema_version": SCHEMA_VERSION,
            "study": study,
            "base": {
                **base_json(base, labels, names or [f"class {n}" for n in range(classes)]),
                "file": "base.onnx", "file_bytes": 9_000_000, "zstd_bytes": 8_000_000,
                "targets": {"distinct": 10, "zeros": 0, "subnormals": 0},
            },
            "margin_points": 0.5, "level": 0.95, "smallest_margin_points": smallest, "experiments": experiments,
            "winners": {"all": None, "layers": None},
            "control": {"point": 1.0, "low": 0.998, "high": 1.002} if timed else None,
            "timing": {"session": {"provider": "cpu", "intra_op_threads": 1}, "settings": {"margin": 0.01},
                       "environment": environment, "warnings": warnings} if timed else None,
        }  # fmt: skip
        (folder / "results.json").write_text(json.dumps(record))
        journal.plan(points)
        journal.record_stage("predictions", Stage(key="p", files={}, facts={"base": "base", "labels": "labels"}))
        digest = {"results.json": file_digest(folder / "results.json")}
        journal.record_stage("results", Stage(key="r", files=digest, facts={}))
        shown = rng.integers(0, 256, (images, 8, 8, 3)).astype(np.uint8) if pixels else None
        return read_run(folder, images=shown)

    return make
