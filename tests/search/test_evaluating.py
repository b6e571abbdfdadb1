"""The evaluator on a small network, really run: what it measures, what it remembers, what it may spend."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import parser

from precbench.errors import ModelError
from precbench.graph import OnnxModel
from precbench.grids import DecimalGrid
from precbench.runtime import SessionSettings
from precbench.search.evaluating import SHIFT_SAMPLES, Budget, ModelEvaluator, Part
from precbench.search.journal import SearchJournal

LAYERS = {"first": ["w1"], "second": ["w2"]}
RNG = np.random.default_rng(0)
WEIGHTS = {"w1": RNG.normal(0, 0.1, (8, 12)), "w2": RNG.normal(0, 0.1, (12, 3))}
X = RNG.normal(size=(2000, 8)).astype(np.float32)


def network(line: str = "y = MatMul(b, w2)") -> OnnxModel:
    graph = f"""<ir_version: 10, opset_import: ["" : 17]>
        g (float[n, 8] x) => (float[n, 3] y) {{ a = MatMul(x, w1) b = Relu(a) {line} }}"""
    proto = parser.parse_model(graph)
    for name, values in WEIGHTS.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
    return OnnxModel(proto=proto, folder=Path("nowhere"))


class Seen:
    """Which rows were asked for."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def part(self, first: int, stop: int, labels: NDArray[np.int64] | None = None) -> Part:
        def make(rows: NDArray[np.intp]) -> Mapping[str, NDArray[Any]]:
            self.rows += map(int, rows)
            return {"x": X[first:stop][rows]}

        return Part(rows=stop - first, make=make, labels=labels)


def evaluator(
    folder: Path, model: OnnxModel | None = None, seen: Seen | None = None, budget: Budget | None = None
) -> ModelEvaluator:
    labels = (np.maximum(X[1200:] @ WEIGHTS["w1"], 0) @ WEIGHTS["w2"]).argmax(1)
    return ModelEvaluator(
        model or network(), LAYERS, [DecimalGrid(0), DecimalGrid(1), DecimalGrid(4)],
        calibration=(seen or Seen()).part(0, 1200), validation=Seen().part(1200, 2000, labels),
        settings=SessionSettings(), batch=64, budget=budget or Budget(), journal=SearchJournal(folder / "j", "x"),
    )  # fmt: skip


def test_each_round_measures_on_other_samples(tmp_path: Path) -> None:
    seen = Seen()
    model = evaluator(tmp_path, seen=seen)
    model.shifts(None, [[1], [1]])
    first = set(seen.rows)
    seen.rows.clear()
    model.shifts((1, 1), [[2], [2]])
    assert len(first) == SHIFT_SAMPLES
    assert not first & set(seen.rows)
    seen.rows.clear()
    model.shifts((1, 2), [[2], [1]])  # there are 1,200: the third time from the first again where they end
    assert len(set(seen.rows)) == SHIFT_SAMPLES
    assert first & set(seen.rows)


def test_shifts_are_relative_to_what_they_were_measured_around(tmp_path: Path) -> None:
    model = evaluator(tmp_path)
    found = model.shifts((2, 2), [[1], [1, 0]])
    assert np.square(found.around).mean() < 0.01  # nearly full precision
    assert (found.options[[0, 1], [2, 2]] == 0).all()
    assert np.isnan(found.options[0, 0]).all()
    sizes = [float(np.square(found.options[layer, place]).mean()) for layer, place in ((0, 1), (1, 1), (1, 0))]
    assert 0 < sizes[1] < sizes[2]
    assert (found.options[1, 1] > 0).any()
    assert (found.options[1, 1] < 0).any()


def test_a_pass_that_is_cut_off_goes_on_with_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whole").mkdir()
    whole = evaluator(tmp_path / "whole").shifts(None, [[0, 1], [0, 1]])
    cut = evaluator(tmp_path)
    put, count = cut._journal.put, 0

    def stop(key: Any, facts: Mapping[str, Any]) -> None:
        nonlocal count
        count += 1
        if count > 3:
            raise KeyboardInterrupt
        put(key, facts)

    monkeypatch.setattr(cut._journal, "put", stop)
    with pytest.raises(KeyboardInterrupt):
        cut.shifts(None, [[0, 1], [0, 1]])
    again = evaluator(tmp_path)
    before = again._journal.facts()
    assert len(before) == 3
    found = again.shifts(None, [[0, 1], [0, 1]])
    assert again._journal.facts()[:3] == before
    assert np.array_equal(found.options, whole.options, equal_nan=True)


def test_trials_of_earlier_sittings_are_known(tmp_path: Path) -> None:
    assert evaluator(tmp_path).known() == []
    flips = evaluator(tmp_path).trial((1, 2))
    assert evaluator(tmp_path).known() == [((1, 2), flips)]


def test_seconds_and_evaluations_are_kept(tmp_path: Path) -> None:
    timed = evaluator(tmp_path, budget=Budget(seconds=1e-9))
    assert timed.enough_for(trials=1, variants=0)  # what nothing is known of yet
    timed.trial((2, 2))
    assert not timed.enough_for(trials=1, variants=0)
    assert not timed.enough_for(trials=0, variants=1)
    counted = evaluator(tmp_path, budget=Budget(evaluations=1600))
    assert counted.enough_for(trials=1, variants=0)
    assert not counted.enough_for(trials=2, variants=0)
    counted.trial((2, 2))
    assert counted.evaluations == 1600
    assert not counted.enough_for(trials=1, variants=0)


def test_scores_that_are_no_numbers_lose_the_image_and_those_of_full_precision_are_refused(tmp_path: Path) -> None:
    divided = "c = MatMul(b, w2) d = Abs(w2) s = ReduceSum<keepdims=1>(d) y = Div(c, s)"
    flips = evaluator(tmp_path, network(divided)).trial((2, 0))  # at 0 decimals all are zeros: 0 / 0
    assert (flips.lost, flips.changed, flips.reference_correct) == (800, 800, 800)
    (tmp_path / "other").mkdir()
    small = network("c = Sub(b, b) d = Div(c, c) e = MatMul(d, w2) y = Sub(e, e)")
    with pytest.raises(ModelError, match=r"scores are not finite on 512 of 512 images"):
        evaluator(tmp_path / "other", small).shifts(None, [[1], [1]])
