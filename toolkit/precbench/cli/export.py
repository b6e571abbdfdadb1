"""`precbench export`: a Keras model as ONNX."""

from pathlib import Path
from typing import Annotated

import typer

from precbench.cli.app import app
from precbench.cli.output import Force, Json, default_run, emit, progress


@app.command()
def export(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="A .keras file, a Keras .h5, or an architecture JSON (its weights next). "
            "The default study's where not given."
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Argument(help="The weights H5 that belongs to an architecture JSON.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The ONNX file; MODEL.onnx where not given.")
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(
            "--preprocess", help="How uint8 RGB images become inputs, recorded: tf (to -1..1), torch, caffe, none."
        ),
    ] = None,
    class_names: Annotated[
        str | None,
        typer.Option("--class-names", help="Names in the order of the outputs, with commas between; recorded."),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(
            "--groups",
            help="A study whose [groups] to record; where not given, the first that comes with precbench and fits.",
        ),
    ] = None,
    check_data: Annotated[
        Path | None,
        typer.Option(
            "--check-data",
            help="An .npz to compare with Keras on: uint8 `images`, or an array per input; else seeded inputs.",
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Export a Keras model to ONNX.

    Each variable becomes one initializer under its Keras path, bit for bit; nothing is folded; the file is only left
    when it computes what Keras computes.

    Code in a Keras file is never run: Lambda layers and custom objects are refused.

    Example: precbench export architecture.json weights.h5 -o model.onnx --preprocess tf
    """
    from rich.console import Console

    from precbench.report.sentences import about_the_check
    from precbench.report.terminal import say
    from precbench.study.exporting import export_file

    bars = progress()
    if model is None:
        with default_run(bars) as run:
            record = run.export_record()
            bars.note(f"using {run.folder / 'checkpoint'}")
    else:
        names = tuple(name.strip() for name in class_names.split(",")) if class_names else ()
        record = export_file(
            model,
            weights,
            output,
            preprocess=preprocess,
            class_names=names,
            groups=groups,
            check_data=check_data,
            force=force,
            progress=bars,
        ).to_json()

    def show(console: Console) -> None:
        say(console, about_the_check(record["check"]))
        say(console, f"{'Found' if record.get('found') else 'Wrote'} {record['output']}")

    emit("export", record, as_json=as_json, show=show)
