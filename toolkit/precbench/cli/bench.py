"""`precbench bench`: time variants against their base."""

from pathlib import Path
from typing import Annotated, Any

import typer

from precbench.cli.app import app
from precbench.cli.output import (
    Batch,
    Force,
    Json,
    OptimizationLevel,
    Provider,
    ProviderOption,
    Seed,
    Shape,
    Threads,
    default_run,
    emit,
    parse_shapes,
    progress,
    say_provider,
    session_settings,
)


@app.command()
def bench(
    base: Annotated[
        Path | None, typer.Argument(help="The full-precision ONNX model; the default study's where not given.")
    ] = None,
    variants: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Models to compare with it; every variant in the default run folder where no model is given."
        ),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--input", help="An .npz with one array per input; else seeded inputs that fit what the model declares."
        ),
    ] = None,
    shape: Shape = None,
    batch: Batch = 32,
    threads: Threads = 1,
    budget: Annotated[
        float, typer.Option("--budget", metavar="SECONDS", help="How long to measure, all models together.")
    ] = 20.0,
    provider: Provider = "cpu",
    provider_option: ProviderOption = None,
    opt_level: OptimizationLevel = "all",
    seed: Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Also write the record with every raw sample to this JSON file."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Time models against their base.

    All run interleaved in one process, the base twice (A/A control); the figures are ratios with 95 % intervals.

    Example: precbench bench model.onnx model.dp4.onnx --batch 1 --threads 2
    """
    from rich.console import Console

    from precbench.files import check_output, write_json
    from precbench.report.sentences import about_the_conditions
    from precbench.report.tables import ratio_table
    from precbench.report.terminal import say
    from precbench.study.benchmark import benchmark
    from precbench.study.inputs import bench_inputs

    bars = progress()
    settings = session_settings(provider, provider_option, threads, opt_level)
    if output is not None:
        check_output(output, force=force)
    base_path, variant_paths = (base, variants or []) if base is not None else _default_models(bars)
    feeds, recipe = bench_inputs(base_path, settings, file=inputs, seed=seed, batch=batch, shapes=parse_shapes(shape))
    result = benchmark(
        base_path,
        variant_paths,
        settings=settings,
        feeds=feeds,
        inputs=recipe,
        budget_s=budget,
        seed=seed,
        progress=bars,
    )
    record = result.to_json()
    say_provider(record["session"], bars)
    if output is not None:
        write_json(output, {"schema_version": 1, "command": "bench", **record})

    def show(console: Console) -> None:
        console.print(ratio_table(record))
        say(console, f"\n{about_the_conditions(record)}")

    emit("bench", record, as_json=as_json, show=show)


def _default_models(bars: Any) -> tuple[Path, list[Path]]:
    """The default study's base and its variants; where there are none, the one at 4 decimals is made."""
    run = default_run(bars)
    base = run.ensure_base()
    names = list(run.variants()) or [run.ensure_variant(decimals=4)[0]]
    bars.note(f"timing {', '.join(names)} against {base}")
    return base, [run.variant_path(name) for name in names]
