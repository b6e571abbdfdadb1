"""Everything needed to repeat a run: commands, environment, versions, seeds, digests."""

from collections.abc import Iterator, Mapping
from typing import Any

from precbench.report.html.material import RunMaterial
from precbench.report.html.view import Section, Sheet, plain


def repeating_section(run: RunMaterial) -> Section:
    """Return the section."""
    study = run.results["study"]
    timing = run.results["timing"]
    sheets = [_pairs("study", "The study", study)]
    if timing is not None:
        sheets.append(_pairs("environment", "Environment of the timing", timing["environment"]))
        sheets.append(_pairs("session", "Session", timing["session"]))
    sheets.append(_digests(run))
    return Section(
        anchor="repeat",
        title="To repeat it",
        commands=[f"precbench run {study['name']}", f"precbench results runs/{study['name']} -o results.csv"],
        sheets=sheets,
    )


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
