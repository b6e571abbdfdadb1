"""The paper's protocol: one cold pass each, and no verdict."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from precbench.bench import sequential as sequential_module
from precbench.bench.arms import BASE, CONTROL
from precbench.bench.benchmark import Benchmark
from precbench.bench.inputs import BatchInputs
from precbench.bench.options import TimingOptions
from precbench.bench.sequential import IMAGES, SequentialBenchmark, benchmark_sequentially
from precbench.errors import ModelError
from precbench.timing.journal import Kind, reading_words
from precbench.timing.processes import Outcome

from .conftest import CPU, batches_of, write

BROKEN = ModelError("it broke", "mend it")


def outcome(**elapsed_ns: list[int]) -> Outcome:
    """What a child left that was done, with the passes of these arms."""
    told = [{"arm": arm, "creation_ns": 1, "elapsed_ns": calls} for arm, calls in elapsed_ns.items()]
    records = [(Kind.READING, reading_words(one)) for one in told]
    return Outcome(ended="done", failure=None, records=records, result=None)


def run(models: Path, *, batches: tuple[int, ...] = (500,), budget_s: float = 20.0) -> SequentialBenchmark:
    base, variants = models / "net.onnx", [models / "net.dp1.onnx", models / "net.dp3.onnx"]
    options = TimingOptions(budget_s=budget_s)
    return benchmark_sequentially(base, variants, settings=CPU, inputs=batches_of(base, *batches), options=options)


@pytest.fixture(scope="module")
def record(models: Path) -> dict[str, Any]:
    return dict(json.loads(json.dumps(run(models).to_json(), allow_nan=False)))


def test_the_base_comes_first_then_itself_then_the_variants(record: dict[str, Any]) -> None:
    (measurement,) = record["measurements"]
    assert list(measurement["passes"]) == ["base", "control", "net.dp1", "net.dp3"]


def test_a_pass_is_ten_thousand_samples_and_its_times_add_up(record: dict[str, Any]) -> None:
    passes = record["measurements"][0]["passes"]
    for one in passes.values():
        assert one["calls"] == len(one["elapsed_ns"]) == IMAGES // 500
        assert one["total_ns"] == sum(one["elapsed_ns"])
        assert one["first_ns"] == one["elapsed_ns"][0]
        assert one["total_over_base"] == one["total_ns"] / passes["base"]["total_ns"]
    assert passes["base"]["total_over_base"] == 1


def test_the_record_says_what_it_is_and_has_no_verdict(record: dict[str, Any]) -> None:
    assert (record["protocol"], record["complete"], record["schema_version"]) == ("sequential", True, 2)
    assert record["models"].keys() == {"base", "control", "net.dp1", "net.dp3"}
    warning = record["warnings"][0]
    assert "one pass each, the base first and cold" in warning["problem"]
    assert "control" in warning["remedy"]
    text = json.dumps(record["measurements"])
    for word in ("verdict", '"low"', "interval"):
        assert word not in text


def test_a_budget_cuts_the_bases_pass_and_the_others_after_as_many_calls(models: Path) -> None:
    (measurement,) = run(models, batches=(1,), budget_s=0.02).to_json()["measurements"]
    calls = {one["calls"] for one in measurement["passes"].values()}
    assert len(calls) == 1
    assert 1 <= calls.pop() < IMAGES == measurement["calls_asked"]
    assert measurement["cut"] is True


def test_a_cut_says_so_and_what_budget_has_room_for_whole_passes(
    models: Path, monkeypatch: pytest.MonkeyPatch, record: dict[str, Any]
) -> None:
    assert [(m["cut"], m["warnings"]) for m in record["measurements"]] == [(False, [])]
    monkeypatch.setattr(sequential_module, "run_child", lambda *_a: outcome(base=[10**9] * 4, control=[10**9] * 4))
    (measurement,) = run(models, batches=(1000,)).to_json()[
        "measurements"
    ]  # whole: 10 calls of 1 s by 4 arms, and 20 %
    (warning,) = measurement["warnings"]
    assert "the budget cut each pass after 4 of 10 calls" in warning["problem"]
    assert "--budget 48s" in warning["remedy"]


def test_the_base_alone_is_compared_with_itself(models: Path) -> None:
    base = models / "net.onnx"
    options = TimingOptions(budget_s=20.0)
    done = benchmark_sequentially(base, [], settings=CPU, inputs=batches_of(base, 500), options=options)
    assert list(done.to_json()["measurements"][0]["passes"]) == [BASE, CONTROL]


def test_the_record_has_all_that_one_in_blocks_has(record: dict[str, Any], measured: Benchmark) -> None:
    blocks = measured.to_json()
    assert record.keys() == blocks.keys()
    assert record["environment"].keys() == blocks["environment"].keys()
    assert record["asked"].keys() == blocks["asked"].keys()
    assert record["models"]["base"].keys() == blocks["models"]["base"].keys()


def test_each_batch_size_has_its_passes(models: Path) -> None:
    measurements = run(models, batches=(1000, 3000)).to_json()["measurements"]
    assert [(m["batch"], m["passes"]["base"]["calls"]) for m in measurements] == [(1000, 10), (3000, 4)]


def test_texts_can_be_fed_too(tmp_path: Path) -> None:
    model = write(tmp_path / "text.onnx", "text (string[n] x) => (string[n] y) { y = Identity (x) }")
    texts = BatchInputs.of({"x": np.array(["a", "bc"], dtype=object)}, {"kind": "file"})
    done = benchmark_sequentially(model, [model], settings=CPU, inputs=[texts], options=TimingOptions(budget_s=0.01))
    assert done.to_json()["measurements"][0]["batch"] == 2


@pytest.mark.parametrize(
    ("ending", "error", "match"),
    [
        ({"ended": "killed by SIGKILL"}, ModelError, "the measuring process was killed by SIGKILL"),
        ({"ended": "interrupted"}, KeyboardInterrupt, "^$"),
        ({"ended": "failed: x", "failure": BROKEN}, ModelError, "it broke"),
    ],
)
def test_what_ends_the_first_pass_is_an_error(
    models: Path, monkeypatch: pytest.MonkeyPatch, ending: dict[str, Any], error: type[BaseException], match: str
) -> None:
    monkeypatch.setattr(sequential_module, "run_child", lambda *_arguments: replace(outcome(), **ending))
    with pytest.raises(error, match=match):
        run(models)


@pytest.mark.parametrize(
    ("ending", "ended"),
    [
        ({"ended": "killed by SIGKILL"}, "failed: the measuring process was killed by SIGKILL"),
        ({"ended": "interrupted"}, "interrupted"),
        ({"ended": "failed: x", "failure": BROKEN}, "failed: it broke"),
    ],
)
def test_what_ends_a_later_pass_leaves_those_before_marked_partial(
    models: Path, monkeypatch: pytest.MonkeyPatch, ending: dict[str, Any], ended: str
) -> None:
    left = replace(outcome(base=[8] * 20, control=[6] * 20), **ending)
    monkeypatch.setattr(sequential_module, "run_child", lambda *_arguments: left)
    done = run(models, batches=(500, 1000))
    told = json.loads(json.dumps(done.to_json(), allow_nan=False))
    assert (told["complete"], told["ended"]) == (False, ended)
    assert (done.failure is None) is (ended == "interrupted")
    (measurement,) = told["measurements"]
    assert {arm: one["total_over_base"] for arm, one in measurement["passes"].items()} == {"base": 1, "control": 0.75}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("Traceback")])
def test_what_ends_a_later_batch_size_leaves_those_before(
    models: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    found = iter([outcome(base=[8], control=[8])])

    def run_child(*_arguments: Any) -> Outcome:
        for one in found:
            return one
        raise error

    monkeypatch.setattr(sequential_module, "run_child", run_child)
    done = run(models, batches=(500, 1000))
    assert [m["batch"] for m in done.to_json()["measurements"]] == [500]
    assert done.failure is (error if isinstance(error, Exception) else None)
