"""What `precbench bench` measured: tables in 80 columns, the verdicts in words, warnings with remedies."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from precbench.bench.arms import DENORMALS_OFF
from precbench.errors import printable
from precbench.report.figures import count, milliseconds, percent, ratio_text
from precbench.report.tables import add_row, plain_table
from precbench.report.terminal import say

_MOST_NODES = 5


def show_benchmark(console: Console, record: Mapping[str, Any], *, saved: Sequence[Path]) -> None:
    """Print a record: per batch size verdicts, latencies and warnings; then the conditions, and which files have it."""
    _show_whether_partial(console, record)
    for measurement in record["measurements"]:
        console.print(verdict_table(measurement))
        console.print()
        console.print(latency_table(measurement))
        for sentence in [*about_the_verdicts(measurement), *about_the_profile(measurement)]:
            say(console, f"\n{sentence}")
        console.print()
    say(console, about_how(record))
    _show_warnings(console, record)
    _show_saved(console, saved)


def _show_whether_partial(console: Console, record: Mapping[str, Any]) -> None:
    if not record["complete"]:
        say(console, f"PARTIAL: {printable(record['ended'])}\n")


def _show_saved(console: Console, saved: Sequence[Path]) -> None:
    if saved:
        say(console, f"\nSaved: {' and, with every sample, '.join(map(str, saved))}")


def _show_warnings(console: Console, record: Mapping[str, Any]) -> None:
    measurements, batches = record["measurements"], dict[tuple[str, str], list[str]]()
    for one in (record, *measurements):
        for warning in one["warnings"]:
            at = batches.setdefault((warning["problem"], warning["remedy"]), [])
            at += [] if one is record else [str(one["batch"] or "?")]
    for (problem, remedy), at in batches.items():
        where = f"batch {', '.join(at)}: " if 0 < len(at) < len(measurements) else ""
        say(console, f"\nwarning: {where}{printable(problem)}\n  try: {printable(remedy)}")


def verdict_table(measurement: Mapping[str, Any]) -> Table:
    """One row per comparison, below the control that it is held against."""
    table = plain_table(f"batch {measurement['batch'] or '?'}", "time ratio [95 %]", "verdict", "callable from")
    controls = set[str]()
    for comparison in measurement["comparisons"]:
        if comparison["control"] not in controls:
            controls.add(comparison["control"])
            add_row(table, f"A/A {comparison['control']}", ratio_text(comparison["control_ratio"]), "", "")
        smallest = comparison["smallest_effect"]
        reach = "-" if smallest is None else f"{100 * smallest:.2g} %" if smallest < 1 else f"{100 * smallest:,.0f} %"
        add_row(table, comparison["arm"], ratio_text(comparison["ratio"]), comparison["verdict"], reach)
    return table


def latency_table(measurement: Mapping[str, Any]) -> Table:
    """One row per arm: percentiles of its calls, samples per second, and its cold start apart."""
    table = plain_table("ms per call", "p50", "p90", "p99", "per s", "creation", "first run")
    for name, arm in measurement["arms"].items():
        times = (arm[key] for key in ("median_ns", "p90_ns", "p99_ns"))
        cold = (arm[key] for key in ("creation_ns", "first_run_ns"))
        rate = arm["throughput_per_s"]
        add_row(table, name, *map(_ms, times), "-" if rate is None else f"{rate:,.0f}", *map(_ms, cold))
    return table


def _ms(elapsed_ns: float | None) -> str:
    return "-" if elapsed_ns is None else f"{elapsed_ns / 1e6:.3g}" if elapsed_ns < 1e8 else f"{elapsed_ns / 1e6:,.0f}"


def about_the_verdicts(measurement: Mapping[str, Any]) -> Iterator[str]:
    """Say what the verdicts rest on, those of one reason together."""
    groups: dict[tuple[str, str], list[str]] = {}
    for comparison in measurement["comparisons"]:
        groups.setdefault((comparison["verdict"], comparison["reason"]), []).append(comparison["arm"])
    for (verdict, reason), arms in groups.items():
        yield printable(f"{', '.join(arms)}: {verdict}; {reason}.")
    apart = [c for c in measurement["comparisons"] if _mean_is_apart(c)]
    if apart:
        means = ", ".join(f"{c['arm']} {ratio_text(c['mean_ratio'])}" for c in apart)
        yield printable(
            f"Ratio of the mean call, slow calls and all, which 'per s' goes by: {means}. The time ratio is that of "
            "the usual call."
        )


def _mean_is_apart(comparison: Mapping[str, Any]) -> bool:
    """Whether the mean call says otherwise than the interval of the usual call's ratio."""
    ratio, mean = comparison["ratio"], comparison.get("mean_ratio")
    if mean is None or mean["point"] is None or ratio["low"] is None:
        return False
    return not ratio["low"] <= mean["point"] <= ratio["high"]


def about_the_profile(measurement: Mapping[str, Any]) -> Iterator[str]:
    """Say which nodes account for each gap."""
    profile = measurement["profile"]
    for one in profile["comparisons"] if profile else ():
        yield printable(" ".join(_about_one_profile(one, profile["replicates"])))


def _about_one_profile(one: Mapping[str, Any], replicates: int) -> Iterator[str]:
    gap = one["gap_ns"]
    share = f" ({100 * gap['point'] / one['base_ns']:+.2f} %)" if one["base_ns"] else ""
    yield (
        f"Profile of {one['arm']} ({replicates} processes): its nodes take {_microseconds(gap)} a call more than the "
        f"base's{share}; the control's {_microseconds(one['control'])}."
    )
    differing = [node for node in one["nodes"] if node["differs"]]
    if not differing:
        yield "No node's time differs between the two."
        return
    part = "" if one["accounted_share"] is None else f"{100 * one['accounted_share']:.0f} % of it, "
    yield f"{one['nodes_that_differ']} node(s) differ and account for {part}{one['accounted_ns'] / 1000:+.1f} µs:"
    yield (
        "; ".join(
            f"{node['op_type']} {node['name']} {_microseconds(node['difference_ns'])}"
            for node in differing[:_MOST_NODES]
        )
        + ("; …" if len(differing) > _MOST_NODES else "")
        + "."
    )


def _microseconds(interval: Mapping[str, Any]) -> str:
    point, low, high = (interval[key] for key in ("point", "low", "high"))
    bounds = f" [{low / 1000:+.1f}, {high / 1000:+.1f}]" if low is not None else ""
    return f"{point / 1000:+.1f}{bounds} µs"


def about_how(record: Mapping[str, Any]) -> str:
    """Say under which conditions it was measured, and on how much."""
    session = record["session"]
    nodes = ", ".join(f"{name} ({nodes} nodes)" for name, nodes in session["placement"].items())
    placed = f"Ran on {nodes}" if nodes else "Ran no node"
    tf32 = "" if session["tf32"] == "no GPU" else f", TF32 {session['tf32']}"
    return printable(
        f"Below 1 is faster than the base, {record['asked']['base']}; a ratio is over both of its sessions, base and "
        f"control. 'Callable from' is about the ratio observed: a true effect of that size is called in about half of "
        f"such runs. {_about_arms_alone(record)}{placed}, "
        f"{session['intra_op_threads']} thread(s){tf32}, clock {record['settings']['clock']}. "
        f"{' '.join(_amounts(record))}"
    )


def _about_arms_alone(record: Mapping[str, Any]) -> str:
    if not any(DENORMALS_OFF in one["arms"] for one in record["measurements"]):
        return ""
    return "'Alone': in processes of their own, as denormals-off has to be, where a session is always the first made. "


def _amounts(record: Mapping[str, Any]) -> Iterator[str]:
    for one in record["measurements"]:
        measured = [process for process in one["processes"] if process["blocks"]]
        calls = sum(arm["calls"] for arm in one["arms"].values())
        labels = [arm["outliers"] for arm in one["arms"].values()]
        mild, severe = (sum(label[name] for label in labels) for name in ("mild", "severe"))
        yield (
            f"Batch {one['batch'] or '?'}: {len(measured)} processes, {sum(p['blocks'] for p in measured)} blocks, "
            f"{count(calls)} timed calls (outliers, all kept: {mild} mild, {severe} severe); "
            f"{sum(p['warmup_ns'] for p in measured) / 1e9:.1f} s of warm-up discarded; "
            f"{one['elapsed_s']:.0f} s in all, {one['ended']}."
        )


def show_sequential(console: Console, record: Mapping[str, Any], *, saved: Sequence[Path]) -> None:
    """Print what the paper's protocol gives, and that it is no measurement."""
    _show_whether_partial(console, record)
    for measurement in record["measurements"]:
        table = plain_table(f"batch {measurement['batch'] or '?'}", "calls", "pass, s", "first call", '"speed-up"')
        for name, one in measurement["passes"].items():
            gain = percent(1 - one["total_over_base"]) if name != "base" else ""
            add_row(
                table, name, count(one["calls"]), f"{one['total_ns'] / 1e9:.3f}", milliseconds(one["first_ns"]), gain
            )
        console.print(table)
    _show_warnings(console, record)
    _show_saved(console, saved)
