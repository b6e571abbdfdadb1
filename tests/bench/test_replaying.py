"""A record is repeated exactly as it was carried out, or refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from precbench.bench import replaying
from precbench.bench.benchmark import Benchmark, benchmark
from precbench.bench.inputs import inputs_for_batches
from precbench.bench.options import TimingOptions
from precbench.bench.replaying import _HARMLESS_OPTIONS, read_recorded, repeat
from precbench.bench.sequential import benchmark_sequentially
from precbench.errors import DataError, PrecbenchError
from precbench.runtime.settings import PROVIDER_OPTIONS
from precbench.timing.simulation import Noise

from .conftest import CPU, Simulated, batches_of, network

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def folder(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the models, and the working directory."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(models, tmp_path, dirs_exist_ok=True))


@pytest.fixture(scope="module")
def recorded(models: Path, simulate: Callable[..., None]) -> str:
    """The record of two batch sizes on a simulated machine, made in the models' folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(models)
        simulate(patch, noise=Noise(jitter=0.01))
        options = TimingOptions(budget_s=6.0, processes=2, seed=5)
        base, variant = Path("net.onnx"), Path("net.dp1.onnx")
        made = benchmark(base, [variant], settings=CPU, inputs=batches_of(base, 2, 32), options=options)
        return json.dumps(made.to_json())


@pytest.fixture
def record(folder: Path, simulated: Simulated, recorded: str) -> dict[str, Any]:
    simulated(noise=Noise(jitter=0.01))
    return dict(json.loads(recorded))


def save(record: Any) -> Path:
    path = Path("r.json")
    path.write_text(json.dumps(record))
    return path


def test_a_real_record_is_repeated_block_for_block(measured: Benchmark, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(measured.to_json()))
    again = repeat(path)
    assert again.complete
    assert again.options == measured.options
    for before, after in zip(measured.batches, again.batches, strict=True):
        assert after.inputs.batch == before.inputs.batch
        for name, array in before.inputs.feeds.items():
            np.testing.assert_array_equal(after.inputs.feeds[name], array)
        assert after.measurement.ended == "plan done"
        kept = [samples for samples in before.measurement.processes if samples.blocks]
        for one, other in zip(kept, after.measurement.processes, strict=True):
            assert other.plan.arms == one.plan.arms
            assert other.plan.creation_order() == one.plan.creation_order()
            assert (other.plan.replicate, other.plan.process) == (one.plan.replicate, one.plan.process)
            assert (other.blocks, other.calls) == (one.blocks, one.calls)
            np.testing.assert_array_equal(other.order, one.order)
    assert again.to_json()["measurements"][0]["plan"] == json.loads(path.read_text())["measurements"][0]["plan"]


def test_the_record_of_a_replay_can_be_repeated_in_its_turn(record: dict[str, Any]) -> None:
    once = repeat(save(record)).to_json()
    assert [m["plan"] for m in once["measurements"]] == [m["plan"] for m in record["measurements"]]
    assert once["asked"] == record["asked"]
    assert [m["inputs"] for m in once["measurements"]] == [m["inputs"] for m in record["measurements"]]
    assert [m["batch"] for m in once["measurements"]] == [2, 32]


def test_a_partial_record_is_judged_with_the_family_of_the_whole_call(record: dict[str, Any]) -> None:
    assert [measurement["family"] for measurement in record["measurements"]] == [2, 2]
    record["measurements"] = record["measurements"][:1]
    (result,) = repeat(save(record)).batches
    assert result.measurement.design.family == 2
    assert result.to_json()["family"] == 2


@pytest.mark.parametrize(
    ("provider", "name", "value"),
    [
        ("tensorrt", "trt_extra_plugin_lib_paths", "evil.so"),
        ("tensorrt", "trt_engine_decryption_lib_path", "evil.so"),
        ("tensorrt", "trt_engine_cache_path", "folder"),
        ("tensorrt", "trt_engine_cache_enable", "1"),
        ("tensorrt", "trt_dump_subgraphs", "1"),
        ("tensorrt", "trt_onnx_model_folder_path", "folder"),
        ("cuda", "gpu_external_alloc", "140245"),
        ("cuda", "user_compute_stream", "140245"),
        ("cuda", "cudnn_conv_algo_search", "../word"),
    ],
)
def test_a_provider_option_that_loads_reads_or_writes_is_not_taken_from_a_record(
    record: dict[str, Any], provider: str, name: str, value: str
) -> None:
    record["asked"]["session"] |= {"provider": provider, "provider_options": {"device_id": "0", name: value}}
    with pytest.raises(DataError, match=f"sets the provider option {name} to '{value}'") as caught:
        repeat(save(record))
    assert f"--ep-option {name}=" in caught.value.remedy


def test_harmless_provider_options_are_taken_from_a_record(record: dict[str, Any]) -> None:
    options = {"use_tf32": "1", "cudnn_conv_algo_search": "EXHAUSTIVE", "enable_cuda_graph": "0", "device_id": "1"}
    record["asked"]["session"] |= {"provider": "cuda", "provider_options": options}
    assert read_recorded(save(record)).settings.provider_options == options
    record["asked"]["session"] |= {"provider": "tensorrt", "provider_options": {"trt_auxiliary_streams": "-1"}}
    assert read_recorded(save(record)).settings.provider_options == {"trt_auxiliary_streams": "-1"}
    assert all(name in {*PROVIDER_OPTIONS["cuda"], *PROVIDER_OPTIONS["tensorrt"]} for name in _HARMLESS_OPTIONS)


def test_a_partial_record_is_repeated_as_far_as_it_went(record: dict[str, Any]) -> None:
    record["measurements"] = record["measurements"][:1]
    record["measurements"][0]["plan"] = record["measurements"][0]["plan"][:1]
    (result,) = repeat(save(record)).batches
    assert len(result.measurement.processes) == 1


def with_input_file(folder: Path) -> dict[str, Any]:
    np.savez(folder / "x.npz", x=np.ones((3, 16), np.float32))
    base = Path("net.onnx")
    fed = inputs_for_batches(base, CPU, [32], file=Path("x.npz"), seed=0, shapes={})
    options = TimingOptions(budget_s=3.0, processes=1)
    return benchmark(base, [Path("net.dp1.onnx")], settings=CPU, inputs=fed, options=options).to_json()


def test_inputs_from_a_file_keep_their_batch(folder: Path, simulated: Simulated) -> None:
    simulated()
    record = with_input_file(folder)
    again = repeat(save(record)).to_json()
    assert again["measurements"][0]["batch"] == record["measurements"][0]["batch"] == 3
    assert again["measurements"][0]["arms"]["base"]["throughput_per_s"] is not None


def test_another_input_file_is_refused(folder: Path, simulated: Simulated) -> None:
    simulated()
    path = save(with_input_file(folder))
    np.savez(folder / "x.npz", x=np.zeros((3, 16), np.float32))
    with pytest.raises(DataError, match=r"x\.npz is another file than the recorded one"):
        repeat(path)
    (folder / "x.npz").unlink()
    with pytest.raises(DataError, match=r"x\.npz"):
        repeat(path)


@pytest.mark.parametrize("name", ["net.onnx", "net.dp1.onnx"])
def test_another_model_is_refused_before_anything_runs(record: dict[str, Any], folder: Path, name: str) -> None:
    network(folder / name, decimals=2)
    with pytest.raises(DataError, match="is another model than the recorded one") as caught:
        repeat(save(record))
    assert name in caught.value.problem
    (folder / name).unlink()
    with pytest.raises(PrecbenchError, match=name):
        repeat(save(record))


def test_a_sequential_record_has_no_plan(folder: Path, simulated: Simulated) -> None:
    base = Path("net.onnx")
    record = benchmark_sequentially(
        base, [Path("net.dp1.onnx")], settings=CPU, inputs=batches_of(base, 2), options=TimingOptions(budget_s=0.1)
    ).to_json()
    with pytest.raises(DataError, match="was not measured in blocks"):
        repeat(save(record))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '"text"', "PAR1", '{"schema_version": 1, "command": "run"}'])
def test_what_is_no_record_is_refused(folder: Path, content: str) -> None:
    (folder / "r.json").write_text(content)
    with pytest.raises(DataError, match=r"r\.json"):
        repeat(folder / "r.json")


def test_inputs_of_a_study_cannot_be_made_again(record: dict[str, Any]) -> None:
    record["measurements"][0]["inputs"] = {"source": "digits", "split": "validation", "images": 32}
    with pytest.raises(DataError, match="inputs cannot be made again") as caught:
        repeat(save(record))
    assert "repeat the command" in caught.value.remedy


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda r: r.pop("asked"), "does not say how it was made"),
        (lambda r: r["asked"].update(base=5), "does not say how it was made"),
        (lambda r: r["asked"].update(base="other.onnx"), r"no digest of other\.onnx"),
        (lambda r: r["asked"]["variants"].clear(), "no variant to compare"),
        (lambda r: r["asked"]["variants"].append("net.dp3.onnx"), r"no digest of net\.dp3\.onnx"),
        (lambda r: r["asked"]["session"].update(provider="gpuu"), "no execution provider 'gpuu'"),
        (lambda r: r["asked"]["session"].update(intra_op_threads="many"), "does not say how it was made"),
        (lambda r: r["asked"]["session"].update(surprise=1), "does not say how it was made"),
        (lambda r: r["settings"].update(budget_s="long"), "does not say how it was made"),
        (lambda r: r["settings"].update(clock=["end-to-end"]), "does not say how it was made"),
        (lambda r: r["settings"].update(denormals_off=True), "times other sessions than its models give"),
        (lambda r: r.update(measurements=[]), "nothing was measured"),
        (lambda r: r["measurements"][0]["plan"].clear(), "times other sessions than its models give"),
        (lambda r: r["measurements"][0]["plan"][0]["arms"].reverse(), "times other sessions than its models give"),
        (lambda r: r["measurements"][0]["plan"][0].update(blocks=None), "does not say how many blocks"),
        (lambda r: r["measurements"][0]["plan"][0].update(blocks=10**9), "blocks is outside 1..100000"),
        (lambda r: r["measurements"][0]["plan"][0].update(seed=-1), "the seed -1 is negative"),
        (lambda r: r["measurements"][0].update(family="two"), "does not say how it was made"),
        (lambda r: r["measurements"][0].pop("family"), "does not say how it was made"),
        (lambda r: r["measurements"][0].update(family=0), "its family is 0, fewer than the comparisons"),
        (lambda r: r["measurements"][0]["inputs"].update(seed=-1), "the seed -1"),
        (lambda r: r["measurements"][0]["inputs"]["inputs"]["x"].update(shape=[-2, 16]), "x"),
        (lambda r: r["measurements"][0]["inputs"].pop("inputs"), "does not say how it was made"),
        (lambda r: r["measurements"][0].update(inputs=3), "does not say how it was made"),
    ],
)
def test_a_damaged_record_is_refused(record: dict[str, Any], change: Change, match: str) -> None:
    change(record)
    with pytest.raises(PrecbenchError, match=match):
        repeat(save(record))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every key or index in a record, with what holds it."""
    found = []
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        found += [(value, key), *places(value[key])]
    return found


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_stands_in_a_record_it_is_repeated_or_refused(
    record: dict[str, Any], monkeypatch: pytest.MonkeyPatch, data: Any
) -> None:
    monkeypatch.setattr(replaying, "benchmark", lambda *_arguments, **_options: None)
    changed = json.loads(json.dumps(record))
    used = {key: changed[key] for key in ("protocol", "asked", "settings", "models", "measurements")}
    for measurement in used["measurements"]:
        for key in set(measurement) - {"inputs", "plan", "family"}:
            del measurement[key]
    holder, key = data.draw(st.sampled_from([(changed, key) for key in changed] + places(used)))
    holder[key] = data.draw(VALUES)
    try:
        repeat(save(changed))
    except PrecbenchError:
        return


KEYS = ["asked", "settings", "models", "measurements", "base", "variants", "session", "plan", "inputs"]


@given(st.recursive(VALUES, lambda inner: st.dictionaries(st.sampled_from(KEYS), inner)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_strangers_json_is_refused(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "stranger.json"
    rest = value if isinstance(value, dict) else {"asked": value}
    path.write_text(json.dumps({**rest, "schema_version": 2, "command": "bench", "protocol": "blocks"}))
    with pytest.raises(DataError, match=r"stranger\.json"):
        read_recorded(path)
