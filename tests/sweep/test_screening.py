"""Screening answers what the exact path would, from fewer images."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.sweep.conftest import SETTINGS, changed, parsed

from precbench.accuracy import Answer, top_classes
from precbench.errors import DataError, UsageError
from precbench.graph import OnnxModel, Plan
from precbench.sweep import Batches, Screened, Variant, evaluations, rounded_variant, run_plain, screen
from precbench.sweep.screening import _Base, _blocks

IMAGES, MARGIN_POINTS = 240, 5.0
CERTAIN = 1e-12
"""A chance of a wrong answer that no bet reaches on so few images: the answer comes when none is left to change it."""


class Rows:
    """Standard normal images; it counts how often each was asked for."""

    def __init__(self) -> None:
        self.images = np.random.default_rng(7).normal(size=(IMAGES, 3, 12, 12)).astype(np.float32)
        self.asked = np.zeros(IMAGES, np.int64)

    def make(self, rows: NDArray[np.intp]) -> Mapping[str, NDArray[Any]]:
        self.asked[rows] += 1
        return {"x": self.images[rows]}

    def classes(self, model: OnnxModel, variant: Variant) -> NDArray[np.int64]:
        batches = Batches(rows=IMAGES, size=32, make=lambda start, stop: {"x": self.images[start:stop]})
        return top_classes(run_plain(model, variant, batches, SETTINGS)["y"])


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def labels(network: OnnxModel, rows: Rows) -> NDArray[np.int64]:
    """The base has most of them right."""
    classes = rows.classes(network, Variant(name="base", values=dict))
    return np.where(np.arange(IMAGES) % 7 == 0, (classes + 1) % 5, classes)


def rounded(network: OnnxModel) -> list[Variant]:
    return [
        rounded_variant(f"{name} {number}", network, Plan.of_decimals({f"{name}/kernel": number}))
        for name in ("stem", "one/expand", "two/depth", "head")
        for number in (0, 1, 4)
    ]


def screened(
    network: OnnxModel, variants: list[Variant], labels: NDArray[Any], rows: Rows, **more: Any
) -> dict[str, Screened]:
    options = {"margin_points": MARGIN_POINTS, "workers": 1, "batch": 16} | more
    return {one.variant: one for one in screen(network, variants, labels, rows.make, SETTINGS, **options)}


@pytest.mark.parametrize("seed", [0, 1])
def test_where_no_error_is_allowed_the_answers_are_the_exact_ones(
    network: OnnxModel, rows: Rows, labels: NDArray[np.int64], seed: int
) -> None:
    variants = rounded(network)
    found = screened(network, variants, labels, rows, alpha=CERTAIN, seed=seed)
    right = rows.classes(network, Variant(name="base", values=dict)) == labels
    answers = set()
    for variant in variants:
        loss = int(right.sum()) - int((rows.classes(network, variant) == labels).sum())
        expected = Answer.HOLDS if loss <= MARGIN_POINTS * IMAGES / 100 else Answer.DOES_NOT_HOLD
        assert found[variant.name].answer is expected
        answers.add(expected)
    assert answers == {Answer.HOLDS, Answer.DOES_NOT_HOLD}


def test_a_variant_runs_on_no_more_blocks_than_its_answer_takes(
    network: OnnxModel, rows: Rows, labels: NDArray[np.int64]
) -> None:
    variants = rounded(network)
    found = screened(network, variants, labels, rows)
    assert all(one.seen <= one.evaluated <= IMAGES for one in found.values())
    assert all(one.evaluated - one.seen < found["head 4"].evaluated for one in found.values())
    unflipped = found["head 4"]
    assert (unflipped.gained, unflipped.lost, unflipped.answer) == (0, 0, Answer.HOLDS)
    assert unflipped.evaluated < IMAGES
    assert evaluations([*found.values()]) == sum(f.evaluated for f in found.values()) + IMAGES
    assert {one.base_evaluated for one in found.values() if one.evaluated > unflipped.evaluated} == {IMAGES}
    assert rows.asked.min() >= 1  # by the base


def test_where_every_answer_comes_at_once_the_base_runs_on_no_more_than_the_variants(
    network: OnnxModel, rows: Rows, labels: NDArray[np.int64]
) -> None:
    found = screened(network, [Variant(name="same", values=dict)], labels, rows)
    assert found["same"].evaluated == found["same"].base_evaluated == (rows.asked > 0).sum() < IMAGES
    assert evaluations([*found.values()]) == 2 * found["same"].evaluated


def test_the_tenth_that_the_base_is_in_doubt_about_is_chosen_after_the_first_block() -> None:
    leads = np.random.default_rng(1).permutation(100) / 100
    scores = np.stack([np.full(100, 3.0), 3.0 - leads, np.zeros(100)], axis=1)
    scores[7] = np.nan  # of no highest score: the greatest doubt
    asked = list[int]()

    def run(variants: Sequence[Variant], rows: NDArray[np.intp]) -> Iterator[tuple[str, NDArray[Any]]]:
        asked.extend(rows.tolist())
        yield variants[0].name, scores[rows]

    order = np.random.default_rng(2).permutation(100)
    (drawn, first), (chosen, second), *rest = _blocks(order, 30, 8, _Base(np.zeros(100, np.int64), run))
    assert (first, second, [was_chosen for _, was_chosen in rest]) == (False, True, [False] * len(rest))
    leads[7] = -1
    assert drawn.tolist() == order[:30].tolist()
    assert set(chosen.tolist()) == set(np.argsort(leads)[:10].tolist()) - set(drawn.tolist())
    assert np.concatenate([drawn, chosen, *(block for block, _ in rest)]).tolist() == [
        *drawn, *chosen, *(row for row in order if row not in drawn and row not in chosen)
    ]  # fmt: skip
    assert sorted(asked) == list(range(100))


def test_one_seed_one_order(network: OnnxModel, rows: Rows, labels: NDArray[np.int64]) -> None:
    variants = rounded(network)
    first = screened(network, variants, labels, rows, seed=3)
    assert screened(network, variants, labels, rows, seed=3, workers=2) == first
    assert screened(network, variants, labels, rows, seed=4) != first


def test_scores_without_a_highest_are_wrong(network: OnnxModel, rows: Rows, labels: NDArray[np.int64]) -> None:
    broken = changed(network, "head/bias", to=lambda values: np.full_like(values, np.nan))
    found = screened(network, [broken], labels, rows, alpha=CERTAIN)
    assert found["head/bias"].answer is Answer.DOES_NOT_HOLD
    assert found["head/bias"].gained == 0


def test_the_base_and_its_twin_hold(network: OnnxModel, rows: Rows, labels: NDArray[np.int64]) -> None:
    same = [Variant(name=name, values=dict) for name in ("one", "other")]
    found = screened(network, same, labels, rows)
    assert [*found] == ["one", "other"]
    assert {one.answer for one in found.values()} == {Answer.HOLDS}


def test_what_it_refuses(network: OnnxModel, rows: Rows, labels: NDArray[np.int64]) -> None:
    variants = rounded(network)
    with pytest.raises(UsageError, match="margin"):
        screened(network, variants, labels, rows, margin_points=0.0)
    with pytest.raises(UsageError, match="two variants have the name"):
        screened(network, [*variants, variants[0]], labels, rows)
    with pytest.raises(DataError, match="not integers"):
        screened(network, variants, labels.astype(np.float32), rows)
    assert screened(network, [], labels, rows) == {}


def test_two_outputs_are_no_scores(rows: Rows) -> None:
    model = parsed(
        "g (float[n, 3, 12, 12] x) => (float[n, 3, 12, 12] y, float[n, 3, 12, 12] z) <float a = {2}> "
        "{ y = Mul(x, a) z = Add(x, a) }"
    )
    with pytest.raises(DataError, match="2 outputs"):
        screened(model, [changed(model, "a")], np.zeros(IMAGES, np.int64), rows)
