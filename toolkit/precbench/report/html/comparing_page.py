"""The page of several runs: their answers, and their figures in one plot."""

from collections.abc import Sequence
from typing import Any

from precbench.report.html import charts
from precbench.report.html.accuracy import difference_of, ratio_of
from precbench.report.html.answer import answer
from precbench.report.html.made import made_by
from precbench.report.html.material import Experiment, RunMaterial
from precbench.report.html.view import Cell, Figure, Page, Section, Sheet, amount, plain


def comparing_page(runs: Sequence[RunMaterial]) -> Page:
    """Return the page of at least two runs."""
    names = _names(runs)
    accuracy = [
        {"run": _place(name, run, one), **difference_of(row)}
        for name, run in zip(names, runs, strict=True)
        for one in run.experiments("all")
        for row in one.rows
    ]
    time = [
        {"run": _place(name, run, one), **ratio}
        for name, run in zip(names, runs, strict=True)
        for one in run.experiments("all")
        for row in one.rows
        if (ratio := ratio_of(row)) is not None
    ]
    figures = [
        *_figure("accuracy", "Accuracy less full precision's, against decimals", "points", accuracy, points=True),
        *_figure("time", "Time over full precision's, against decimals", "time ratio", time, points=False),
    ]
    return Page(
        title=" beside ".join(names),
        answer=[
            *(f"{name}: {' '.join(answer(run))}" for name, run in zip(names, runs, strict=True)),
            *_about_conditions(names, runs),
        ],
        sections=[
            Section(
                anchor="runs",
                title="Side by side",
                figures=figures,
                sheets=[_overview(names, runs), _measured(names, runs)],
            )
        ],
        made=made_by(),
    )


def _names(runs: Sequence[RunMaterial]) -> list[str]:
    """Return the studies' names; where two are the same, the folders'."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def _place(name: str, run: RunMaterial, one: Experiment) -> str:
    """Name a run's experiment; by the run alone where that says enough."""
    return name if len(run.experiments("all")) == 1 else f"{name}, {one.name}"


def _figure(name: str, title: str, y: str, rows: list[dict[str, Any]], *, points: bool) -> list[Figure]:
    if not rows:
        return []
    sheet = Sheet(
        name=name,
        title=title,
        columns=["run", "decimals", y, "low", "high"],
        rows=[_point(row) for row in rows],
        numbers=4,
    )
    alt = f"{len(rows)} points of {len({row['run'] for row in rows})} runs, with intervals."
    return [Figure(name=name, title=title, alt=alt, spec=charts.several_runs(rows, y=y, points=points), sheet=sheet)]


def _point(row: dict[str, Any]) -> list[Cell]:
    figures = (amount(row[key], "{:.4g}") for key in ("point", "low", "high"))
    return [plain(row["run"]), amount(row["decimals"]), *figures]


_CONDITIONS = ("CPU", "provider", "threads", "batch", "level of intervals")


def _conditions(run: RunMaterial) -> list[str]:
    """What times and intervals depend on beside the models; see `_CONDITIONS`."""
    level, timing = f"{100 * run.results['level']:g} %", run.results["timing"]
    if timing is None:
        return [*["not timed"] * 4, level]
    session = timing["session"]
    batch = run.results["study"]["timing"]["batch_size"]
    timed = (timing["environment"]["cpu_model"], session["provider"], session["intra_op_threads"], batch)
    return [*(str(value) for value in timed), level]


def _about_conditions(names: Sequence[str], runs: Sequence[RunMaterial]) -> list[str]:
    """Warn where ratios or intervals were not taken under the same conditions."""
    found = [_conditions(run) for run in runs]
    differing = [
        f"{what}: {'; '.join(f'{name} {value}' for name, value in zip(names, values, strict=True))}"
        for what, *values in zip(_CONDITIONS, *found, strict=True)
        if len(set(values)) > 1
    ]
    return [f"These runs were not measured alike. {'. '.join(differing)}."] if differing else []


def _overview(names: Sequence[str], runs: Sequence[RunMaterial]) -> Sheet:
    return Sheet(
        name="runs",
        title="Full precision",
        columns=["run", "network", "data", "test images", "accuracy, %", "file, MB", "after zstd, MB"],
        rows=[
            [
                plain(name),
                plain(run.results["study"]["architecture"]["name"]),
                plain(run.results["study"]["data"]["source"]),
                amount(run.results["base"]["accuracy"]["total"]),
                amount(100 * run.results["base"]["accuracy"]["fraction"], "{:.2f}"),
                *(amount(_megabytes(run, key), "{:.2f}") for key in ("file_bytes", "zstd_bytes")),
            ]
            for name, run in zip(names, runs, strict=True)
        ],
        numbers=4,
    )


def _measured(names: Sequence[str], runs: Sequence[RunMaterial]) -> Sheet:
    return Sheet(
        name="conditions",
        title="How it was measured",
        columns=["run", *_CONDITIONS],
        rows=[[plain(name), *map(plain, _conditions(run))] for name, run in zip(names, runs, strict=True)],
    )


def _megabytes(run: RunMaterial, key: str) -> float | None:
    size = run.results["base"][key]
    return None if size is None else size / 1e6
