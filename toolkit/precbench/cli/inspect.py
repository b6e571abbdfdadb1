"""`precbench inspect`: what a model's initializers hold."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from precbench.cli.app import app
from precbench.cli.output import Json, default_base, emit, progress

if TYPE_CHECKING:
    from precbench.graph import CensusRow


@app.command()
def inspect(
    model: Annotated[Path | None, typer.Argument(help="An ONNX model; the default study's where not given.")] = None,
    as_json: Json = False,
) -> None:
    """List what a model's initializers hold.

    Shape, range, distinct values, zeros, subnormals, non-finite values, and the decimals needed to hold them exactly.

    Example: precbench inspect model.onnx
    """
    from rich.console import Console

    from precbench.graph import load_model, take_census
    from precbench.report.tables import NARROW, group_table, initializer_lines, initializer_table
    from precbench.report.terminal import say

    path = model or default_base(progress())
    census = take_census(load_model(path))
    rows = [_row(row) for row in census.rows]
    groups = {name: asdict(counts) for name, counts in census.groups.items()}
    record: dict[str, Any] = {"model": str(path), "initializers": rows, "groups": groups, "total": asdict(census.total)}

    def show(console: Console) -> None:
        if console.width < NARROW:
            for line in initializer_lines(rows):
                say(console, line)
        else:
            console.print(initializer_table(rows))
        console.print()
        console.print(group_table(groups, record["total"]))

    emit("inspect", record, as_json=as_json, show=show)


def _row(row: "CensusRow") -> dict[str, Any]:
    initializer = asdict(row.initializer)
    del initializer["position"]
    counts = None if row.counts is None else asdict(row.counts)
    return {**initializer, "role": str(row.initializer.role), "elements": row.initializer.elements, "counts": counts}
