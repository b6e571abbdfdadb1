"""The paper's protocol: one cold pass each, and no verdict."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from precbench.bench import sequential as sequential_module
from precbench.bench.benchmark import TimingOptions
from precbench.bench.inputs import BatchInputs
from precbench.bench.sequential import IMAGES, benchmark_sequentially
from precbench.errors import ModelError, UsageError
from precbench.timing.processes import Outcome

from .conftest import CPU, batches_of, write


def run(models: Path, *, batches: tuple[int, ...] = (500,), budget_s: float = 20.0) -> dict[str, Any]:
    base, variants = models / "net.onnx", [models / "net.dp1.onnx", models / "net.dp3.onnx"]
    options = TimingOptions(budget_s=budget_s)
    return benchmark_sequentially(base, variants, settings=CPU, inputs=batches_of(base, *batches), options=options)


@pytest.fixture(scope="module")
def record(models: Path) -> dict[str, Any]:
    return dict(json.loads(json.dumps(run(models), allow_nan=False)))


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
    (warning,) = record["warnings"]
    assert "one pass each, the base first and cold" in warning["problem"]
    assert "control" in warning["remedy"]
    text = json.dumps(record["measurements"])
    for word in ("verdict", "low", "interval"):
        assert word not in text


def test_a_budget_cuts_the_bases_pass_and_the_others_after_as_many_calls(models: Path) -> None:
    passes = run(models, batches=(1,), budget_s=0.02)["measurements"][0]["passes"]
    calls = {one["calls"] for one in passes.values()}
    assert len(calls) == 1
    assert 1 <= calls.pop() < IMAGES


def test_each_batch_size_has_its_passes(models: Path) -> None:
    measurements = run(models, batches=(1000, 3000))["measurements"]
    assert [(m["batch"], m["passes"]["base"]["calls"]) for m in measurements] == [(1000, 10), (3000, 4)]


def test_texts_can_be_fed_too(tmp_path: Path) -> None:
    model = write(tmp_path / "text.onnx", "text (string[n] x) => (string[n] y) { y = Identity (x) }")
    texts = BatchInputs.of({"x": np.array(["a", "bc"], dtype=object)}, {"kind": "file"})
    record = benchmark_sequentially(model, [model], settings=CPU, inputs=[texts], options=TimingOptions(budget_s=0.01))
    assert record["measurements"][0]["batch"] == 2


def test_nothing_to_compare_with_is_refused(models: Path) -> None:
    base = models / "net.onnx"
    with pytest.raises(UsageError, match="no variant"):
        benchmark_sequentially(base, [], settings=CPU, inputs=batches_of(base, 1), options=TimingOptions())


@pytest.mark.parametrize(
    ("ending", "error", "match"),
    [
        ({"ended": "killed by SIGKILL"}, ModelError, "the measuring process was killed by SIGKILL"),
        ({"ended": "interrupted"}, KeyboardInterrupt, "^$"),
        ({"ended": "failed: x", "failure": ModelError("it broke", "mend it")}, ModelError, "it broke"),
    ],
)
def test_a_pass_that_is_not_finished_is_an_error(
    models: Path, monkeypatch: pytest.MonkeyPatch, ending: dict[str, Any], error: type[BaseException], match: str
) -> None:
    outcome = Outcome(**{"failure": None, "records": [], "result": None, **ending})
    monkeypatch.setattr(sequential_module, "run_child", lambda *_arguments: outcome)
    with pytest.raises(error, match=match):
        run(models)
