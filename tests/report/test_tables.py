"""Tables of the commands, at sizes that the small models do not have."""

import io
from typing import Any

from rich.console import Console
from rich.table import Table

from precbench.report.tables import class_table, confusion_table, fidelity_table, initializer_table, outcome_table


def drawn(table: Table) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(table)
    return out.getvalue()


def evaluation(classes: int) -> dict[str, Any]:
    matrix = [[0] * classes for _ in range(classes)]
    for i in range(classes):
        matrix[i][i] = 9
    matrix[3][1] = 7
    scores = [
        {"index": i, "images": sum(matrix[i]), "correct": 9, "recall": 9 / sum(matrix[i]), "precision": None}
        for i in range(classes)
    ]
    return {"class_names": [f"class-{i}" for i in range(classes)], "confusion": matrix, "per_class": scores}


def test_ten_classes_are_shown_in_full() -> None:
    assert len(drawn(class_table(evaluation(10))).splitlines()) == 11
    assert len(drawn(confusion_table(evaluation(10))).splitlines()) == 11


def test_of_a_thousand_classes_the_worst_and_the_largest_confusions_are_shown() -> None:
    classes, confusions = drawn(class_table(evaluation(1000))), drawn(confusion_table(evaluation(1000)))
    assert len(classes.splitlines()) == 21
    assert "20 lowest in recall" in classes
    assert "class-3" in classes.splitlines()[1]
    assert confusions.splitlines()[1].split() == ["class-3", "class-1", "7"]


def test_class_names_are_never_read_as_markup() -> None:
    marked = evaluation(4)
    marked["class_names"][0] = "[bold]x[/bold]"
    assert "[bold]x[/bold]" in drawn(class_table(marked))
    assert drawn(confusion_table(marked)).count("[bold]x[/bold]") == 2


def test_figures_without_meaning_are_dashes() -> None:
    close = {"elements": 4, "sqnr_db": None, "max_abs_error": None, "cosine": None, "top1_agreement": None}
    assert drawn(fidelity_table({"y": close})).splitlines()[1].split() == ["y", "4", "-", "-", "-", "-"]
    row = {
        "name": "s",
        "layer": "l",
        "group": None,
        "role": "other",
        "dtype": "STRING",
        "shape": [],
        "elements": 1,
        "counts": None,
    }
    assert "scalar" in drawn(initializer_table([row]))


def test_outcomes_without_groups_are_listed_by_initializer() -> None:
    outcome = {
        "initializer": "w",
        "layer": "l",
        "group": None,
        "grid": "decimal:3",
        "skipped": None,
        "elements": 5,
        "changed": 4,
    }
    skipped = outcome | {"initializer": "b", "grid": None, "skipped": "not targeted"}
    assert [line.split()[0] for line in drawn(outcome_table([outcome, skipped])).splitlines()] == ["initializer", "w"]
