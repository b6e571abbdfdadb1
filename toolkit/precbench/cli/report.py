"""`precbench report`: what was found, as one HTML file to look at, and as figures for papers."""

from pathlib import Path
from typing import Annotated, Any

import typer

from precbench.cli.app import app
from precbench.cli.output import DataDir, Force, Json, emit, progress
from precbench.errors import UsageError


@app.command()
def report(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Run folders; deployed folders beside one of them.", metavar="run…"),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The HTML file; report.html in the run folder where not given."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Write each plot as SVG and PNG into this folder instead.")
    ] = None,
    data_dir: DataDir = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write what a run found as one HTML file.

    With every figure and table; it needs no network.

    Several runs are set side by side. Deployed folders are set beside the run that they are made of.

    Example: precbench report runs/mobilenetv2-digits shipped/ -o report.html
    """
    from precbench.files import check_output
    from precbench.report.html.installed import check_installed

    check_installed()
    if output is not None and figures is not None:
        raise UsageError("--output and --figures are both given", "write the page and the figures one after the other")
    if output is not None:
        check_output(output, force=force)
    from precbench.report.html.making import make_page, write_report
    from precbench.report.html.writing import write_figures
    from precbench.report.terminal import say

    made = make_page(sources, data=data_dir, progress=progress())
    if figures is not None:
        written = write_figures(made, figures, force=force)
    else:
        written = [write_report(made, sources, output, force=force)]
    record: dict[str, Any] = {"answer": list(made.answer), "files": [str(path) for path in written]}

    def show(console: Any) -> None:
        for sentence in made.answer:
            say(console, f"{sentence}\n")
        for path in written:
            say(console, f"Wrote {path}")

    emit("report", record, as_json=as_json, show=show)
