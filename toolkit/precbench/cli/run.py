"""`precbench run`: the whole study."""

from pathlib import Path
from typing import Annotated

import typer

from precbench.cli.app import app
from precbench.cli.output import Json, emit, progress


@app.command()
def run(
    study: Annotated[
        str, typer.Argument(help="A study file (TOML), or the name of one that comes with precbench.")
    ] = "mobilenetv2-digits",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The run folder; runs/NAME where not given.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over; what an earlier run made is replaced.")] = False,
    as_json: Json = False,
) -> None:
    """Run a whole study and print what came out.

    It trains, exports, rounds, evaluates and times, in this order, and keeps everything in the run folder. What an
    earlier run in the same folder finished is found by digest and not done again.

    Example: precbench run
    """
    from rich.console import Console

    from precbench.report.study_report import study_sentences, study_table
    from precbench.report.terminal import say
    from precbench.study.definition import load_study
    from precbench.study.run import Run

    definition = load_study(study)
    folder = output or Path("runs") / definition.name
    results = Run(definition, folder, fresh=fresh, progress=progress()).run()

    def show(console: Console) -> None:
        console.print(study_table(results))
        for sentence in study_sentences(results):
            say(console, f"\n{sentence}")
        say(console, f"\nEverything is in {folder}/")

    emit("run", results, as_json=as_json, show=show)
