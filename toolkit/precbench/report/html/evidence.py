"""Timing evidence: samples in the order they were measured, by process, the control beside; conditions and warnings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from precbench.report.html import charts
from precbench.report.html.material import RunMaterial
from precbench.report.html.view import Figure, Section, Sheet, amount, plain

_MOST_POINTS = 6000  # drawn; more block medians than that are thinned evenly


def timing_section(run: RunMaterial) -> Section:
    """Return the section; empty where nothing was timed."""
    record, found = run.timing, run.results["timing"]
    warnings = [] if found is None else [_warning(one) for one in found["warnings"]]
    if record is None or found is None:
        return Section(anchor="timing", title="Timing evidence", paragraphs=warnings)
    blocks = _blocks(run.folder / "timing.parquet")
    figures = [] if not blocks else [_in_order(blocks), *_by_process(blocks)]
    (measured,) = record["measurements"]
    return Section(
        anchor="timing",
        title="Timing evidence",
        paragraphs=[*_how(record), *warnings],
        figures=figures,
        sheets=[_arms(measured)],
    )


def _warning(one: Mapping[str, Any]) -> str:
    return f"Warning: {one['problem']}. Try: {one['remedy']}."


def _how(record: Mapping[str, Any]) -> list[str]:
    (measured,) = record["measurements"]
    session, settings = record["session"], record["settings"]
    calls = sum(arm["calls"] for arm in measured["arms"].values())
    return [
        f"{len(measured['processes'])} fresh processes on {session['provider']}, {session['intra_op_threads']} "
        f"thread(s), batch {measured['batch']}, clock {settings['clock']}; {calls:,} timed calls in "
        f"{measured['elapsed_s']:.0f} s. Base, control and variants take turns in drawn blocks; the control is the "
        f"base a second time: what it differs from the base by is what the method cannot tell from nothing."
    ]


def _blocks(path: Path) -> list[dict[str, Any]]:
    """Median per block and arm, in the order measured."""
    if not path.is_file():
        return []
    from pyarrow import ArrowInvalid, compute, parquet

    columns = ["replicate", "process", "block", "arm", "use", "elapsed_ns"]
    try:
        table = parquet.read_table(path, columns=columns)
    except (OSError, ArrowInvalid, KeyError):
        return []
    timed = table.filter(compute.equal(table["use"], "measured")).to_pydict()
    groups: dict[tuple[int, int, int, str], list[int]] = {}
    for replicate, process, block, arm, elapsed in zip(
        *(timed[name] for name in ("replicate", "process", "block", "arm", "elapsed_ns")), strict=True
    ):
        groups.setdefault((replicate, process, block, arm), []).append(elapsed)
    places: dict[tuple[int, int, int], int] = {}
    rows = []
    for (replicate, process, block, arm), elapsed in groups.items():
        place = places.setdefault((replicate, process, block), len(places) + 1)
        rows.append(
            {"block": place, "process": f"{replicate}.{process}", "arm": arm, "ms": float(np.median(elapsed)) / 1e6}
        )
    return rows


def _in_order(blocks: list[dict[str, Any]]) -> Figure:
    arms = {row["arm"] for row in blocks}
    shown = [row for row in blocks if row["arm"] in ("base", "control")]
    one = next((arm for arm in sorted(arms) if arm not in ("base", "control")), None)
    shown = sorted([*shown, *(row for row in blocks if row["arm"] == one)], key=lambda row: row["block"])
    every = 1 + len(shown) // _MOST_POINTS  # whole blocks are left out, so that each arm stays
    shown = [row for row in shown if row["block"] % every == 0]
    return Figure(
        name="samples",
        title=f"Medians of blocks in the order measured: base, control{f' and {one}' if one else ''}",
        alt=f"{len(shown)} block medians over time; drift and jumps between processes are to be seen here.",
        spec=charts.samples_in_order(shown),
        sheet=Sheet(
            name="samples",
            title="Medians of blocks",
            columns=["arm", "process", "block", "ms"],
            rows=[[plain(r["arm"]), plain(r["process"]), amount(r["block"]), amount(r["ms"], "{:.4f}")] for r in shown],
            numbers=2,
        ),
    )


def _by_process(blocks: list[dict[str, Any]]) -> list[Figure]:
    """Ratio of median block medians, per process: a look at how processes differ, not the estimate."""
    times: dict[tuple[str, str], list[float]] = {}
    for row in blocks:
        times.setdefault((row["process"], row["arm"]), []).append(row["ms"])
    processes = list(dict.fromkeys(process for process, _ in times))
    arms = [arm for arm in dict.fromkeys(arm for _, arm in times) if arm != "base"]
    rows: list[dict[str, Any]] = [
        {
            "process": process,
            "arm": arm,
            "ratio": float(np.median(times[process, arm]) / np.median(times[process, "base"])),
        }
        for process in processes
        for arm in sorted(arms)
        if (process, arm) in times and (process, "base") in times
    ]
    if not rows:
        return []
    return [
        Figure(
            name="processes",
            title="Each process by itself: median block over the base's (a look, not the estimate)",
            alt=f"Ratios of {len(arms)} arms in {len(processes)} processes.",
            spec=charts.ratios_by_process(rows),
            sheet=Sheet(
                name="processes",
                title="Ratios by process",
                columns=["arm", "process", "ratio"],
                rows=[[plain(r["arm"]), plain(r["process"]), amount(r["ratio"], "{:.4f}")] for r in rows],
                numbers=1,
            ),
        )
    ]


def _arms(measured: Mapping[str, Any]) -> Sheet:
    keys = ("median_ns", "p90_ns", "p99_ns", "mean_ns", "creation_ns", "first_run_ns")
    return Sheet(
        name="calls",
        title="Calls, ms",
        columns=["arm", "calls", "p50", "p90", "p99", "mean", "session creation", "first run", "samples per s"],
        rows=[
            [
                plain(name),
                amount(arm["calls"]),
                *(amount(None if arm[key] is None else arm[key] / 1e6, "{:.4g}") for key in keys),
                amount(arm["throughput_per_s"], "{:,.0f}"),
            ]
            for name, arm in measured["arms"].items()
        ],
        numbers=8,
    )
