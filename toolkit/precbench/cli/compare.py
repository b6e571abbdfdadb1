"""`precbench compare`: two recorded measurements side by side."""

from pathlib import Path
from typing import Annotated

import typer

from precbench.cli.app import app
from precbench.cli.output import Json, emit


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A.json", help="A record that `precbench bench -o` wrote.")],
    second: Annotated[Path, typer.Argument(metavar="B.json", help="Another one.")],
    as_json: Json = False,
) -> None:
    """Set two recorded measurements side by side.

    First whether they can be compared at all; then each variant's ratio and verdict in both; then every difference in
    settings, session, inputs and environment, and apart from these the load and the times.

    Example: precbench compare monday.json tuesday.json
    """
    from rich.console import Console

    from precbench.bench.comparison import compare_records
    from precbench.bench.records import read_record
    from precbench.report.comparing import show_comparison

    record = compare_records(read_record(first), read_record(second)).to_json()

    def show(console: Console) -> None:
        show_comparison(console, record)

    emit("compare", record, as_json=as_json, show=show)
