"""`precbench results`: what a finished run found, once more or as a table for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from precbench.cli.app import app
from precbench.cli.output import Force, Json, emit


@app.command()
def results(
    run: Annotated[Path, typer.Argument(help="A run folder, such as runs/mobilenetv2-digits.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write a row per point to this .csv or .parquet instead.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Print a finished run's tables, or save them.

    Saved is a row per point of every experiment.

    Example: precbench results runs/mobilenetv2-digits -o results.csv
    """
    from rich.console import Console

    from precbench.report.study_report import show_study
    from precbench.report.terminal import say
    from precbench.study.table import flat_rows, read_results, write_table

    record = read_results(run)
    if output is not None:
        write_table(flat_rows(record), output, force=force)

    def show(console: Console) -> None:
        if output is None:
            show_study(console, record)
        else:
            say(console, f"Wrote {output}")

    emit("results", record, as_json=as_json, show=show)
