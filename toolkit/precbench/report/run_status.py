"""How far a run is, on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from precbench.report.tables import add_row, plain_table
from precbench.report.terminal import say

_MOST_FAILED = 10


def show_status(console: Console, record: Mapping[str, Any]) -> None:
    """Print the steps, a row per experiment, and what failed."""
    say(console, f"{record['study']} in {record['folder']}: {'running' if record['at_work'] else 'not running'}.")
    done = [name for name, finished in record["steps"].items() if finished]
    say(console, f"Finished: {', '.join(done) or 'nothing yet'}.")
    if record["experiments"]:
        states = list(next(iter(record["experiments"].values())))
        table = plain_table("experiment", *states)
        for name, counts in record["experiments"].items():
            add_row(table, name, *(str(counts[state]) for state in states))
        console.print(table)
    for point in record["failed"][:_MOST_FAILED]:
        say(console, f"Failed: {point['name']} of {point['experiment']}: {point['why']}")
    if len(record["failed"]) > _MOST_FAILED:
        say(console, f"{len(record['failed']) - _MOST_FAILED} more failed; --json lists them.")
