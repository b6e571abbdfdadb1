"""`precbench deploy`: a model in the form that it is shipped in, with what that costs and gives."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from precbench.cli.app import app
from precbench.cli.interruption import interruptible
from precbench.cli.output import (
    DataDir,
    Force,
    Json,
    OnBadImage,
    OptimizationLevel,
    Preprocess,
    Provider,
    ProviderOption,
    Seed,
    Shape,
    Threads,
    emit,
    parse_shapes,
    progress,
    say_provider,
    session_settings,
)

if TYPE_CHECKING:
    from precbench.deploy.data import DeploymentData
    from precbench.runtime import SessionSettings


@app.command()
def deploy(
    model: Annotated[Path, typer.Argument(help="A float32 ONNX model; for packed a rounded one.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")],
    form: Annotated[
        str, typer.Option("--form", help="packed, int8, fp16; or auto: the fastest that loses at most --max-drop.")
    ] = "auto",
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="To calibrate, choose and report with: digits, cifar10, a study, folder:PATH, or an .npz of uint8 "
            "`images` (or an array per input), with `labels`. Without it nothing is said about accuracy.",
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            "--max-drop",
            metavar="POINTS",
            help="Accuracy that may be lost, by the 95 % interval's end; 0.5 with auto where not given.",
        ),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option("--reference", help="What to compare with; the model itself where not given.")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="A plan file (TOML) to round the model by first; see `round --plan`.")
    ] = None,
    calibration: Annotated[
        str, typer.Option("--calibration", help="Of int8's activations: min-max, percentile, entropy.")
    ] = "min-max",
    data_dir: DataDir = None,
    on_bad_image: OnBadImage = None,
    preprocess: Preprocess = None,
    shape: Shape = None,
    batch: Annotated[str, typer.Option("--batch", help="Samples per timed call: 32, or 1,32.")] = "32",
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="How long to time; 0s leaves time unmeasured.")
    ] = "20s",
    threads: Threads = 1,
    provider: Provider = "cpu",
    provider_option: ProviderOption = None,
    opt_level: OptimizationLevel = "all",
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write the model in a smaller or faster form.

    In a folder, with what was measured of it.

    packed: integer codes, exact, float32 arithmetic. int8: integer arithmetic, calibrated. fp16: for GPUs. In the
    folder: model.onnx, manifest.json, model_card.md, reference.npz; `precbench verify` checks it where it lands.

    Exit status 1: no form is shown to be within --max-drop (with auto: and smaller or faster); the best was left.

    Example: precbench deploy model.onnx --form int8 --data photos.npz -o shipped/
    """
    from precbench.cli.quantities import parse_batches
    from precbench.deploy.deploying import deploy as deploy_model
    from precbench.deploy.folder import check_folder
    from precbench.deploy.forms import parse_form
    from precbench.deploy.request import Request

    wanted = parse_form(form)
    check_folder(output, force=force)
    settings = session_settings(provider, provider_option, threads, opt_level)
    bars = progress()
    with interruptible(), _rounded(model, plan) as source:
        request = Request(
            model=source,
            output=output,
            form=wanted,
            reference=reference or (None if plan is None else model),
            method=calibration,
            max_drop_points=max_drop,
            settings=settings,
            batches=parse_batches(batch),
            shapes=parse_shapes(shape),
            timing=_timing(budget, seed),
            seed=seed,
            command=("precbench", *sys.argv[1:]),
            force=force,
        )
        loaded = _data(data, model, settings, preprocess, seed, data_dir, on_bad_image, bars)
        deployed = deploy_model(request, loaded, progress=bars)
    record = {"folder": str(deployed.folder), "holds": deployed.holds, "manifest": dict(deployed.manifest)}
    emit("deploy", record, as_json=as_json, show=lambda console: _show(console, record))
    if deployed.holds is False:
        raise typer.Exit(1)


@contextmanager
def _rounded(model: Path, plan: Path | None) -> Iterator[Path]:
    """The model rounded by a plan, in a file that is removed afterwards; without a plan the model itself."""
    if plan is None:
        yield model
        return
    from precbench.study.plan_file import read_plan
    from precbench.study.rounding import round_file

    held = read_plan(plan)
    with TemporaryDirectory(prefix="precbench-") as folder:
        yield round_file(model, Path(folder) / f"{model.stem}.{plan.stem}.onnx", plan=held).output


def _timing(budget: str, seed: int) -> Any:
    from precbench.bench.options import TimingOptions
    from precbench.cli.quantities import parse_duration_s

    if budget.strip() in ("0", "0s"):
        return None
    return TimingOptions(budget_s=parse_duration_s(budget), seed=seed)


def _data(
    spec: str | None,
    model: Path,
    settings: "SessionSettings",
    preprocess: str | None,
    seed: int,
    directory: Path | None,
    on_bad_image: str | None,
    bars: Any,
) -> "DeploymentData | None":
    from precbench.bench.sessions import open_model

    session = open_model(model, settings)
    say_provider(session.record(), bars)
    if spec is None:
        return None
    from precbench.deploy.data import load_deployment_data

    return load_deployment_data(
        spec,
        session,
        preprocess=preprocess,
        seed=seed,
        directory=directory,
        on_bad_image=on_bad_image,
        progress=bars,
    )


def _show(console: Any, record: dict[str, Any]) -> None:
    from precbench.report.deployment import about_deployment, deployment_table
    from precbench.report.terminal import say

    manifest = record["manifest"]
    if manifest["tried"]:
        console.print(deployment_table(manifest["tried"]))
    for sentence in about_deployment(record):
        say(console, f"\n{sentence}")
