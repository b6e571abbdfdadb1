"""`precbench screen`: which layers hold at N decimals, or on another grid."""

from pathlib import Path
from typing import Annotated, Any

import typer

from precbench.cli.app import app
from precbench.cli.output import (
    Batch,
    DataDir,
    Json,
    OnBadImage,
    OptimizationLevel,
    Preprocess,
    Provider,
    ProviderOption,
    Seed,
    Split,
    Threads,
    emit,
    progress,
    say_provider,
    session_settings,
)


@app.command()
def screen(
    model: Annotated[Path, typer.Argument(help="The full-precision ONNX model.")],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="Labelled: digits, cifar10, a study, folder:PATH (one folder per class), or an .npz of uint8 `images` "
            "(or an array per input) with `labels`.",
        ),
    ],
    dp: Annotated[
        str | None, typer.Option("--dp", metavar="N[,N…]", help="Decimals, each 0 to 12; without --grid 1,2,3,4.")
    ] = None,
    grid: Annotated[
        list[str] | None, typer.Option("--grid", help="Another grid, such as int:8 or pow2:5; repeatable.")
    ] = None,
    margin: Annotated[
        float, typer.Option("--margin", metavar="POINTS", help="Percentage points of accuracy that may be lost.")
    ] = 0.5,
    level: Annotated[
        str, typer.Option("--level", metavar="P%", help="How sure each answer is to be right, of its layer alone.")
    ] = "95%",
    data_dir: DataDir = None,
    on_bad_image: OnBadImage = None,
    split: Split = "validation",
    preprocess: Preprocess = None,
    batch: Batch = 32,
    threads: Threads = 1,
    provider: Provider = "cpu",
    provider_option: ProviderOption = None,
    opt_level: OptimizationLevel = "all",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Say which layers hold at N decimals.

    A layer holds where, rounded alone, it loses at most the margin. Each layer at each N runs on no more images
    than its answer takes, in one drawn order: about 650 of 10,000 where none flips. Asked is of all the images of
    the data; however early an answer comes, it is as sure as --level says.

    Example: precbench screen model.onnx --data photos.npz --dp 2,3 --margin 0.5
    """
    from precbench.bench.sessions import open_model
    from precbench.cli.quantities import parse_grids, parse_percent
    from precbench.study.evaluation import load_data, preprocessing_for
    from precbench.study.screening import screen_layers
    from precbench.sweep import evaluations

    grids = parse_grids("1,2,3,4" if dp is None and not grid else dp, grid)
    sure = parse_percent(level)
    session = open_model(model, session_settings(provider, provider_option, threads, opt_level))
    bars = progress()
    say_provider(session.record(), bars)
    loaded = load_data(data, session, split=split, directory=data_dir, on_bad_image=on_bad_image, progress=bars)
    layers = screen_layers(
        session,
        loaded,
        grids=grids,
        margin_points=margin,
        alpha=1 - sure,
        preprocessing=None if preprocess is None else preprocessing_for(session, preprocess, loaded),
        batch=batch,
        seed=seed,
        progress=bars,
    )
    answers = [one.to_json() for one in layers]
    images = 0 if loaded.labels is None else len(loaded.labels)
    record = {
        "model": str(model),
        "data": dict(loaded.description),
        "session": session.record(),
        "images": images,
        "margin_points": margin,
        "level": sure,
        "seed": seed,
        "evaluations": evaluations([one.found for one in layers]),
        "layers": answers,
    }
    emit("screen", record, as_json=as_json, show=lambda console: _show(console, record))


def _show(console: Any, record: dict[str, Any]) -> None:
    from precbench.report.sentences import about_screening
    from precbench.report.tables import screening_table
    from precbench.report.terminal import say

    console.print(screening_table(record["layers"]))
    for sentence in about_screening(record):
        say(console, f"\n{sentence}")
