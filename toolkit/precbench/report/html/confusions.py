"""Panels of a variant: its confusions beside full precision's, its classes, the images that flipped."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.accuracy import confusion_matrix
from precbench.report.html.gallery import flipped_pictures
from precbench.report.html.material import RunMaterial
from precbench.report.html.view import Cell, Panel, Picture, Section, Sheet, amount, plain

MOST_CLASSES = 30
_MOST_LINES = 40
_MOST_PANELS = 16
Matrix = NDArray[np.int64]
Classes = NDArray[np.int64]


def confusions_section(run: RunMaterial) -> Section:
    """Return a panel for full precision and one for each variant worth a look, the coarsest first.

    All numbers of decimals of all groups together, and of each other experiment the winner and the one that loses most.
    """
    if run.labels is None or run.base_classes is None:
        return Section(anchor="confusions", title="Confusions")
    wanted = _chosen(run)
    left = len(wanted) - _MOST_PANELS
    cut = f" The last {left} of these are left out." if left > 0 else ""
    said = (
        "To choose from: every number of decimals with all groups together, and of each other experiment the winner "
        f"and the variant that loses most.{cut} The tables above have every variant."
    )
    made = _panels(run, run.labels, run.base_classes, wanted[:_MOST_PANELS])
    return Section(anchor="confusions", title="Confusions", paragraphs=[said], panels=made)


def _panels(run: RunMaterial, labels: Classes, base_classes: Classes, wanted: Sequence[tuple[str, Any]]) -> list[Panel]:
    names = [str(name) for name in run.results["base"]["class_names"]]
    chosen = [(label, row, run.classes_of(label, row["name"])) for label, row in wanted]
    said = [labels, base_classes, *(found for _, _, found in chosen if found is not None)]
    classes = max(len(names), *(int(one.max()) + 1 for one in said))
    names += [f"class {number}" for number in range(len(names), classes)]
    base = confusion_matrix(labels, base_classes, classes)
    made = [_named("full precision", [*_matrix("full precision", names, base), _classes(names, base, base)])]
    for experiment, row, predicted in chosen:
        if predicted is not None:
            made.append(_panel(run, f"{experiment}: {row['name']}", names, base, predicted))
    return made


def _chosen(run: RunMaterial) -> list[tuple[str, Any]]:
    """Experiment and row of the variants that get a panel."""
    found: list[tuple[str, Any]] = []
    for one in run.results["experiments"]:
        rows = [row for row in one["rows"] if row["flips"] is not None]
        if one["targets"] == "all":
            found += [(one["name"], row) for row in rows]
            continue
        wanted = [row for row in rows if row["name"] == run.results["winners"].get(one["name"])]
        wanted += sorted(rows, key=lambda row: row["flips"]["difference_points"])[:1]
        found += [
            (one["name"], row) for row in dict(zip((row["name"] for row in wanted), wanted, strict=True)).values()
        ]
    return found


def _panel(run: RunMaterial, name: str, names: Sequence[str], base: Matrix, predicted: NDArray[np.int64]) -> Panel:
    labels, before = run.labels, run.base_classes
    assert labels is not None
    assert before is not None
    classes = len(names)
    matrix = confusion_matrix(labels, predicted, classes)
    pictures, note = flipped_pictures(run.images, labels, before, predicted, names)
    sheets = [*_matrix(name, names, matrix), *_difference(name, names, matrix - base), _classes(names, matrix, base)]
    return _named(name, sheets, pictures, note)


def _named(name: str, sheets: Sequence[Sheet], pictures: Sequence[Picture] = (), note: str = "") -> Panel:
    """A panel whose tables are saved under its own name."""
    ending = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")
    own = [replace(sheet, name=f"{sheet.name}-{ending}") for sheet in sheets]
    return Panel(name=name, sheets=own, pictures=pictures, note=note)


def _matrix(title: str, names: Sequence[str], matrix: Matrix) -> list[Sheet]:
    if len(names) > MOST_CLASSES:
        return [_largest(f"{title}: the most frequent confusions", names, matrix)]
    whole = f"{title}: confusion matrix, rows the true classes, columns the predicted ones"
    return [_grid("confusion", whole, names, matrix, _counted)]


def _difference(title: str, names: Sequence[str], change: Matrix) -> list[Sheet]:
    if not change.any():
        return []
    if len(names) > MOST_CLASSES:
        return [_largest(f"{title} less full precision: the largest changes", names, change)]
    return [_grid("confusion-difference", f"{title} less full precision, images", names, change, _changed)]


def _grid(name: str, title: str, names: Sequence[str], matrix: Matrix, cell: Callable[[int, bool], Cell]) -> Sheet:
    """A row per true class, a column per predicted one; `cell` is told the number, and whether they are the same."""
    rows = [
        [plain(true), *(cell(int(n), i == j) for j, n in enumerate(row))]
        for i, (true, row) in enumerate(zip(names, matrix, strict=True))
    ]
    return Sheet(name=name, title=title, columns=["true \\ predicted", *names], rows=rows, numbers=len(names))


def _counted(n: int, right: bool) -> Cell:
    return Cell(text=f"{n:,}" if n else "·", value=n, tone="good" if right and n else "")


def _largest(title: str, names: Sequence[str], matrix: Matrix) -> Sheet:
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-np.abs(off), axis=None)[:_MOST_LINES]
    pairs = [np.unravel_index(index, off.shape) for index in order if off.flat[index]]
    pattern = "{:+,}" if (off < 0).any() else "{:,}"
    return Sheet(
        name="confusions",
        title=title,
        columns=["true class", "predicted class", "images"],
        rows=[[plain(names[i]), plain(names[j]), amount(int(off[i, j]), pattern)] for i, j in pairs],
        numbers=1,
    )


def _changed(n: int, good: bool) -> Cell:
    if not n:
        return Cell(text="·", value=0)
    return Cell(text=f"{n:+d}", value=n, tone="good" if (n > 0) == good else "bad")


def _classes(names: Sequence[str], matrix: Matrix, base: Matrix) -> Sheet:
    totals = matrix.sum(axis=1)
    rows = [
        [
            plain(name),
            amount(int(total)),
            amount(int(right)),
            amount(100 * right / total if total else None, "{:.2f}"),
            amount(100 * (right - before) / total if total else None, "{:+.2f}", tone="bad" if right < before else ""),
        ]
        for name, total, right, before in zip(names, totals, matrix.diagonal(), base.diagonal(), strict=True)
    ]
    return Sheet(
        name="classes",
        title="By class",
        columns=["class", "images", "right", "recall, %", "change, points"],
        rows=rows,
        numbers=4,
    )
