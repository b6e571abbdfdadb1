"""Tables of the single commands: initializers, outcomes of rounding, accuracy."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from precbench.errors import printable
from precbench.report.figures import count, counted, number, percent


def plain_table(*headers: str, left: int = 1) -> Table:
    """A plain table: the first `left` columns to the left, numbers to the right."""
    table = Table(padding=(0, 1), collapse_padding=True, pad_edge=False, box=None, header_style="bold")
    for index, header in enumerate(headers):
        table.add_column(Text(printable(header)), justify="left" if index < left else "right", overflow="fold")
    return table


def add_row(table: Table, *cells: str) -> None:
    """Add a row as plain text: names from model files are never read as markup."""
    table.add_row(*(Text(printable(cell)) for cell in cells))


_COUNT_HEADERS = ("elements", "min", "max", "distinct", "zeros", "subn.", "non-fin.", "dec.")


def initializer_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One row per initializer."""
    table = plain_table("initializer", "layer", "group", "role", "type", "shape", *_COUNT_HEADERS, left=6)
    for row in rows:
        names = (row["name"], row["layer"], row["group"] or "-", row["role"], row["dtype"].lower(), _shape(row))
        add_row(table, *names, *_counts(row["counts"] or {"elements": row["elements"]}))
    return table


NARROW = 140
"""Columns below which the wide table of initializers would break its numbers."""


def initializer_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Two lines per initializer, for narrow terminals: what it is, and its numbers in columns."""
    widths = (10, 13, 12, 10, 10, 8, 9, 6)
    lines = ["".join(f"{header:>{width}}" for header, width in zip(_COUNT_HEADERS, widths, strict=True))]
    for row in rows:
        what = f"{row['name']}  ({row['role']}, {row['dtype'].lower()} {_shape(row)}, layer {row['layer']}"
        lines.append(f"{what}, group {row['group']})" if row["group"] else f"{what})")
        counts = _counts(row["counts"] or {"elements": row["elements"]})
        lines.append("".join(f"{cell:>{width}}" for cell, width in zip(counts, widths, strict=True)))
    return [printable_columns(line) for line in lines]


def printable_columns(line: str) -> str:
    """Keep a line's alignment, and nothing in it that steers a terminal."""
    return line if line.isprintable() else printable(line)


def _shape(row: Mapping[str, Any]) -> str:
    return "x".join(str(n) for n in row["shape"]) or "scalar"


def group_table(groups: Mapping[str, Mapping[str, Any]], total: Mapping[str, Any]) -> Table:
    """One row per group of layers, and the total, over floating-point initializers."""
    table = plain_table("group", *_COUNT_HEADERS)
    for name, counts in [*groups.items(), ("total", total)]:
        add_row(table, "no group" if name == "-" else name, *_counts(counts))
    return table


def _counts(counts: Mapping[str, Any]) -> list[str]:
    if counts.get("distinct") is None:
        return [count(counts["elements"]), *["-"] * 7]
    decimals = counts["decimals_needed"]
    return [
        count(counts["elements"]),
        number(counts["minimum"]),
        number(counts["maximum"]),
        *(count(counts[key]) for key in ("distinct", "zeros", "subnormals", "non_finite")),
        "> 12" if decimals is None else str(decimals),
    ]


def outcome_table(outcomes: Sequence[Mapping[str, Any]]) -> Table:
    """One row per group (or layer, where there are no groups) of rounded initializers."""
    rounded = [o for o in outcomes if o["skipped"] is None]
    by_group = any(o["group"] for o in rounded)
    totals: dict[tuple[str, str], list[int]] = {}
    for outcome in rounded:
        name = (outcome["group"] or "no group") if by_group else outcome["initializer"]
        sums = totals.setdefault((name, outcome["grid"]), [0, 0, 0])
        for index, amount in enumerate((1, outcome["elements"], outcome["changed"])):
            sums[index] += amount
    table = plain_table("group" if by_group else "initializer", "grid", "initializers", "elements", "changed")
    for (name, grid), sums in totals.items():
        add_row(table, name, grid_name(grid), *(count(amount) for amount in sums))
    return table


def grid_name(grid: str) -> str:
    """`decimal:2` -> 2 decimals."""
    family, _, number = grid.partition(":")
    return counted(int(number), "decimal") if family == "decimal" else grid


MOST_CLASSES = 20
"""With more, the tables show the classes and the confusions that matter most; the JSON record has all."""


def class_table(evaluation: Mapping[str, Any]) -> Table:
    """One row per class: images, recall, precision; of many classes those with the lowest recall."""
    scores = evaluation["per_class"]
    if len(scores) > MOST_CLASSES:
        with_images = [score for score in scores if score["images"]]
        scores = sorted(with_images, key=lambda score: score["recall"])[:MOST_CLASSES]
    title = "class" if len(scores) == len(evaluation["per_class"]) else f"class ({len(scores)} lowest in recall)"
    table = plain_table(title, "images", "right", "recall", "precision")
    for score in scores:
        shares = (percent(value) if value is not None else "-" for value in (score["recall"], score["precision"]))
        name = evaluation["class_names"][score["index"]]
        add_row(table, name, count(score["images"]), count(score["correct"]), *shares)
    return table


def confusion_table(evaluation: Mapping[str, Any]) -> Table:
    """The confusion matrix, rows the true classes, columns the predicted ones; of many classes the largest entries."""
    names = evaluation["class_names"]
    if len(names) > MOST_CLASSES:
        return _largest_confusions(names, evaluation["confusion"])
    table = plain_table(r"true \ predicted", *names)
    for name, row in zip(names, evaluation["confusion"], strict=True):
        add_row(table, name, *(count(n) if n else "." for n in row))
    return table


def _largest_confusions(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> Table:
    entries = [(n, i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) if n and i != j]
    table = plain_table("true class", "predicted class", "images", left=2)
    for n, true, predicted in sorted(entries, reverse=True)[:MOST_CLASSES]:
        add_row(table, names[true], names[predicted], count(n))
    return table


def screening_table(layers: Sequence[Mapping[str, Any]]) -> Table:
    """One row per layer, one column per grid: whether it holds, and how many images that took."""
    grids = list(dict.fromkeys(one["grid"] for one in layers))
    found = {(one["layer"], one["grid"]): one for one in layers}
    table = plain_table("layer", *map(grid_name, grids))
    for layer in dict.fromkeys(one["layer"] for one in layers):
        add_row(table, layer, *(_screened(found[layer, grid]) for grid in grids))
    return table


def _screened(one: Mapping[str, Any]) -> str:
    word = {"holds": "holds", "does not hold": "does not"}[one["answer"]]
    return f"{word} {count(one['seen'])}"


def fidelity_table(outputs: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row per output: how close it is to the reference's."""
    table = plain_table("output", "elements", "SQNR dB", "largest error", "cosine", "top-1 agreement")
    for name, close in outputs.items():
        sqnr, agreement = close["sqnr_db"], close["top1_agreement"]
        add_row(
            table,
            name,
            count(close["elements"]),
            sqnr if isinstance(sqnr, str) else ("-" if sqnr is None else f"{sqnr:.2f}"),
            number(close["max_abs_error"]),
            "-" if close["cosine"] is None else f"{close['cosine']:.9f}",
            "-" if agreement is None else percent(agreement),
        )
    return table
