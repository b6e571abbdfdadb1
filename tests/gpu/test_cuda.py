"""What only a GPU can show: placement, buffers on the device, float32 that is float32."""

import numpy as np
import onnx.parser
import pytest

from precbench.errors import ProviderError
from precbench.runtime import SessionSettings, open_session, predict

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


def test_bound_outputs_on_the_device_equal_those_of_run(cuda, images):
    session = cuda()
    bound = session.bind(images)
    for _ in range(3):
        bound()
    np.testing.assert_array_equal(bound.outputs()["y"], session.run(images)["y"])


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
