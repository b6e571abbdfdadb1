"""From predictions to rows, winners and the record."""

import numpy as np
import pytest

from precbench.graph import Plan
from precbench.study.definition import AccuracySection
from precbench.study.experiments import Point
from precbench.study.journal import PointState, Predictions, State
from precbench.study.results import Row, base_json, rows_of, winner

IMAGES = 4000
LABELS = np.arange(IMAGES, dtype=np.int64) % 4
BASE = np.where(np.arange(IMAGES) < 400, (LABELS + 1) % 4, LABELS)  # 90 % right


def point(name: str, **decimals: int) -> Point:
    return Point(experiment="e", name=name, parts=decimals or {"all": 4}, plan=Plan.of_decimals(decimals or {"w": 4}))


def with_lost(count: int) -> np.ndarray:
    """Predictions in which so many images that were right are wrong."""
    classes = BASE.copy()
    classes[400 : 400 + count] = (classes[400 : 400 + count] + 1) % 4
    return classes


def rows(lost: dict[str, int | None], **margin: float) -> list[Row]:
    points = [point(name) for name in lost]
    states = {
        p.name: PointState(
            experiment="e",
            name=p.name,
            key=p.name,
            state=State.DONE if lost[p.name] is not None else State.FAILED,
            detail="" if lost[p.name] is not None else "its scores are NaN",
        )
        for p in points
    }
    found = {
        name: Predictions(classes=with_lost(count), facts={"elements": 9, "changed": 3})
        for name, count in lost.items()
        if count is not None
    }
    return rows_of(points, states, found.get, base=BASE, labels=LABELS, accuracy=AccuracySection(**margin))


def test_a_row_has_its_flips_and_what_they_show() -> None:
    same, much = rows({"same": 0, "much": 300})
    assert same.flips is not None
    assert (same.flips.gained, same.flips.lost, same.flips.total) == (0, 0, IMAGES)
    assert same.keeps
    record = much.to_json()
    assert (record["flips"]["lost"], record["decision"]["change"]) == (300, "loss")
    assert (record["elements"], record["changed"], record["decimals"]) == (9, 3, 4)
    assert not much.keeps


def test_the_words_are_corrected_for_those_that_are_done_alone() -> None:
    alone = rows({"few": 8})[0].decision
    among = rows({"few": 8, **{f"other {n}": 0 for n in range(40)}})[0].decision
    with_failed = rows({"few": 8, **{f"failed {n}": None for n in range(40)}})[0].decision
    assert alone is not None
    assert among is not None
    assert with_failed == alone
    assert among.p_difference_holm > alone.p_difference_holm


def test_a_failed_point_says_why_and_has_no_figures() -> None:
    _, failed = rows({"fine": 0, "broken": None})
    record = failed.to_json()
    assert (record["state"], record["detail"]) == ("failed", "its scores are NaN")
    assert record["flips"] is None
    assert record["decision"] is None
    assert not failed.keeps


def test_the_winner_has_the_fewest_decimals_of_those_without_loss() -> None:
    found = rows({"a": 0, "b": 0, "c": 900})
    elements = {"big": 1000, "small": 10}
    plans = [{"big": 3, "small": 9}, {"big": 4}, {"big": 1, "small": 1}]
    for row, plan in zip(found, plans, strict=True):
        object.__setattr__(row.point, "plan", Plan.of_decimals(plan))
    best = winner(found, elements)
    assert best is not None
    assert best.point.name == "a"


def test_without_a_row_that_keeps_there_is_no_winner() -> None:
    assert winner(rows({"a": 900, "b": None}), {"w": 1}) is None
    assert winner([], {"w": 1}) is None


def test_full_precision_has_its_accuracy_and_confusion() -> None:
    record = base_json(BASE, LABELS, ("a", "b", "c", "d"))
    assert record["accuracy"]["fraction"] == pytest.approx(0.9)
    assert np.sum(record["confusion"]) == IMAGES
    assert np.trace(record["confusion"]) == 3600
    assert len(base_json(BASE + 1, LABELS, ("a", "b", "c", "d"))["confusion"]) == 5
