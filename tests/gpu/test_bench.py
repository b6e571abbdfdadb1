"""A whole benchmark on CUDA: each clock, TF32 off and on."""

import json

import onnx
import pyarrow.parquet
import pytest

from precbench.bench.benchmark import benchmark
from precbench.bench.inputs import inputs_for_batches
from precbench.bench.options import TimingOptions
from precbench.bench.samples_file import write_samples
from precbench.runtime import CLOCKS, SessionSettings, open_gpu_telemetry

pytestmark = pytest.mark.gpu


@pytest.fixture
def models(conv_model):
    """The convolutional model, and the same with its weights rounded to one decimal."""
    model = onnx.load(conv_model)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).round(1), tensor.name))
    path = conv_model.with_name("rounded.onnx")
    onnx.save(model, path)
    return conv_model, path


@pytest.mark.slow
@pytest.mark.parametrize("tf32", ["0", "1"])
@pytest.mark.parametrize("clock", CLOCKS)
def test_a_benchmark_on_cuda_records_clock_tf32_convolution_search_and_the_gpus_state(
    cuda, models, tmp_path, clock, tf32
):
    cuda()
    base, rounded = models
    settings = SessionSettings(provider="cuda", provider_options={"use_tf32": tf32})
    inputs = inputs_for_batches(base, settings, (8,), file=None, seed=0, shapes={})
    options = TimingOptions(budget_s=20.0, processes=2, clock=clock)
    result = benchmark(base, [rounded], settings=settings, inputs=inputs, options=options)
    record = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert record["complete"], record["ended"]
    session, (measurement,) = record["session"], record["measurements"]
    assert (session["provider"], session["clock"]) == ("cuda", clock)
    assert session["tf32"] == ("allowed" if tf32 == "1" else "off")
    assert session["effective_provider_options"]["cudnn_conv_algo_search"] == "HEURISTIC"
    assert set(session["placement"]) == {"CUDAExecutionProvider"}
    assert record["environment"]["gpus"]
    assert any("TF32 is allowed" in w["problem"] for w in record["warnings"]) is (tf32 == "1")
    assert list(measurement["arms"]) == ["base", "control", "rounded"]
    assert all(arm["calls"] > 0 for arm in measurement["arms"].values())
    (comparison,) = measurement["comparisons"]
    assert comparison["verdict"] in ("faster", "slower", "equivalent", "inconclusive")
    write_samples(tmp_path / "r.parquet", result.samples())
    columns = pyarrow.parquet.read_table(tmp_path / "r.parquet").column_names
    assert ("sm_clock_mhz" in columns) is (open_gpu_telemetry(0) is not None)
