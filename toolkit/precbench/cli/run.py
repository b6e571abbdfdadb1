"""`precbench run`: the whole study."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from precbench.cli.app import app
from precbench.cli.output import Checkpoint, DataDir, Json, OnBadImage, Weights, emit, progress


@app.command()
def run(
    study: Annotated[
        str, typer.Argument(help="A study file (TOML), or the name of one that comes with precbench.")
    ] = "mobilenetv2-digits",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The run folder; runs/NAME where not given.")
    ] = None,
    data_dir: DataDir = None,
    on_bad_image: OnBadImage = None,
    weights: Weights = None,
    checkpoint: Checkpoint = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over; what an earlier run made is replaced.")] = False,
    as_json: Json = False,
) -> None:
    """Run a whole study and print what came out.

    It trains, exports, rounds, evaluates and times, in this order, and keeps everything in the run folder. It can be
    stopped at any moment: what an earlier run in the same folder finished is found by digest and not done again.

    Example: precbench run
    """
    from rich.console import Console

    from precbench.report.html.installed import check_installed

    check_installed(extra="keras")
    from precbench.report.html.making import REPORT, write_report_of_run
    from precbench.report.study_report import show_study
    from precbench.report.terminal import say
    from precbench.study.definition import load_study
    from precbench.study.material import Places
    from precbench.study.run import Run

    definition = load_study(study)
    if on_bad_image is not None:
        definition = replace(definition, data=replace(definition.data, on_bad_image=on_bad_image))
    folder = output or Path("runs") / definition.name
    places = Places(data=data_dir, weights=weights, checkpoint=checkpoint)
    with Run(definition, folder, places=places, fresh=fresh, progress=progress()) as work:
        results = work.run()
        images = work.material.splits.test.images

    def show(console: Console) -> None:
        show_study(console, results)
        say(console, f"\nTo look at: {folder / REPORT}. Everything is in {folder}/")

    emit("run", results, as_json=as_json, show=show)
    write_report_of_run(folder, images)
