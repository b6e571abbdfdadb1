"""A benchmark from the gate to its record: measured once for real, and on machines that do not exist."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from precbench.bench import benchmark as benchmark_module
from precbench.bench import setup as bench_setup
from precbench.bench.benchmark import Benchmark, benchmark
from precbench.bench.options import TimingOptions
from precbench.bench.profile import profile
from precbench.errors import ModelError, UsageError
from precbench.timing.processes import ProcessRunner
from precbench.timing.samples import ProcessSamples, outlier_labels
from precbench.timing.schedule import ProcessPlan
from precbench.timing.simulation import Noise
from precbench.timing.statistics import estimate, mean_estimate
from precbench.timing.verdict import Verdict, judge

from .conftest import BATCHES, CPU, Simulated, batches_of

TOP = {
    "schema_version", "command", "created", "precbench", "complete", "ended", "protocol", "settings", "asked", "models",
    "measurements", "session", "environment", "warnings",
}  # fmt: skip
ARM = {
    "calls", "mean_ns", "median_ns", "p90_ns", "p95_ns", "p99_ns", "throughput_per_s", "creation_ns", "first_run_ns",
    "outliers",
}  # fmt: skip
COMPARISON = {
    "arm", "base", "control", "ratio", "control_ratio", "verdict", "reason", "smallest_effect", "p_difference",
    "p_equivalence", "budget_needed_s",
}  # fmt: skip
PROCESS = {
    "replicate", "process", "arms", "creation_order", "blocks", "calls_per_position", "warmup_rounds", "warmup_ns",
    "steady", "ended", "lost_block",
}  # fmt: skip


@pytest.fixture(scope="session")
def record(measured: Benchmark) -> dict[str, Any]:
    """What is written: through JSON and back, strictly."""
    return dict(json.loads(json.dumps(measured.to_json(), allow_nan=False)))


def run(models: Path, *, batches: tuple[int, ...] = (2,), **options: Any) -> Benchmark:
    base, variants = models / "net.onnx", [models / "net.dp1.onnx", models / "net.dp3.onnx"]
    chosen = TimingOptions(**{"budget_s": 2.0, "processes": 3, **options})
    return benchmark(base, variants, settings=CPU, inputs=batches_of(base, *batches), options=chosen)


def test_the_record_has_all_that_it_promises(record: dict[str, Any]) -> None:
    assert record.keys() == TOP
    assert (record["schema_version"], record["command"], record["protocol"]) == (2, "bench", "blocks")
    assert (record["complete"], record["ended"]) == (True, "complete")
    assert record["models"].keys() == {"base", "control", "net.dp1", "net.dp3"}
    assert all(model["same_graph"] and model["digest"].startswith("sha256:") for model in record["models"].values())
    assert [measurement["batch"] for measurement in record["measurements"]] == list(BATCHES)
    for measurement in record["measurements"]:
        assert all(arm.keys() >= ARM for arm in measurement["arms"].values())
        assert all(comparison.keys() >= COMPARISON for comparison in measurement["comparisons"])
        assert all(process.keys() >= PROCESS for process in measurement["processes"])


def test_session_and_environment_say_what_a_reader_needs(record: dict[str, Any]) -> None:
    assert record["session"]["tf32"] == "no GPU"
    assert record["session"]["force_spinning_stop"] is True
    assert record["session"]["intra_op_threads"] == 1
    known = {"cpu_model", "cpu_count", "affinity", "governor", "cpu_limit", "load_before", "load_after", "other_cores",
             "steal_share", "packages"}  # fmt: skip
    assert record["environment"].keys() >= known


def test_every_arm_has_its_percentiles_in_order_and_its_cold_start_apart(record: dict[str, Any]) -> None:
    for measurement in record["measurements"]:
        assert list(measurement["arms"]) == ["base", "control", "net.dp1", "net.dp3"]
        for arm in measurement["arms"].values():
            times = [arm[key] for key in ("median_ns", "p90_ns", "p95_ns", "p99_ns")]
            assert times == sorted(times)
            assert arm["creation_ns"] > 0
            assert arm["first_run_ns"] > 0
            assert arm["throughput_per_s"] == pytest.approx(1e9 * measurement["batch"] / arm["mean_ns"])


def test_the_plan_has_every_block_that_was_measured(record: dict[str, Any], measured: Benchmark) -> None:
    for measurement, result in zip(record["measurements"], measured.batches, strict=True):
        kept = [process for process in measurement["processes"] if process["blocks"]]
        assert [plan["blocks"] for plan in measurement["plan"]] == [process["blocks"] for process in kept]
        assert [plan["calls"] for plan in measurement["plan"]] == [process["calls_per_position"] for process in kept]
        assert {plan["seed"] for plan in measurement["plan"]} == {3}
        calls = sum(2 * process["blocks"] * process["calls_per_position"] for process in kept)
        assert {arm["calls"] for arm in measurement["arms"].values()} == {calls}
        assert [s.blocks for s in result.measurement.processes] == [p["blocks"] for p in measurement["processes"]]


def test_every_block_is_a_palindrome_of_all_arms(measured: Benchmark) -> None:
    for result in measured.batches:
        for samples in result.measurement.processes:
            np.testing.assert_array_equal(samples.order, samples.order[:, ::-1])
            assert (np.sort(samples.order[:, :4], axis=1) == np.arange(4)).all()


def test_creation_orders_are_rotated(measured: Benchmark) -> None:
    orders = [tuple(s.plan.creation_order()) for s in measured.batches[0].measurement.processes]
    assert len(set(orders)) == len(orders)


def test_outliers_are_labelled_and_kept(measured: Benchmark, record: dict[str, Any]) -> None:
    for measurement, result in zip(record["measurements"], measured.batches, strict=True):
        for name, arm in measurement["arms"].items():
            labels = [outlier_labels(s.of(name)) for s in result.measurement.processes]
            assert arm["outliers"] == {
                word: sum(int((part == word).sum()) for part in labels) for word in ("mild", "severe")
            }


def test_verdicts_are_holms_over_the_comparisons_of_all_batch_sizes(measured: Benchmark) -> None:
    for result in measured.batches:
        estimates = [
            (
                comparison,
                estimate(
                    result.measurement.processes,
                    arm=comparison.arm,
                    base=comparison.base,
                    control=comparison.control,
                ),
                estimate(result.measurement.processes, arm=comparison.control, base=comparison.base),
            )
            for comparison in measured.line.comparisons
        ]
        means = [
            mean_estimate(
                result.measurement.processes, arm=comparison.arm, base=comparison.base, control=comparison.control
            )
            for comparison in measured.line.comparisons
        ]
        found = list(result.measurement.findings)
        assert found == judge(estimates, means=means, margin=0.01, p=0.05, family=4)


def test_one_batch_size_is_a_family_of_its_variants(models: Path, simulated: Simulated) -> None:
    simulated()
    assert run(models, batches=(1,)).batches[0].measurement.design.family == 2


def test_true_differences_and_none_are_told_as_they_are(models: Path, simulated: Simulated) -> None:
    simulated(**{"net.dp1": 0.000103}, noise=Noise(jitter=0.005, offset=0.0005, switch=0.3, cold=3.0))
    found = run(models, processes=10, budget_s=8.0)
    verdicts = {f.comparison.arm: f.verdict for f in found.batches[0].measurement.findings}
    assert verdicts == {"net.dp1": Verdict.SLOWER, "net.dp3": Verdict.EQUIVALENT}
    printed = {c["arm"]: c["verdict"] for c in found.to_json()["measurements"][0]["comparisons"]}
    assert printed == {"net.dp1": "slower", "net.dp3": "equivalent"}


def raising(error: BaseException) -> Any:
    def run(plan: ProcessPlan) -> ProcessSamples:
        raise error

    return run


def failing(error: ModelError) -> Any:
    return lambda plan: ProcessSamples.from_records(plan, [], ended=f"failed: {error.problem}", failure=error)


BROKEN = ModelError("the model broke", "mend it")


def test_what_was_measured_before_an_interruption_is_kept_and_marked(models: Path, simulated: Simulated) -> None:
    simulated(instead={2: raising(KeyboardInterrupt())})
    result = run(models, processes=5)
    told = result.to_json()
    assert (told["complete"], told["ended"]) == (False, "interrupted")
    assert len(told["measurements"][0]["plan"]) == 2
    assert any("partial" in warning["problem"] for warning in told["measurements"][0]["warnings"])
    assert told["measurements"][0]["comparisons"][0]["ratio"]["low"] is not None
    json.dumps(told, allow_nan=False)


def test_an_interruption_before_anything_was_measured_is_one(models: Path, simulated: Simulated) -> None:
    simulated(instead={0: raising(KeyboardInterrupt())})
    with pytest.raises(KeyboardInterrupt):
        run(models)


def test_an_interruption_at_the_second_batch_size_keeps_the_first(models: Path, simulated: Simulated) -> None:
    simulated(instead={3: raising(KeyboardInterrupt())})
    result = run(models, batches=(1, 2))
    assert result.ended == "interrupted"
    assert [r.inputs.batch for r in result.batches] == [1]


def test_a_model_that_fails_half_way_keeps_what_was_measured_and_the_error(models: Path, simulated: Simulated) -> None:
    simulated(instead={2: failing(BROKEN)})
    result = run(models, processes=5)
    assert result.failure is BROKEN
    assert result.ended == "failed: the model broke"
    assert len(result.to_json()["measurements"][0]["plan"]) == 2


def test_a_model_that_is_replaced_meanwhile_ends_it_and_what_was_measured_before_stands(
    models: Path, tmp_path: Path, simulated: Simulated
) -> None:
    for name in ("net", "net.dp1", "net.dp3"):
        (tmp_path / f"{name}.onnx").write_bytes((models / f"{name}.onnx").read_bytes())

    def replacing(plan: ProcessPlan) -> ProcessSamples:
        (tmp_path / "net.dp3.onnx").write_bytes((models / "net.dp1.onnx").read_bytes())
        return ProcessSamples.from_records(plan, [], ended="done", failure=None)

    simulated(instead={2: replacing})
    result = run(tmp_path, processes=5)
    assert result.ended.startswith(f"failed: {tmp_path / 'net.dp3.onnx'} is another model than when")
    assert len(result.to_json()["measurements"][0]["plan"]) == 2


def test_a_failure_at_the_second_batch_size_keeps_the_first(models: Path, simulated: Simulated) -> None:
    simulated(instead={3: failing(BROKEN)})
    result = run(models, batches=(1, 2))
    assert result.failure is BROKEN
    assert [r.inputs.batch for r in result.batches] == [1]
    assert (result.complete, result.to_json()["ended"]) == (False, "failed: the model broke")
    assert "nothing was measured at batch 2" in [caveat.problem for caveat in result.caveats]


def test_no_room_for_a_block_at_the_second_batch_size_keeps_the_first(models: Path, simulated: Simulated) -> None:
    none = UsageError("a block takes about 9 s and 1 s of the budget are left for it", "give a longer --budget")
    simulated(instead={3: lambda plan: ProcessSamples.from_records(plan, [], ended="failed: no room", failure=none)})
    result = run(models, batches=(1, 2))
    assert result.failure is none
    assert len(result.batches) == 1


def test_a_model_that_fails_at_once_is_an_error(models: Path, simulated: Simulated) -> None:
    simulated(instead={0: failing(BROKEN)})
    with pytest.raises(ModelError, match="the model broke"):
        run(models)


def test_a_process_that_dies_loses_its_block_and_the_rest_stands(models: Path, simulated: Simulated) -> None:
    simulated(dies=frozenset({1}))
    result = run(models, processes=4)
    told = result.to_json()
    assert told["complete"]
    lost = told["measurements"][0]["processes"][1]
    assert (lost["ended"], lost["lost_block"], lost["blocks"]) == ("killed by signal 9", 2, 2)
    assert [w["problem"] for w in told["measurements"][0]["warnings"] if "which is lost" in w["problem"]] == [
        "process 1 was killed by signal 9 in block 2, which is lost"
    ]
    assert len(told["measurements"][0]["plan"]) == 4


def test_a_single_process_is_said_to_have_seen_no_other(models: Path, simulated: Simulated) -> None:
    simulated()
    told = run(models, processes=1).to_json()["measurements"][0]
    assert {c["ratio"]["unit"] for c in told["comparisons"]} == {"batch of blocks"}
    assert any("how processes differ" in warning["problem"] for warning in told["warnings"])


@pytest.mark.parametrize("error", [RuntimeError("status 1: Traceback"), OSError(28, "no space"), MemoryError()])
def test_a_bug_at_the_second_batch_size_keeps_the_first_and_its_traceback(
    models: Path, simulated: Simulated, error: Exception
) -> None:
    simulated(instead={3: raising(error)})
    result = run(models, batches=(1, 2))
    assert result.failure is error
    assert [r.inputs.batch for r in result.batches] == [1]
    assert result.ended == f"failed: {type(error).__name__}, see its traceback"
    json.dumps(result.to_json(), allow_nan=False)


def test_an_interruption_while_the_machine_is_looked_at_loses_nothing(
    models: Path, simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated()
    real, pressed = bench_setup.about_the_machine, iter([KeyboardInterrupt()])

    def about_the_machine(*arguments: Any) -> Any:
        for error in pressed:
            raise error
        return real(*arguments)

    monkeypatch.setattr(bench_setup, "about_the_machine", about_the_machine)
    assert run(models).complete


def test_what_there_is_after_each_batch_size_but_the_last_is_handed_out_marked_partial(
    models: Path, simulated: Simulated
) -> None:
    simulated()
    kept = list[Benchmark]()
    base = models / "net.onnx"
    asked = {"settings": CPU, "options": TimingOptions(budget_s=2.0, processes=1), "keep": kept.append}
    result = benchmark(base, [models / "net.dp1.onnx"], inputs=batches_of(base, 1, 2, 4), **asked)
    assert [[r.inputs.batch for r in one.batches] for one in kept] == [[1], [1, 2]]
    assert [one.ended for one in kept] == ["batch size 1 of 3 done", "batch size 2 of 3 done"]
    assert not any(one.complete for one in kept)
    assert result.complete
    kept.clear()
    benchmark(base, [models / "net.dp1.onnx"], inputs=batches_of(base, 1), **asked)
    assert kept == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("no space")])
def test_what_was_measured_stands_where_it_cannot_be_handed_out(
    models: Path, simulated: Simulated, error: BaseException
) -> None:
    simulated()
    base = models / "net.onnx"
    options = TimingOptions(budget_s=2.0, processes=1)
    result = benchmark(base, [base], settings=CPU, inputs=batches_of(base, 1, 2), options=options, keep=raising(error))
    assert [r.inputs.batch for r in result.batches] == [1]
    assert result.complete is False


@pytest.mark.parametrize("error", [KeyboardInterrupt(), BROKEN, OSError(28, "no space")])
def test_a_profile_that_is_not_finished_costs_nothing_of_what_was_measured(
    models: Path, simulated: Simulated, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    simulated()
    monkeypatch.setattr(benchmark_module, "profile", lambda *_a, **_k: raising(error)(None))
    result = run(models, profile=True)
    told = result.to_json()
    assert told["complete"] is False
    ended = {KeyboardInterrupt: "interrupted", ModelError: "failed: the model broke"}
    assert told["ended"] == ended.get(type(error), "failed: OSError, see its traceback")
    assert result.failure is (None if isinstance(error, KeyboardInterrupt) else error)
    assert len(told["measurements"][0]["plan"]) == 3
    assert told["measurements"][0]["profile"] is None
    assert any("there is no profile" in warning["problem"] for warning in told["measurements"][0]["warnings"])


def test_profiles_are_made_of_complete_measurements_only(
    models: Path, simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert benchmark_module.profile is profile
    monkeypatch.setattr(benchmark_module, "profile", lambda *_a, **_k: pytest.fail("it was profiled"))
    simulated(instead={1: raising(KeyboardInterrupt())})
    assert run(models, profile=True).ended == "interrupted"


def test_options_that_cannot_be_are_refused(models: Path) -> None:
    for wrong, words in (
        ({"budget_s": 0.0}, "budget of 0.0 s measures nothing"),
        ({"margin": 1.5}, "margin 1.5"),
        ({"processes": 0}, "0 processes"),
        ({"target_width": 0.0}, "target width"),
        ({"level": 1.0}, "level"),
    ):
        with pytest.raises(UsageError, match=words):
            run(models, **wrong)


def test_a_budget_without_room_for_a_block_is_refused_with_what_to_do(models: Path) -> None:
    with pytest.raises(UsageError, match="of the budget are left for it") as caught:
        run(models, budget_s=0.0001, processes=None)
    assert "--budget" in caught.value.remedy


@pytest.mark.slow
def test_a_model_that_really_fails_in_its_process_keeps_the_blocks_before(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        benchmark_module,
        "ProcessRunner",
        lambda _module, request: ProcessRunner("failing_child", request, folder=Path(__file__).parent),
    )
    result = run(models, batches=(32,), budget_s=30.0, processes=1)
    (samples,) = result.batches[0].measurement.processes
    assert result.ended == "failed: ONNX Runtime failed: out of range"
    assert samples.blocks > 0
    assert samples.lost_block == samples.blocks


@pytest.mark.slow
def test_subnormals_flushed_to_zero_stay_in_their_own_processes(models: Path) -> None:
    base = models / "net.onnx"
    options = TimingOptions(budget_s=6.0, processes=2, denormals_off=True)
    result = benchmark(base, [], settings=CPU, inputs=batches_of(base, 32), options=options)
    told = result.to_json()
    assert [c["arm"] for c in told["measurements"][0]["comparisons"]] == ["denormals-off"]
    assert told["models"]["denormals-off"]["denormals_as_zero"] is True
    assert told["models"]["base alone"]["denormals_as_zero"] is False
    arms = [tuple(process["arms"]) for process in told["measurements"][0]["processes"]]
    assert sorted(arms[:3]) == [("base alone",), ("control alone",), ("denormals-off",)]
