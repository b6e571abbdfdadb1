"""`precbench sensitivity`: which layers rounding hurts most."""

from pathlib import Path
from typing import Annotated, Any

import typer

from precbench.cli.app import app
from precbench.cli.output import (
    Batch,
    DataDir,
    Json,
    OnBadImage,
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
def sensitivity(
    model: Annotated[Path, typer.Argument(help="The full-precision ONNX model.")],
    data: Annotated[
        str,
        typer.Option("--data", help="digits, cifar10, a study, folder:PATH, or an .npz of uint8 `images` (or arrays)."),
    ],
    dp: Annotated[
        str | None, typer.Option("--dp", metavar="N[,N…]", help="Decimals; the first ranks. Without --grid 1,2,3,4.")
    ] = None,
    grid: Annotated[
        list[str] | None, typer.Option("--grid", help="Another grid, such as int:8 or pow2:5; repeatable.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="So many places are to be told apart.")] = 10,
    images: Annotated[int | None, typer.Option("--images", min=1, help="At most so many images; else all.")] = None,
    data_dir: DataDir = None,
    on_bad_image: OnBadImage = None,
    split: Split = "validation",
    preprocess: Preprocess = None,
    batch: Batch = 32,
    threads: Threads = 1,
    provider: Provider = "cpu",
    provider_option: ProviderOption = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Rank layers by what rounding each costs.

    Each alone, by how far the class probabilities move (mean divergence, which needs no labels), with the images that
    change their class, the right answers lost and gained, and the SQNR of the logits. All run on the first 256 images
    of one drawn order, and only those whose places are not told yet on more.

    Example: precbench sensitivity model.onnx --data photos.npz
    """
    from precbench.bench.sessions import open_model
    from precbench.cli.quantities import parse_grids
    from precbench.graph import list_initializers, load_model
    from precbench.runtime import fixed_batch
    from precbench.search.evaluating import part_of
    from precbench.search.sensitivity import rank_layers
    from precbench.study.evaluation import check_classifier, load_data, preprocessing_for
    from precbench.study.experiments import target_layers

    grids = parse_grids("1,2,3,4" if dp is None and not grid else dp, grid)
    session = open_model(model, session_settings(provider, provider_option, threads, "all"))
    bars = progress()
    say_provider(session.record(), bars)
    loaded = load_data(
        data, session, split=split, seed=seed, directory=data_dir, on_bad_image=on_bad_image, progress=bars
    )
    check_classifier(session)
    opened = load_model(model)
    ranking = rank_layers(
        opened,
        target_layers(list_initializers(opened)),
        grids,
        part_of(session, loaded, None if preprocess is None else preprocessing_for(session, preprocess, loaded)),
        settings=session.settings,
        batch=fixed_batch(session.inputs) or batch,
        top=top,
        most=images,
        seed=seed,
        progress=bars,
    )
    record = {
        "model": str(model),
        "data": dict(loaded.description),
        "session": session.record(),
        "seed": seed,
        "top": top,
        "settled": ranking.settled,
        "evaluations": ranking.evaluations,
        "layers": [[each.to_json() for each in damages] for damages in ranking.damages.values()],
    }
    emit("sensitivity", record, as_json=as_json, show=lambda console: _show(console, record))


def _show(console: Any, record: dict[str, Any]) -> None:
    from precbench.report.searching import about_sensitivity, sensitivity_table
    from precbench.report.terminal import say

    console.print(sensitivity_table(record["layers"]))
    for sentence in about_sensitivity(record):
        say(console, f"\n{sentence}")
