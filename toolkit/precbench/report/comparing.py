"""Two recorded measurements side by side: tables of 80 columns, and what they do not say."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from precbench.errors import printable
from precbench.report.figures import milliseconds, percent, ratio_text
from precbench.report.tables import add_row, plain_table
from precbench.report.terminal import say

MOST_DIFFERENCES = 60
"""Rows of a table of differences; the JSON record has all."""

_MOST_SHOWN = 120
_DIGEST = "sha256:"
_UNITS = {"process": "processes", "batch of blocks": "batches of blocks"}


def show_comparison(console: Console, record: Mapping[str, Any]) -> None:
    """Print a comparison: whether it is one, the runs, the figures, then what differs."""
    for sentence in about_comparability(record):
        say(console, sentence)
    console.print()
    console.print(runs_table(record))
    for measurement in record["measurements"]:
        if measurement["arms"]:
            console.print()
            console.print(arms_table(measurement))
    for sentence in [*about_the_intervals(record), *about_what_only_one_has(record)]:
        say(console, f"\n{sentence}")
    for rows, title in ((record["differences"], "what differs"), (record["conditions"], "conditions")):
        console.print()
        _show_values(console, rows, title)


def about_comparability(record: Mapping[str, Any]) -> list[str]:
    """Say first of all whether figures of the two runs may be held against each other, and if not, why."""
    if record["comparable"]:
        return ["The runs can be compared: same models, provider, threads and clock. What else differs stands below."]
    return [
        "The two runs are NOT comparable: what figures they have say nothing of each other.",
        *(printable(f"- {reason}.") for reason in record["not_comparable"]),
    ]


def runs_table(record: Mapping[str, Any]) -> Table:
    """Which file each run is from, when and how it was made."""
    table = plain_table("", "A", "B", left=3)
    for label, key in (("file", "path"), ("created", "created"), ("precbench", "precbench"), ("protocol", "protocol")):
        add_row(table, label, *(value_text(record[side][key]) for side in ("first", "second")))
    add_row(table, "ended", *(_ended(record[side]) for side in ("first", "second")))
    return table


def _ended(run: Mapping[str, Any]) -> str:
    return f"{value_text(run['ended'])} (partial)" if run["complete"] is False else value_text(run["ended"])


def arms_table(measurement: Mapping[str, Any]) -> Table:
    """The arms of one batch size: ratio, verdict, control, smallest effect, base, of each run."""
    table = plain_table(f"batch {value_text(measurement['batch'])}", "A", "B")
    for index, pair in enumerate(measurement["arms"]):
        if index:
            add_row(table, "", "", "")
        sides = pair["first"], pair["second"]
        for label, write in _ROWS:
            add_row(table, label, *(write(side) for side in sides))
        add_row(table, "the ratios' intervals", _OVERLAP[pair["intervals_overlap"]], "")
    return table


_OVERLAP = {True: "overlap", False: "are apart", None: "-"}


def _ratio(ratio: Mapping[str, Any] | None) -> str:
    return "-" if ratio is None or ratio["point"] is None else ratio_text(ratio)


def _rests_on(ratio: Mapping[str, Any] | None) -> str:
    if ratio is None or ratio["units"] is None:
        return "-"
    level = "" if ratio["level"] is None else f" at {100 * ratio['level']:g} %"
    unit = value_text(ratio["unit"])
    return f"{ratio['units']:,} {unit if ratio['units'] == 1 else _UNITS.get(unit, unit)}{level}"


def _or_dash(write: Callable[[float], str], value: float | None) -> str:
    return "-" if value is None else write(value)


_ROWS: Sequence[tuple[str, Callable[[Mapping[str, Any]], str]]] = (
    ("arm", lambda side: str(side["arm"])),
    ("time ratio [interval]", lambda side: _ratio(side["ratio"])),
    ("rests on", lambda side: _rests_on(side["ratio"])),
    ("verdict", lambda side: value_text(side["verdict"])),
    ("A/A control [interval]", lambda side: _ratio(side["control_ratio"])),
    ("smallest effect", lambda side: "-" if side["smallest_effect"] is None else percent(side["smallest_effect"])),
    (
        "median of the base",
        lambda side: "-" if side["base_median_ns"] is None else milliseconds(side["base_median_ns"]),
    ),
)


def about_the_intervals(record: Mapping[str, Any]) -> list[str]:
    """Say what it means that two intervals overlap, and what it does not."""
    if not any(measurement["arms"] for measurement in record["measurements"]):
        return []
    return [
        "Whether two intervals overlap is no test: that they do does not show that the runs agree, and that they are "
        "apart points to more than each run's own noise without saying to what."
    ]


def about_what_only_one_has(record: Mapping[str, Any]) -> list[str]:
    """Say which batch sizes and arms were measured in one run only."""
    return [printable(sentence) for sentence in _only_in_one(record)]


def _only_in_one(record: Mapping[str, Any]) -> Iterator[str]:
    for side, run in (("first", "A"), ("second", "B")):
        for batch in record[f"batches_only_in_{side}"]:
            yield f"Only {run} has the batch size {value_text(batch)}."
        for measurement in record["measurements"]:
            for arm in measurement[f"only_in_{side}"]:
                yield f"Only {run} has {arm} (batch {value_text(measurement['batch'])})."


def _show_values(console: Console, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    if not rows:
        say(console, f"{title}: nothing.")
        return
    console.print(values_table(rows, title))
    if len(rows) > MOST_DIFFERENCES:
        say(console, f"{len(rows) - MOST_DIFFERENCES:,} more; --json lists them.")


def values_table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """One row per recorded value that is not the same in both runs: its key, and what it is in each."""
    table = plain_table(title, "A", "B", left=3)
    for row in rows[:MOST_DIFFERENCES]:
        add_row(table, row["key"], value_text(row["first"]), value_text(row["second"]))
    return table


def value_text(value: Any) -> str:
    """Write a recorded value: digests by their first figures, long values cut, a dash for null or what is missing."""
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if text.startswith(_DIGEST):
        return f"{text[: len(_DIGEST) + 12]}…"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
