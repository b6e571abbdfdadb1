"""Points are evaluated once, recorded as they end, and one that computes nothing does not stop the others."""

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from precbench.datasets import Dataset, Preprocessing
from precbench.errors import ModelError
from precbench.graph import ModelMetadata, OnnxModel, Plan, load_model, write_metadata
from precbench.study import points as module
from precbench.study.definition import DataSection
from precbench.study.experiments import Point
from precbench.study.journal import Journal, Predictions, State
from precbench.study.points import BASE, EvaluationSet, evaluate_points, labels_key, point_key

SIZE = 4
WEIGHT = 0.3  # 0 at no decimals, and 0 / 0 is no number
GRAPH = """<ir_version: 10, opset_import: ["" : 17]>
g (float[n, 4, 4, 3] x) => (float[n, 3] y) {
  flat = Flatten(x)
  product = MatMul(flat, kernel)
  one = Div(scale, scale)
  y = Mul(product, one)
}"""


def write_network(path: Path, *, scale: float = WEIGHT) -> Path:
    proto = onnx.parser.parse_model(GRAPH)
    kernel = np.random.default_rng(1).normal(size=(SIZE * SIZE * 3, 3)).astype(np.float32)
    arrays = {"kernel": kernel, "scale": np.full(3, scale, np.float32)}
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    preprocessing = Preprocessing.for_mode("tf", SIZE).to_json()
    write_metadata(
        proto,
        ModelMetadata(versions={}, source={}, preprocessing=preprocessing, class_names=(), groups={}, initializers={}),
    )
    onnx.save(proto, path)
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_network(tmp_path / "base.onnx")


@pytest.fixture
def model(base: Path) -> OnnxModel:
    return load_model(base)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    (tmp_path / "run").mkdir()
    return Journal(tmp_path / "run", study={"name": "a-study"})


def tiny_set(base: Path, *, seed: int = 2) -> EvaluationSet:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (50, SIZE, SIZE, 3), np.uint8)
    part = Dataset(name="tiny", images=images, labels=rng.integers(0, 3, 50), class_names=("a", "b", "c"))
    return EvaluationSet.of(part, DataSection(source="digits", seed=seed), base)


def point(name: str, **decimals: int) -> Point:
    return Point(experiment="mine", name=name, parts=decimals, plan=Plan.of_decimals(decimals))


def recorded(journal: Journal, test: EvaluationSet, plan: Plan) -> Predictions:
    found = journal.predictions(point_key(test, plan))
    assert found is not None
    return found


def test_each_point_is_recorded_with_its_classes_and_how_many_weights_it_changed(
    base: Path, model: OnnxModel, journal: Journal
) -> None:
    test, points = tiny_set(base), [point("rough", kernel=0), point("same", scale=1)]
    evaluate_points(base, model, points, test, journal)
    assert {p.name: p.state for p in journal.points()} == {"rough": State.DONE, "same": State.DONE}
    full, rough, same = (recorded(journal, test, plan) for plan in (BASE, points[0].plan, points[1].plan))
    kernel = numpy_helper.to_array(model.proto.graph.initializer[0])
    flat = (test.images.reshape(50, -1) / 127.5 - 1).astype(np.float32)
    assert full.classes.tolist() == (flat @ kernel).argmax(axis=1).tolist()
    assert rough.classes.tolist() == (flat @ np.round(kernel)).argmax(axis=1).tolist()
    assert same.classes.tolist() == full.classes.tolist()
    assert (rough.facts, same.facts) == ({"elements": 144, "changed": 144}, {"elements": 3, "changed": 0})
    truth = journal.predictions(labels_key(test))
    assert truth is not None
    assert truth.classes.tolist() == test.labels.tolist()


def test_a_point_whose_scores_are_no_numbers_fails_with_the_reason_and_stays_so(
    base: Path, model: OnnxModel, journal: Journal
) -> None:
    test, points = tiny_set(base), [point("nothing", scale=0), point("rough", kernel=1)]
    evaluate_points(base, model, points, test, journal)
    evaluate_points(base, model, points, test, journal)
    states = {p.name: p for p in journal.points()}
    assert states["rough"].state is State.DONE
    assert states["nothing"].state is State.FAILED
    assert "NaN" in states["nothing"].detail


def test_full_precision_whose_scores_are_no_numbers_ends_the_run(tmp_path: Path, journal: Journal) -> None:
    broken = write_network(tmp_path / "broken.onnx", scale=float("nan"))
    with pytest.raises(ModelError, match=r"NaN.*\ngive a network whose scores are numbers"):
        evaluate_points(broken, load_model(broken), [point("rough", kernel=1)], tiny_set(broken), journal)


def test_what_is_recorded_is_not_run_again(
    base: Path, model: OnnxModel, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    test, first = tiny_set(base), point("first", kernel=1)
    evaluate_points(base, model, [first], test, journal)
    asked = list[str]()

    def watched(model: OnnxModel, variants: list[module.Variant], *rest: object, **options: object) -> object:
        asked.extend(variant.name for variant in variants)
        return sweep(model, variants, *rest, **options)  # type: ignore[arg-type]

    sweep = module.sweep
    monkeypatch.setattr(module, "sweep", watched)
    second = point("second", kernel=2)
    evaluate_points(base, model, [first, second], test, journal)
    assert asked == [point_key(test, second.plan)]
    evaluate_points(base, model, [first, second], test, journal)
    assert asked == [point_key(test, second.plan)]


def test_other_images_are_other_points(base: Path) -> None:
    plan = Plan.of_decimals({"kernel": 1})
    assert point_key(tiny_set(base), plan) == point_key(tiny_set(base), plan)
    assert point_key(tiny_set(base), plan) != point_key(tiny_set(base, seed=3), plan)
