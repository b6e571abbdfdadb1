"""`precbench search`: the fewest bytes whose loss is shown to be within a limit."""

from pathlib import Path
from typing import Annotated, Any

import typer

from precbench.cli.app import app
from precbench.cli.interruption import interruptible
from precbench.cli.output import (
    Batch,
    DataDir,
    Json,
    OnBadImage,
    Preprocess,
    Provider,
    ProviderOption,
    Seed,
    emit,
    progress,
    say_provider,
    session_settings,
)


@app.command()
def search(
    model: Annotated[Path, typer.Argument(help="The full-precision ONNX model.")],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="Labelled: digits, cifar10, a study, folder:PATH, or an .npz of uint8 `images` (or arrays) "
            "with `labels`. Its training part orders, its validation part chooses, its test part confirms.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The plan to write.")] = Path("plan.toml"),
    max_drop: Annotated[
        float,
        typer.Option(
            "--max-drop",
            metavar="POINTS",
            help="Accuracy that may be lost, by the 95 % interval's end.",
        ),
    ] = 0.5,
    objective: Annotated[str, typer.Option("--objective", help="bytes (packed and compressed), or bits.")] = "bytes",
    dp: Annotated[
        str | None,
        typer.Option("--dp", metavar="N[,N…]", help="Decimals that a layer may have; without --grid 0,1,2,3,4,5,6."),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            help="A grid that a layer may sit on, such as step:0.05; beside --dp, if given.",
        ),
    ] = None,
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="How long to search, earlier sittings counted.")
    ] = "30m",
    evaluations: Annotated[
        int | None,
        typer.Option("--evaluations", metavar="N", help="A budget in image evaluations; then --budget is none."),
    ] = None,
    data_dir: DataDir = None,
    on_bad_image: OnBadImage = None,
    preprocess: Preprocess = None,
    batch: Batch = 32,
    provider: Provider = "cpu",
    provider_option: ProviderOption = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Find a plan of decimals per layer with the fewest bytes.

    Its loss on the validation images is shown to be at most --max-drop. The plan is written whenever a better one is
    found; Ctrl-C stops, and the same command goes on. The test images are looked at once, at the end. What is written
    is taken by `precbench round --plan` and `precbench deploy --plan`, and can be edited.

    Exit status 1: no plan is shown to be within --max-drop; the nearest was left.

    Example: precbench search model.onnx --data photos.npz --max-drop 0.5 -o plan.toml
    """
    from precbench.bench.sessions import open_model
    from precbench.cli.quantities import parse_duration_s, parse_grids
    from precbench.deploy.data import load_deployment_data
    from precbench.files import check_not_input
    from precbench.search.costs import parse_objective
    from precbench.search.evaluating import Budget
    from precbench.search.finding import CALIBRATION_SAMPLES, SearchRequest, find_plan

    seconds = None if evaluations is not None else parse_duration_s(budget)
    request = SearchRequest(
        output=output,
        max_drop_points=max_drop,
        objective=parse_objective(objective),
        grids=parse_grids("0,1,2,3,4,5,6" if dp is None and not grid else dp, grid),
        budget=Budget(evaluations=evaluations, seconds=seconds),
        batch=batch,
    )
    check_not_input(output, [model, Path(data)])
    bars = progress()
    with interruptible():
        session = open_model(model, session_settings(provider, provider_option, 1, "all"))
        say_provider(session.record(), bars)
        loaded = load_deployment_data(
            data,
            session,
            preprocess=preprocess,
            seed=seed,
            directory=data_dir,
            on_bad_image=on_bad_image,
            most_calibration=CALIBRATION_SAMPLES,
            progress=bars,
        )
        record = find_plan(request, session, loaded, progress=bars)
    emit("search", record, as_json=as_json, show=lambda console: _show(console, record))
    if not record["holds"]:
        raise typer.Exit(1)


def _show(console: Any, record: dict[str, Any]) -> None:
    from precbench.report.searching import about_search, plan_table, sizes_table
    from precbench.report.terminal import say

    console.print(plan_table(record["plan"]))
    console.print()
    console.print(sizes_table(record["sizes"]))
    for sentence in about_search(record):
        say(console, f"\n{sentence}")
