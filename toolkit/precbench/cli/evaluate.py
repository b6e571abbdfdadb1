"""`precbench evaluate`: accuracy, confusion, flips, fidelity."""

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
    Shape,
    Split,
    Threads,
    emit,
    parse_shapes,
    progress,
    say_provider,
    session_settings,
)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="An ONNX model.")],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="digits, cifar10, a study (its test split), folder:PATH (one folder per class), or an .npz: uint8 "
            "`images` with `labels`, or an array per input. Seeded inputs where not given.",
        ),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option("--reference", help="The full-precision model: adds paired flips, and fidelity.")
    ] = None,
    data_dir: DataDir = None,
    on_bad_image: OnBadImage = None,
    split: Split = "test",
    preprocess: Preprocess = None,
    shape: Shape = None,
    batch: Batch = 32,
    threads: Threads = 1,
    provider: Provider = "cpu",
    provider_option: ProviderOption = None,
    opt_level: OptimizationLevel = "all",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure accuracy, or fidelity to a reference.

    With labels: accuracy, per class, confusion matrix, and with --reference the images that flipped. Without, or for
    models that are no classifiers: SQNR, largest error, cosine and top-1 agreement with the reference.

    Example: precbench evaluate model.dp4.onnx --data photos.npz --reference model.onnx
    """
    from precbench.bench.sessions import open_model
    from precbench.study.evaluation import evaluate as evaluate_model
    from precbench.study.evaluation import load_data, preprocessing_for

    settings = session_settings(provider, provider_option, threads, opt_level)
    session = open_model(model, settings)
    bars = progress()
    say_provider(session.record(), bars)
    loaded = load_data(
        data,
        session,
        split=split,
        seed=seed,
        batch=batch,
        shapes=parse_shapes(shape),
        directory=data_dir,
        on_bad_image=on_bad_image,
        progress=bars,
    )
    evaluation = evaluate_model(
        session,
        loaded,
        reference=None if reference is None else open_model(reference, settings),
        preprocessing=None if preprocess is None else preprocessing_for(session, preprocess, loaded),
        batch=batch,
        progress=bars,
    )
    record = {
        "model": str(model),
        "reference": reference and str(reference),
        "session": session.record(),
        **evaluation.to_json(),
    }
    emit("evaluate", record, as_json=as_json, show=lambda console: _show(console, record))


def _show(console: Any, record: dict[str, Any]) -> None:
    from precbench.report.sentences import about_accuracy, about_fidelity
    from precbench.report.tables import class_table, confusion_table, fidelity_table
    from precbench.report.terminal import say

    if record["accuracy"] is not None:
        console.print(class_table(record))
        console.print()
        console.print(confusion_table(record))
    for sentence in about_accuracy(record):
        say(console, f"\n{sentence}")
    if record["fidelity"] is not None:
        console.print()
        console.print(fidelity_table(record["fidelity"]))
        for sentence in about_fidelity(record["fidelity"]):
            say(console, sentence)
