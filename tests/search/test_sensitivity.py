"""A layer that is left behind and comes into doubt again sees the same images as the others: pairs stay pairs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from precbench.grids import DecimalGrid
from precbench.search import sensitivity
from precbench.search.evaluating import Part
from precbench.search.sensitivity import rank_layers

IMAGES = 64


def test_every_layer_has_seen_the_first_images_of_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[int]] = {}
    doubts = iter([["a", "b"], ["a", "b", "c"], ["b"]])

    class Told(sensitivity._Race):
        def run(self, rows: NDArray[np.intp], asked: Sequence[tuple[str, int]]) -> None:
            for layer, _ in asked:
                seen.setdefault(layer, []).extend(rows.tolist())
                scores = np.tile([0.7, 0.3], (len(rows), 1))
                self._found.setdefault((layer, 0), []).append(sensitivity._Block.of(scores, scores, None))

        def open(self, _top: int) -> list[str]:
            return next(doubts)

    monkeypatch.setattr(sensitivity, "_Race", Told)
    part = Part(rows=IMAGES, make=lambda _rows: {})
    nothing: Any = None
    rank_layers(
        nothing,
        {"a": [], "b": [], "c": [], "d": []},
        [DecimalGrid(1)],
        part,
        settings=nothing,
        batch=1,
        first=8,
        seed=3,
    )
    order = np.random.default_rng(3).permutation(IMAGES).tolist()
    assert {layer: len(rows) for layer, rows in seen.items()} == {"a": 32, "b": 64, "c": 32, "d": 8}
    for rows in seen.values():
        assert rows == order[: len(rows)]
