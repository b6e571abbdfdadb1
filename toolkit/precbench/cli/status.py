"""`precbench status`: how far a run is."""

from pathlib import Path
from typing import Annotated

import typer

from precbench.cli.app import app
from precbench.cli.output import Json, emit


@app.command()
def status(
    run: Annotated[Path, typer.Argument(help="A run folder, such as runs/mobilenetv2-digits.")],
    as_json: Json = False,
) -> None:
    """Show what of a run is done, running and left.

    Also what failed, with the reason; it can be asked while the run goes on.

    Example: precbench status runs/mobilenetv2-digits
    """
    from rich.console import Console

    from precbench.report.run_status import show_status
    from precbench.study.status import status_of

    record = status_of(run).to_json()

    def show(console: Console) -> None:
        show_status(console, record)

    emit("status", record, as_json=as_json, show=show)
