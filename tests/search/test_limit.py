"""What looking at the same images again and again does to a search, on a population whose truth is known."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from precbench.accuracy import Flips
from precbench.search.limit import LEVEL, Limit

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import search_errors

    yield search_errors
    for name in ("search_errors", "laboratory"):
        del sys.modules[name]


def test_a_search_finds_a_plan_that_loses_too_much_no_more_often_than_one_look_would(script: Any) -> None:
    found = script.outcomes(script.Sizes(images=20_000), populations=8, searches=25, level=LEVEL)
    assert len(found) > 185
    assert np.mean([one.looks for one in found]) > 10
    assert np.mean([one.loss for one in found]) > 0.3 * script.LIMIT  # the limit is made use of
    assert sum(one.loss > script.LIMIT for one in found) <= 11  # 5 are allowed, and nearly three standard errors


def test_a_level_of_several_paths_is_stricter() -> None:
    flips = Flips(
        gained=20, lost=40, changed=70, total=4000, reference_correct=3800, p_value=0.01,
        low_points=-0.9, high_points=-0.1, level=0.95,
    )  # fmt: skip
    alone = Limit(points=1.0)
    five = alone.as_one_of(5)
    assert five.level == pytest.approx(0.99)
    assert alone.shown_points(flips) < five.shown_points(flips) < alone.as_one_of(30).shown_points(flips)
    assert alone.allows(flips)
    assert not alone.as_one_of(100).allows(flips)
