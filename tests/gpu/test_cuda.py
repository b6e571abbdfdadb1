"""What only a GPU can show: placement, buffers on the device, float32 that is float32."""

import numpy as np
import onnx.parser
import pytest

from precbench.errors import ProviderError, UsageError
from precbench.runtime import CLOCKS, SessionSettings, open_gpu_telemetry, open_profiled, open_session, predict

pytestmark = pytest.mark.gpu


def test_every_node_of_a_cuda_session_is_on_cuda(cuda):
    session = cuda()
    assert set(session.placement) == {"CUDAExecutionProvider"}
    assert session.record()["cpu_shape_nodes"] == []


def test_tf32_is_off_and_the_convolution_search_is_pinned_in_what_onnx_runtime_reports(cuda):
    record = cuda().record()
    assert record["tf32"] == "off"
    assert record["effective_provider_options"]["use_tf32"] == "0"
    assert record["effective_provider_options"]["cudnn_conv_algo_search"] == "HEURISTIC"


@pytest.mark.parametrize("clock", CLOCKS)
def test_outputs_of_calls_bound_with_any_clock_equal_those_of_run(cuda, images, clock):
    session = cuda(clock=clock)
    bound = session.bind(images, clock=clock)
    for _ in range(4):
        bound()
    np.testing.assert_array_equal(bound.outputs()["y"], session.run(images)["y"])
    assert session.record(clock=clock)["clock"] == clock


def test_a_session_with_cuda_graphs_holds_one_graph_per_bound_call_and_has_the_other_clocks_too(cuda, images):
    session = cuda(clock="cuda-graph")
    assert session.record(clock="cuda-graph")["effective_provider_options"]["enable_cuda_graph"] == "1"
    halves = [{"x": images["x"][:4]}, {"x": images["x"][4:]}]
    graphs = [session.bind(half, clock="cuda-graph") for half in halves]
    others = [session.bind(half, clock=clock) for half in halves for clock in ("end-to-end", "device")]
    for _ in range(2):
        for bound in (*graphs, *others):
            bound()
    for bound, half in zip(graphs, halves, strict=True):
        bound()
        np.testing.assert_array_equal(bound.outputs()["y"], session.run(half)["y"])
    for bound, half in zip(others, (halves[0], halves[0], halves[1], halves[1]), strict=True):
        bound()
        np.testing.assert_array_equal(bound.outputs()["y"], session.run(half)["y"])


def test_a_session_made_without_cuda_graphs_refuses_to_capture_one(cuda, images):
    with pytest.raises(UsageError, match="was made without CUDA graphs"):
        cuda().bind(images, clock="cuda-graph")


def test_a_model_that_no_cuda_graph_can_hold_is_refused_with_another_clock(cuda, tmp_path):
    cuda()
    path = tmp_path / "branch.onnx"
    path.write_bytes(
        onnx.parser.parse_model(
            '<ir_version: 10, opset_import: ["" : 17]> g (float[n, 3] x, bool c) => (float[n, 3] y) '
            "{ y = If (c) <then_branch = a () => (float[n, 3] p) { p = Relu(x) }, "
            "else_branch = b () => (float[n, 3] q) { q = Neg(x) }> }"
        ).SerializeToString()
    )
    with pytest.raises(ProviderError) as caught:
        open_session(path, SessionSettings(provider="cuda").for_clock("cuda-graph"))
    assert "--clock device" in caught.value.remedy


def test_the_gpus_clocks_heat_and_power_are_read(cuda):
    cuda()
    telemetry = open_gpu_telemetry(0)
    if telemetry is None:
        pytest.skip("nvidia-ml-py is not installed")
    reading = telemetry.read()
    telemetry.close()
    assert reading.sm_clock_mhz > 0
    assert 0 < reading.temperature_c < 120
    assert isinstance(reading.throttle_reasons, tuple)


def test_profiled_nodes_are_those_of_the_cuda_provider(cuda, conv_model, images, tmp_path):
    cuda()
    profiled = open_profiled(conv_model, SessionSettings(provider="cuda"), tmp_path)
    for _ in range(3):
        profiled.run(images)
    nodes = profiled.finish(skip=1)
    assert "CUDAExecutionProvider" in {node.provider for node in nodes}
    assert {len(node.elapsed_ns) for node in nodes} == {2}


def test_float32_on_cuda_agrees_with_the_cpu_to_a_ten_thousandth(cuda, conv_model, images):
    expected = open_session(conv_model, SessionSettings()).run(images)["y"]
    found = cuda().run(images)["y"]
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_tf32_can_be_asked_for_and_is_recorded(cuda):
    assert cuda(use_tf32="1").record()["tf32"] == "allowed"


def test_prediction_in_batches_equals_one_run_up_to_rounding(cuda, images):
    session = cuda()
    np.testing.assert_allclose(predict(session, images, batch=3)["y"], session.run(images)["y"], rtol=1e-4, atol=1e-5)


def test_auto_takes_cuda_where_it_works(cuda, conv_model):
    cuda()
    assert open_session(conv_model, SessionSettings(provider="auto")).provider == "cuda"


def test_shape_computations_may_stay_on_the_cpu_and_are_recorded(cuda, tmp_path):
    cuda()
    path = tmp_path / "reshape.onnx"
    path.write_bytes(
        onnx.parser.parse_model(
            '<ir_version: 10, opset_import: ["" : 17]> g (float[n, 3, 4] x) => (float[a, b] y) '
            "<int64[1] tail = {-1}, int64[1] at = {0}> { [relu] h = Relu(x) [shape] s = Shape(h) "
            "[gather] r = Gather(s, at) [concat] t = Concat<axis = 0>(r, tail) [reshape] y = Reshape(h, t) }"
        ).SerializeToString()
    )
    session = open_session(path, SessionSettings(provider="cuda"))
    assert session.placement["CUDAExecutionProvider"] >= 2
    assert all(node.name in ("gather", "concat") for node in session.cpu_shape_nodes)


def test_a_model_with_an_operator_that_cuda_lacks_is_refused_not_run_elsewhere(cuda, tmp_path):
    cuda()
    path = tmp_path / "det.onnx"
    path.write_bytes(
        onnx.parser.parse_model(
            '<ir_version: 10, opset_import: ["" : 17]> g (float[n, 3, 3] x) => (float[n] y) '
            "{ [relu] h = Relu(x) [det] y = Det(h) }"
        ).SerializeToString()
    )
    with pytest.raises(ProviderError, match="Det 'det' on CPUExecutionProvider"):
        open_session(path, SessionSettings(provider="cuda"))


def test_a_device_that_is_not_there_is_refused(cuda, conv_model):
    cuda()
    with pytest.raises(ProviderError, match="the cuda provider cannot run here"):
        open_session(conv_model, SessionSettings(provider="cuda", provider_options={"device_id": "63"}))
