"""`precbench bench`: time variants against their base, and say what the evidence shows."""

import datetime
import itertools
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from precbench.cli.app import app
from precbench.cli.interruption import Held, interruptible
from precbench.cli.output import (
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
from precbench.errors import PrecbenchError, UsageError

if TYPE_CHECKING:
    from precbench.bench.benchmark import Benchmark
    from precbench.bench.inputs import BatchInputs
    from precbench.bench.options import TimingOptions
    from precbench.bench.sequential import SequentialBenchmark
    from precbench.runtime import SessionSettings

_INTERRUPTED = 130
_BUDGET_HELP = "How long to measure: 60s, 2m. The checks before it and --profile after it come on top."
_REPLAYED = frozenset({"replay", "output", "force", "as_json"})
_SEQUENTIAL = frozenset(
    {"base", "variants", "budget", "batch", "inputs", "shape", "threads", "clock", "protocol"}
    | {"provider", "provider_option", "opt_level", "seed", "output", "force", "as_json"}
)
"""Parameters that have a meaning beside --replay, and beside --protocol sequential."""


class Protocol(StrEnum):
    """How to measure."""

    BLOCKS = "blocks"
    SEQUENTIAL = "sequential"


class ExtraArm(StrEnum):
    """What else to time beside the models."""

    DENORMALS_OFF = "denormals-off"


@app.command()
def bench(
    context: typer.Context,
    base: Annotated[
        Path | None, typer.Argument(help="The full-precision ONNX model; the default study's where not given.")
    ] = None,
    variants: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Models to compare with it; every variant in the default run folder where no model is given."
        ),
    ] = None,
    budget: Annotated[str, typer.Option("--budget", help=_BUDGET_HELP, metavar="TIME")] = "60s",
    margin: Annotated[
        str, typer.Option("--margin", help="A ratio within this of 1 counts as equivalent.", metavar="PERCENT")
    ] = "1%",
    target_width: Annotated[
        str | None,
        typer.Option(
            "--target-width", help="Stop when every interval is as narrow as this, such as 0.5%.", metavar="PERCENT"
        ),
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="Fresh processes; chosen by the budget where not given.")
    ] = None,
    batch: Annotated[
        str, typer.Option("--batch", help="Samples per call; several sizes share the budget: 1,32.", metavar="N[,N…]")
    ] = "32",
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--input", help="An .npz with one array per input; else seeded inputs that fit what the model declares."
        ),
    ] = None,
    shape: Shape = None,
    threads: Threads = 1,
    clock: Annotated[
        str, typer.Option("--clock", help="What a call spans: end-to-end, device (GPU buffers), or cuda-graph.")
    ] = "end-to-end",
    arm: Annotated[
        list[ExtraArm] | None,
        typer.Option("--arm", help="Also time the base with subnormals flushed to zero, in processes of its own."),
    ] = None,
    protocol: Annotated[
        Protocol, typer.Option("--protocol", help="blocks; or sequential, the paper's single cold pass, to compare.")
    ] = Protocol.BLOCKS,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also say which nodes account for a gap (ONNX Runtime's own times).")
    ] = False,
    replay: Annotated[
        Path | None, typer.Option("--replay", help="Repeat a recorded benchmark exactly as it was carried out.")
    ] = None,
    provider: Provider = "cpu",
    provider_option: ProviderOption = None,
    opt_level: OptimizationLevel = "all",
    seed: Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="The record (JSON); every sample goes beside it (Parquet). Else in runs/bench/."
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Time models against their base.

    Of each it says whether it is faster, slower, equivalent, or that this cannot be told. Base and variants run
    interleaved, in many fresh processes, with the base a second time as a control.

    Example: precbench bench model.onnx model.dp4.onnx --batch 1,32 --budget 2m
    """
    record_path = _default_record() if output is None else output
    sources = [base, *(variants or []), inputs, replay]
    _check_outputs(record_path, sources, force=force, samples=protocol is Protocol.BLOCKS)
    bars = progress()
    with interruptible() as held:
        if replay is not None:
            _refuse_others(
                context, _REPLAYED, "--replay repeats a record with its own models and options", "or leave --replay out"
            )
            from precbench.bench.replaying import repeat

            result = repeat(replay, keep=_keep(record_path, held), progress=bars)
            _finish(result, record_path, held, as_json=as_json)
            return
        if protocol is Protocol.SEQUENTIAL:
            _refuse_others(context, _SEQUENTIAL, "--protocol sequential is one cold pass each", "or measure in blocks")
        options = _options(budget, margin, target_width, processes, clock, arm=arm or [], profile=profile, seed=seed)
        settings = session_settings(provider, provider_option, threads, opt_level)
        base_path, variant_paths = (base, variants or []) if base is not None else _default_models(bars)
        fed = _inputs(base_path, settings, batch, file=inputs, seed=seed, shapes=parse_shapes(shape))
        if protocol is Protocol.SEQUENTIAL:
            from precbench.bench.sequential import benchmark_sequentially

            passes = benchmark_sequentially(base_path, variant_paths, settings=settings, inputs=fed, options=options)
            say_provider(passes.gate.session, bars)
            _finish(passes, record_path, held, as_json=as_json)
            return
        from precbench.bench.benchmark import benchmark

        result = benchmark(
            base_path,
            variant_paths,
            settings=settings,
            inputs=fed,
            options=options,
            keep=_keep(record_path, held),
            progress=bars,
        )
        say_provider(result.gate.session, bars)
        _finish(result, record_path, held, as_json=as_json)


def _check_outputs(path: Path, sources: Sequence[Path | None], *, force: bool, samples: bool) -> None:
    """Refuse, before any work, a record or samples that cannot be written, or that would replace something."""
    from precbench.bench.samples_file import samples_path
    from precbench.files import check_named, check_not_input, check_output

    check_named(path)
    if samples and samples_path(path) == path:
        raise UsageError(f"{path} is where the samples go, beside the record", "give the record's name: RESULT.json")
    for output in (path, samples_path(path)) if samples else (path,):
        check_output(output, force=force)
        check_not_input(output, sources)


def _refuse_others(context: typer.Context, allowed: frozenset[str], why: str, otherwise: str) -> None:
    """Refuse what the user gave beside an option that leaves it without a meaning."""
    given = [parameter for parameter in context.command.params if parameter.name and _is_given(context, parameter.name)]
    others = [parameter for parameter in given if parameter.name not in allowed]
    if others:
        names = ", ".join(_shown(parameter) for parameter in others)
        raise UsageError(f"{why}: {names} would be ignored", f"leave {names} out, {otherwise}")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _shown(parameter: Any) -> str:
    """The option as it is written; an argument by its name in the help."""
    return str(parameter.opts[-1] if parameter.param_type_name == "option" else parameter.name.upper())


def _options(
    budget: str,
    margin: str,
    target_width: str | None,
    processes: int | None,
    clock: str,
    *,
    arm: Sequence[ExtraArm],
    profile: bool,
    seed: int,
) -> "TimingOptions":
    from precbench.bench.options import TimingOptions
    from precbench.cli.quantities import parse_duration_s, parse_percent
    from precbench.runtime.clocks import timed_clock

    return TimingOptions(
        budget_s=parse_duration_s(budget),
        margin=parse_percent(margin),
        target_width=None if target_width is None else parse_percent(target_width),
        processes=processes,
        clock=timed_clock(clock),
        denormals_off=ExtraArm.DENORMALS_OFF in arm,
        profile=profile,
        seed=seed,
    )


def _inputs(
    base: Path,
    settings: "SessionSettings",
    batch: str,
    *,
    file: Path | None,
    seed: int,
    shapes: Mapping[str, tuple[int, ...]],
) -> list["BatchInputs"]:
    from precbench.bench.inputs import inputs_for_batches
    from precbench.cli.quantities import parse_batches

    return inputs_for_batches(base, settings, parse_batches(batch), file=file, seed=seed, shapes=shapes)


def _default_models(bars: Any) -> tuple[Path, list[Path]]:
    """The default study's base and its variants; where there are none, the one at 4 decimals is made."""
    from precbench.grids import DecimalGrid

    with default_run(bars) as run:
        base = run.ensure_base()
        names = list(run.variants()) or [run.ensure_variant(grid=DecimalGrid(4))[0]]
        bars.note(f"timing {', '.join(names)} against {base}")
        return base, [run.variant_path(name) for name in names]


def _default_record() -> Path:
    """A name by the time, and a number where two runs begin in one second."""
    now = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
    folder = Path("runs") / "bench"
    names = itertools.chain([now], (f"{now}-{number}" for number in itertools.count(2)))
    return next(path for path in (folder / f"{name}.json" for name in names) if not path.exists())


def _keep(path: Path, held: Held) -> Callable[["Benchmark"], None]:
    """Save what there is so far; what cannot be saved now is an error at the end, not in the middle."""

    def keep(so_far: "Benchmark") -> None:
        with held():
            _save(so_far, so_far.to_json(), path)

    return keep


def _finish(result: "Benchmark | SequentialBenchmark", path: Path, held: Held, *, as_json: bool) -> None:
    """Save, print, and end as the measurement ended: what was measured is kept in any case."""
    with held():
        from precbench.bench.benchmark import Benchmark
        from precbench.report.bench_report import show_benchmark, show_sequential

        show = show_benchmark if isinstance(result, Benchmark) else show_sequential
        record = result.to_json()
        failures = _save(result, record, path)
        saved = [file for file in _files(result, path) if file not in failures]
        emit("bench", record, as_json=as_json, show=lambda console: show(console, record, saved=saved))
    errors = [error for error in (result.failure, *failures.values()) if error is not None]
    if errors:
        raise next((error for error in errors if not isinstance(error, PrecbenchError)), errors[-1])
    if not result.complete:
        raise typer.Exit(_INTERRUPTED)


def _files(result: "Benchmark | SequentialBenchmark", path: Path) -> list[Path]:
    """The record, which is small, first; every sample beside it, where the record has them not."""
    from precbench.bench.benchmark import Benchmark
    from precbench.bench.samples_file import samples_path

    return [path, samples_path(path)] if isinstance(result, Benchmark) else [path]


def _save(result: "Benchmark | SequentialBenchmark", record: Mapping[str, Any], path: Path) -> dict[Path, Exception]:
    """Write the files; one that cannot be written does not keep the other from it, and its error is returned."""
    from precbench.bench.benchmark import Benchmark
    from precbench.bench.samples_file import write_samples
    from precbench.files import write_json

    failures = dict[Path, Exception]()
    for file in _files(result, path):
        try:
            if file == path:
                write_json(file, record)
            elif isinstance(result, Benchmark):
                write_samples(file, result.samples())
        except Exception as error:
            failures[file] = error
    return failures
