"""`precbench grids`: families of number grids side by side on a model."""

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
    Split,
    Threads,
    emit,
    progress,
    say_provider,
    session_settings,
)


@app.command()
def grids(
    model: Annotated[Path, typer.Argument(help="The full-precision ONNX model.")],
    data: Annotated[
        str,
        typer.Option("--data", help="Labelled: digits, cifar10, a study, folder:PATH, or an .npz with `labels`."),
    ],
    grid: Annotated[
        list[str] | None, typer.Option("--grid", help="Of these alone, such as int:8; repeatable. Else one of each.")
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Order: bits (of a stored code), or entropy.")] = "bits",
    data_dir: DataDir = None,
    on_bad_image: OnBadImage = None,
    split: Split = "test",
    preprocess: Preprocess = None,
    batch: Batch = 32,
    threads: Threads = 1,
    provider: Provider = "cpu",
    provider_option: ProviderOption = None,
    as_json: Json = False,
) -> None:
    """Set families of number grids side by side.

    Each rounds all target weights: bits and entropy per weight, bytes compressed, SQNR of the weights, and accuracy
    against full precision, image by image.

    Example: precbench grids model.onnx --data photos.npz --by entropy
    """
    from precbench.bench.sessions import open_model
    from precbench.cli.quantities import parse_grids
    from precbench.errors import UsageError
    from precbench.graph import load_model
    from precbench.nearest import nearest
    from precbench.runtime import fixed_batch
    from precbench.search.evaluating import part_of
    from precbench.search.families import compare_grids, parse_default_grids
    from precbench.study.evaluation import check_classifier, load_data, preprocessing_for

    if by not in ("bits", "entropy"):
        raise UsageError(f"--by {by} is no order", f"{nearest(by, ('bits', 'entropy'))}; give bits or entropy")
    chosen = parse_grids(None, grid) or parse_default_grids()
    session = open_model(model, session_settings(provider, provider_option, threads, "all"))
    bars = progress()
    say_provider(session.record(), bars)
    loaded = load_data(data, session, split=split, seed=0, directory=data_dir, on_bad_image=on_bad_image, progress=bars)
    check_classifier(session)
    found = compare_grids(
        load_model(model),
        chosen,
        part_of(session, loaded, None if preprocess is None else preprocessing_for(session, preprocess, loaded)),
        settings=session.settings,
        batch=fixed_batch(session.inputs) or batch,
        progress=bars,
    )
    key = "bits" if by == "bits" else "entropy_bits"
    rows = sorted((one.to_json() for one in found), key=lambda row: (row[key] is None, row[key], row["entropy_bits"]))
    record = {
        "model": str(model),
        "data": dict(loaded.description),
        "session": session.record(),
        "by": by,
        "grids": rows,
    }
    emit("grids", record, as_json=as_json, show=lambda console: _show(console, record))


def _show(console: Any, record: dict[str, Any]) -> None:
    from precbench.report.searching import about_grids, grids_table
    from precbench.report.terminal import say

    console.print(grids_table(record["grids"]))
    say(console, f"\n{about_grids(record)}")
