"""Everything needed to repeat a run: commands, environment, versions, seeds, digests."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from precbench.report.html.material import RunMaterial
from precbench.report.html.view import Section, Sheet, plain
from precbench.study.definition import load_study, shipped_studies


def repeating_section(run: RunMaterial) -> Section:
    """Return the section."""
    sheets = [_pairs("study", "The study", run.results["study"])]
    trained = run.stages["checkpoint"].facts if "checkpoint" in run.stages else {}
    if "versions" in trained:
        sheets.append(_pairs("training-packages", "Packages of the training", trained["versions"]))
    if run.results.get("environment") is not None:  # a run that an earlier checkout finished has none
        sheets.append(_pairs("environment", "Environment of the evaluation", run.results["environment"]))
    timing = run.results["timing"]
    if timing is not None:
        sheets.append(_pairs("timing-environment", "Environment of the timing", timing["environment"]))
        sheets.append(_pairs("session", "Session", timing["session"]))
    sheets.append(_digests(run))
    return Section(anchor="repeat", title="To repeat it", commands=_commands(run, trained), sheets=sheets)


def _commands(run: RunMaterial, trained: Mapping[str, Any]) -> list[str]:
    """What is typed; capitals stand for what lies elsewhere on the reader's machine."""
    study = run.results["study"]
    words = ["precbench run", study["name"] if _is_shipped(study) else f"{study['name']}.toml"]
    if study["data"]["source"] == "cifar10":
        words.append("--data-dir FOLDER")
    if "given" in trained:
        words.append("--checkpoint CHECKPOINT")
    if trained.get("weights"):
        words.append("--weights WEIGHTS.h5")
    folder = f"runs/{run.folder.resolve().name}"
    if folder != f"runs/{study['name']}":
        words.append(f"-o {folder}")
    given = {**trained.get("given", {}), **({"WEIGHTS.h5": trained["weights"]} if trained.get("weights") else {})}
    return [
        " ".join(words),
        f"precbench results {folder} -o results.csv",
        *(f"# {name}: {digest}" for name, digest in given.items()),
    ]


def _is_shipped(study: Mapping[str, Any]) -> bool:
    """Whether a study that comes with precbench is this one, value for value."""
    name = study["name"]
    return name in shipped_studies() and json.loads(json.dumps(load_study(name).to_json())) == study


def _pairs(name: str, title: str, value: Mapping[str, Any]) -> Sheet:
    rows = [[plain(key), plain(text)] for key, text in _flat(value, "")]
    return Sheet(name=name, title=title, columns=["key", "value"], rows=rows)


def _flat(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for number, item in enumerate(value):
            yield from _flat(item, f"{key}[{number}]")
    elif isinstance(value, list):
        yield key, ", ".join(str(item) for item in value) or "–"
    else:
        yield key, "–" if value is None else str(value)


def _digests(run: RunMaterial) -> Sheet:
    files = sorted((name, digest) for stage in run.stages.values() for name, digest in stage.files.items())
    return Sheet(
        name="digests", title="Files", columns=["file", "digest"], rows=[[plain(n), plain(d)] for n, d in files]
    )
