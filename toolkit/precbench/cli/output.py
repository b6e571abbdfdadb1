"""Options and output that commands share."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from precbench.cli.loudness import Loudness, loudness
from precbench.progress import SILENT

if TYPE_CHECKING:
    from rich.console import Console

    from precbench.progress import Progress
    from precbench.runtime import SessionSettings
    from precbench.study.run import Run

SCHEMA_VERSION = 1

Json = Annotated[bool, typer.Option("--json", help="Print the record as JSON on standard output.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an output that exists.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything that is drawn; recorded.")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Samples per call.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Intra-op threads of a session.")]
Provider = Annotated[str, typer.Option("--ep", help="Execution provider: cpu, cuda, tensorrt, or auto.")]
ProviderOption = Annotated[
    list[str] | None, typer.Option("--ep-option", metavar="KEY=VALUE", help="An option of the provider; repeatable.")
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="Where cifar10 lies: its folder cifar-10-batches-py, one around it, or the .tar.gz."
    ),
]
OnBadImage = Annotated[
    str | None,
    typer.Option(
        "--on-bad-image",
        metavar="stop|skip",
        help="At an image of a folder that cannot be read; stop, if neither this nor a study says so.",
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="ImageNet weights of the network without its top (Keras H5); else downloaded."),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        help="A trained network to begin with: a folder with architecture.json and weights.h5, or .keras.",
    ),
]
Preprocess = Annotated[
    str | None, typer.Option("--preprocess", help="tf, torch, caffe or none; else as the model's metadata says.")
]
Split = Annotated[str, typer.Option("--split", help="Which part of a study's images: train, validation or test.")]
OptimizationLevel = Annotated[
    str, typer.Option("--opt-level", help="Graph optimizations: disable, basic, extended, all.")
]
Shape = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="NAME=1x3x224x224", help="Shape of an input whose size is open; repeatable."),
]


def emit(command: str, record: Mapping[str, Any], *, as_json: bool, show: Callable[["Console"], None]) -> None:
    """Print a command's record: as JSON, or as `show` draws it."""
    if as_json:
        typer.echo(
            json.dumps({"schema_version": SCHEMA_VERSION, "command": command, **record}, indent=2, allow_nan=False)
        )
        return
    from precbench.report.terminal import make_console

    show(make_console())


def progress() -> "Progress":
    """Return the terminal's progress bars; with --quiet none."""
    if loudness() is Loudness.QUIET:
        return SILENT
    from precbench.report.terminal import TerminalProgress

    return TerminalProgress()


def default_run(bars: "Progress") -> "Run":
    """Return the default study's run in `runs/`, which a command without a model works in."""
    from precbench.study.definition import DEFAULT_STUDY, load_study
    from precbench.study.run import Run

    study = load_study(DEFAULT_STUDY)
    return Run(study, Path("runs") / study.name, progress=bars)


def default_base(bars: "Progress") -> Path:
    """Return the default study's base model, made where it is missing, and say so."""
    with default_run(bars) as run:
        base = run.ensure_base()
    bars.note(f"using {base}")
    return base


def session_settings(provider: str, options: list[str] | None, threads: int, level: str) -> "SessionSettings":
    """Turn the options of a session into settings."""
    from precbench.runtime import SessionSettings

    pairs = dict(_pair("--ep-option", text) for text in options or [])
    return SessionSettings(
        provider=provider, provider_options=pairs, intra_op_threads=threads, optimization_level=level
    )


def say_provider(session: Mapping[str, Any], bars: "Progress") -> None:
    """Say what `--ep auto` picked, and why not the others."""
    if session["requested_provider"] == "auto":
        passed = "".join(f"; {name}: {reason}" for name, reason in session["passed_over"].items())
        bars.note(f"--ep auto: {session['provider']}{passed}")


def parse_shapes(texts: list[str] | None) -> dict[str, tuple[int, ...]]:
    """Read `NAME=1x3x224x224`.

    Raises:
        UsageError: not written so.
    """
    from precbench.errors import UsageError

    shapes = {}
    for name, sizes in (_pair("--shape", text) for text in texts or []):
        parts = sizes.lower().split("x")
        if not all(re.fullmatch(r"0*[1-9][0-9]{0,8}", part) for part in parts):
            raise UsageError(
                f"--shape {name}={sizes} is no shape", "write positive sizes with x between: input=1x3x224x224"
            )
        shapes[name] = tuple(int(part) for part in parts)
    return shapes


def _pair(option: str, text: str) -> tuple[str, str]:
    from precbench.errors import UsageError

    key, equals, value = text.rpartition("=") if option == "--shape" else text.partition("=")
    if not (key and equals and value):
        raise UsageError(f"{option} {text!r} has no name or no value", f"write {option} NAME=VALUE")
    return key, value
