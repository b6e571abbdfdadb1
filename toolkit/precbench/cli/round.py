"""`precbench round`: round chosen weights of a model to N decimals, or to another grid."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from precbench.cli.app import app
from precbench.cli.output import Force, Json, default_base, default_run, emit, progress
from precbench.errors import UsageError

Patterns = list[str] | None


@app.command("round")
def round_(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="An ONNX model, a Keras weights H5, or a .keras file; the default study's base model where not given."
        ),
    ] = None,
    dp: Annotated[int | None, typer.Option("--dp", metavar="N", help="Decimals, 0 to 12.")] = None,
    grid: Annotated[
        str | None,
        typer.Option("--grid", help="Another grid than --dp: decimal:4, step:0.005, int:8:channel, pow2:5, float16, …"),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", help="A plan file (TOML) in place of --dp, --grid and patterns; `search` writes one."),
    ] = None,
    group: Annotated[
        Patterns,
        typer.Option("--group", metavar="A[=N],B[=N]", help="Groups of layers, such as expand,project; repeatable."),
    ] = None,
    target: Annotated[
        Patterns,
        typer.Option(
            "--target",
            metavar="PATTERN[=N]",
            help="A layer's name, an initializer's, or a glob over those; repeatable.",
        ),
    ] = None,
    regex: Annotated[
        Patterns,
        typer.Option("--regex", metavar="REGEX[=N]", help="Initializers whose whole name matches; repeatable."),
    ] = None,
    op_type: Annotated[
        Patterns, typer.Option("--op-type", metavar="TYPE[=N]", help="Weights of Conv, Gemm, MatMul, …; repeatable.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The rounded model; MODEL.dpN.onnx where not given.")
    ] = None,
    architecture: Annotated[
        Path | None, typer.Option("--architecture", help="The JSON of a Keras .weights.h5 that names no layers.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Round a model's weights to N decimals.

    Or to another number grid, --grid. Rounding is correct (half to even, of the exact value), and everything else
    in the file stays as it is.

    Without patterns: the groups that the model names (the paper's set), else the weights of Conv, ConvTranspose, Gemm
    and MatMul. Where several patterns match one initializer, --target decides before --regex, --group, --op-type.

    Example: precbench round model.onnx --dp 4 --target 'block_*_expand/kernel=3'
    """
    from rich.console import Console

    from precbench.cli.quantities import parse_grid_given
    from precbench.graph.targets import check_grid_given
    from precbench.report.sentences import about_what_was_left
    from precbench.report.tables import outcome_table
    from precbench.report.terminal import say
    from precbench.study.plan_file import read_plan

    selectors, default = _selectors(op_type, group, regex, target), parse_grid_given(dp, grid)
    if plan is not None and (selectors or default is not None):
        raise UsageError(
            "--plan is given, and --dp, --grid or patterns besides", "give the plan alone; it can be edited"
        )
    held = None if plan is None else read_plan(plan)
    if held is None:
        check_grid_given(selectors, default)
    bars = progress()
    record = _round(model, output, selectors, default, held, architecture=architecture, force=force, bars=bars)

    def show(console: Console) -> None:
        console.print(outcome_table(record["outcomes"]))
        console.print(f"\n{record['changed']:,} of {record['elements']:,} rounded elements have another value now.")
        for text in about_what_was_left(record):
            say(console, text)
        say(console, f"Wrote {record['output']}")

    emit("round", record, as_json=as_json, show=show)


def _selectors(op_type: Patterns, group: Patterns, regex: Patterns, target: Patterns) -> list[Any]:
    from precbench.graph.targets import SelectorKind, parse_selector

    groups = [name.strip() for text in group or [] for name in re.findall(r"(?:posit:\d+,\d+|[^,])+|^$", text)]
    typed = {
        SelectorKind.OP_TYPE: op_type,
        SelectorKind.GROUP: groups,
        SelectorKind.REGEX: regex,
        SelectorKind.TARGET: target,
    }
    return [parse_selector(kind, text) for kind, texts in typed.items() for text in texts or []]


def _round(
    model: Path | None,
    output: Path | None,
    selectors: list[Any],
    grid: Any,
    plan: Any,
    *,
    architecture: Path | None,
    force: bool,
    bars: Any,
) -> dict[str, Any]:
    """Round the model given; without one the default study's base model, into its run folder or to `output`."""
    from precbench.study.rounding import round_file

    if model is not None or output is not None:
        source = model or default_base(bars)
        return round_file(
            source, output, selectors, grid=grid, plan=plan, architecture=architecture, force=force, progress=bars
        ).to_json()
    if plan is not None:
        raise UsageError(f"the plan {plan.path} is for a model, and none is given", "name the model that it is for")
    with default_run(bars) as run:
        bars.note(f"using {run.ensure_base()}")
        name, _ = run.ensure_variant(selectors, grid=grid)
        return run.variant_record(name)
