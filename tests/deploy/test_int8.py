"""A float model becomes an integer one: exact codes, close outputs, plain ONNX, models that are not ours."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from precbench.deploy.int8.quantizing import LEAST_SAMPLES, Quantized, quantize
from precbench.errors import DataError, ModelError, UsageError
from precbench.graph import OnnxModel, load_model, save_model

from .conftest import calibration, images, network, parsed

LEVELS = 0.06
"""Of the largest output: a few levels of eight bits, after a handful of layers."""


def as_model(proto: onnx.ModelProto) -> OnnxModel:
    return OnnxModel(proto=proto, folder=Path())


def run(proto: onnx.ModelProto, feeds: dict[str, NDArray[Any]], *, optimized: bool = True) -> NDArray[Any]:
    options = onnxruntime.SessionOptions()
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return np.asarray(session.run(None, feeds)[0])


def optimized_ops(proto: onnx.ModelProto, folder: Path) -> list[str]:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node]


@pytest.fixture(scope="module")
def quantized() -> Quantized:
    return quantize(as_model(network()), calibration("x", images(64)))


def arrays(proto: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def test_its_outputs_are_the_float_models_to_a_few_levels(quantized: Quantized) -> None:
    x = images(100, seed=9)
    expected, found = run(network(), {"x": x}), run(quantized.model.proto, {"x": x})
    assert np.abs(expected - found).max() < LEVELS * np.abs(expected).max()
    assert np.mean(expected.argmax(axis=1) == found.argmax(axis=1)) > 0.9


def test_onnx_reference_agrees_with_onnx_runtime_with_and_without_optimizations(quantized: Quantized) -> None:
    x = images(8, seed=2)
    fused, plain = (run(quantized.model.proto, {"x": x}, optimized=on) for on in (True, False))
    reference = ReferenceEvaluator(quantized.model.proto).run(None, {"x": x})[0]
    assert np.abs(plain - reference).max() < LEVELS / 2 * np.abs(reference).max()
    assert np.abs(fused - plain).max() < LEVELS / 2 * np.abs(reference).max()


def test_onnx_runtime_executes_every_convolution_in_integers(quantized: Quantized, tmp_path: Path) -> None:
    ops = optimized_ops(quantized.model.proto, tmp_path)
    assert ops.count("QLinearConv") == 6
    assert "MatMulIntegerToFloat" in ops
    assert {"QLinearAdd", "QLinearGlobalAveragePool"} <= set(ops)
    assert not {"Conv", "Gemm", "MatMul"} & set(ops)
    assert ops.count("DequantizeLinear") == 0  # no weight is dequantized in every call


def test_codes_times_steps_are_weights_on_a_decimal_grid_per_channel(quantized: Quantized) -> None:
    tensors = arrays(quantized.model.proto)
    kernels = [name.removesuffix("/codes") for name in tensors if name.endswith("/codes")]
    assert len(kernels) == 7
    for name in kernels:
        codes, steps = tensors[f"{name}/codes"], tensors[f"{name}/step"]
        assert codes.dtype == np.int8
        assert np.abs(codes.astype(int)).max() <= 127
        for step in steps:
            mantissa = f"{step:.2e}".split("e")[0]
            assert np.float32(f"{step:.2e}") == step
            assert mantissa in {"1.00", "1.25", "1.60", "2.00", "2.50", "3.15", "4.00", "5.00", "6.30", "8.00"}


def test_biases_are_whole_multiples_of_input_scale_times_step(quantized: Quantized) -> None:
    proto = quantized.model.proto
    tensors, nodes = arrays(proto), {node.output[0]: node for node in proto.graph.node}
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
    assert convolutions
    for conv in convolutions:
        scale = tensors[nodes[conv.input[0]].input[1]]
        steps = tensors[nodes[conv.input[1]].input[1]]
        codes = tensors[conv.input[2]] / (scale * steps)
        assert np.abs(codes - np.rint(codes)).max() < 1e-3


def test_batch_normalisation_padding_and_relu6_are_gone(quantized: Quantized) -> None:
    ops = {node.op_type for node in quantized.model.proto.graph.node}
    assert not ops & {"BatchNormalization", "Pad", "Clip"}


def test_it_passes_the_full_check_and_has_no_operator_of_others(quantized: Quantized) -> None:
    onnx.checker.check_model(quantized.model.proto, full_check=True)
    assert {node.domain for node in quantized.model.proto.graph.node} == {""}


def test_the_model_given_is_not_modified() -> None:
    proto = network()
    before = proto.SerializeToString(deterministic=True)
    quantize(as_model(proto), calibration("x", images(32)))
    assert proto.SerializeToString(deterministic=True) == before


def test_the_same_call_gives_the_same_model() -> None:
    first, second = (quantize(as_model(network()), calibration("x", images(32))).model.proto for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_any_batch_size_runs(quantized: Quantized) -> None:
    for rows in (1, 3, 33):
        assert run(quantized.model.proto, {"x": images(rows)}).shape == (rows, 5)


@pytest.mark.parametrize("opset", [11, 12, 13, 21])
def test_opsets_from_11_on(opset: int) -> None:
    proto = network(opset=opset)
    found = quantize(as_model(proto), calibration("x", images(32))).model.proto
    x = images(20, seed=4)
    expected = run(proto, {"x": x})
    assert np.abs(expected - run(found, {"x": x})).max() < LEVELS * np.abs(expected).max()


def test_external_data_and_a_channels_first_input_with_a_bias(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model = parsed(
        """vgg (float[n, 3, 12, 12] x) => (float[n, 4] y) {
            a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w1, b1)
            r = Relu (a)
            p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)
            f = Flatten (p)
            h = Gemm <transB = 1> (f, w2, b2)
            hr = Relu (h)
            z = MatMul (hr, w3)
            y = Softmax (z)
        }""",
        w1=rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        b1=rng.normal(0, 0.3, 8).astype(np.float32),
        w2=rng.normal(0, 0.2, (16, 72)).astype(np.float32),
        b2=rng.normal(0, 0.2, 16).astype(np.float32),
        w3=rng.normal(0, 0.5, (16, 4)).astype(np.float32),
    )
    path = tmp_path / "model.onnx"
    onnx.save(model.proto, path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    x = rng.normal(size=(64, 3, 12, 12)).astype(np.float32)
    found = quantize(load_model(path), calibration("x", x))
    save_model(found.model, tmp_path / "int8.onnx")
    expected = onnxruntime.InferenceSession(str(path)).run(None, {"x": x})[0]
    got = onnxruntime.InferenceSession(str(tmp_path / "int8.onnx")).run(None, {"x": x})[0]
    assert np.abs(expected - got).max() < LEVELS
    ops = optimized_ops(found.model.proto, tmp_path)
    assert {"QLinearConv", "QGemm"} <= set(ops)


def test_float_operators_between_stay_and_fixed_batches_run() -> None:
    rng = np.random.default_rng(1)
    model = parsed(
        """mixed (float[4, 8, 6, 6] x) => (float[4, 6, 6, 6] y) {
            a = Conv (x, w1)
            s = Sigmoid (a)
            m = Mul (a, s)
            c = Conv (m, w2)
            l = LeakyRelu (c)
            y = Conv (l, w3)
        }""",
        w1=rng.normal(0, 0.4, (8, 8, 1, 1)).astype(np.float32),
        w2=rng.normal(0, 0.4, (8, 8, 1, 1)).astype(np.float32),
        w3=rng.normal(0, 0.4, (6, 8, 1, 1)).astype(np.float32),
    )
    x = rng.normal(size=(32, 8, 6, 6)).astype(np.float32)
    found = quantize(model, calibration("x", x, rows=4))
    expected, got = run(model.proto, {"x": x[:4]}), run(found.model.proto, {"x": x[:4]})
    assert np.abs(expected - got).max() < LEVELS * np.abs(expected).max()


def test_a_dead_channel_does_no_harm() -> None:
    proto = network()
    for tensor in proto.graph.initializer:
        if tensor.name == "expand/gamma":
            gamma = numpy_helper.to_array(tensor).copy()
            gamma[3] = 0.0
            tensor.CopyFrom(numpy_helper.from_array(gamma, tensor.name))
    found = quantize(as_model(proto), calibration("x", images(32)))
    x = images(20, seed=5)
    expected = run(proto, {"x": x})
    assert np.abs(expected - run(found.model.proto, {"x": x})).max() < LEVELS * np.abs(expected).max()


@pytest.mark.parametrize("limits", [(-6.0, 6.0), (0.0, 1.5), (-2.0, 2.0)])
def test_limits_of_a_clip_cut_where_they_did(limits: tuple[float, float]) -> None:
    rng = np.random.default_rng(3)
    model = parsed(
        """clipped (float[n, 8, 6, 6] x) => (float[n, 6, 6, 6] y) {
            a = Conv (x, w1, b1)
            c = Clip (a, low, high)
            b = Conv (c, w2)
            y = Relu (b)
        }""",
        w1=rng.normal(0, 0.15, (16, 8, 1, 1)).astype(np.float32),
        b1=rng.uniform(-4, 0, 16).astype(np.float32),
        w2=rng.normal(0, 0.4, (6, 16, 1, 1)).astype(np.float32),
        low=np.array(limits[0], np.float32),
        high=np.array(limits[1], np.float32),
    )
    x = rng.normal(0, 2, size=(64, 8, 6, 6)).astype(np.float32)
    expected = run(model.proto, {"x": x})
    found = run(quantize(model, calibration("x", x)).model.proto, {"x": x})
    assert np.abs(expected - found).max() < LEVELS * np.abs(expected).max()


@pytest.mark.parametrize("method", ["min-max", "percentile", "entropy"])
def test_every_calibration_method_gives_a_working_model(method: str) -> None:
    found = quantize(as_model(network()), calibration("x", images(64)), method=method)
    x = images(60, seed=6)
    expected, got = run(network(), {"x": x}), run(found.model.proto, {"x": x})
    assert np.mean(expected.argmax(axis=1) == got.argmax(axis=1)) > 0.8
    assert found.about["calibration"]["method"] == method


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(DataError, match=f"at least {LEAST_SAMPLES}"):
        quantize(as_model(network()), calibration("x", images(LEAST_SAMPLES - 1)))


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="percentil") as refusal:
        quantize(as_model(network()), calibration("x", images(32)), method="percentil")
    assert "percentile" in refusal.value.remedy


def test_a_model_without_weights_is_refused() -> None:
    model = parsed("plain (float[n, 4] x) => (float[n, 4] y) { y = Relu (x) }")
    with pytest.raises(ModelError, match="nothing in the model can run in integers"):
        quantize(model, calibration("x", np.zeros((32, 4), np.float32)))


def test_control_flow_is_refused() -> None:
    model = parsed(
        """flow (float[n, 4] x, bool c) => (float[n, 4] y) {
            h = MatMul (x, w)
            y = If (c) <then_branch = yes () => (float[n, 4] t) { t = Relu (h) },
                        else_branch = no () => (float[n, 4] e) { e = Identity (h) }>
        }""",
        w=np.eye(4, dtype=np.float32),
    )
    with pytest.raises(ModelError, match="control flow") as refusal:
        quantize(model, calibration("x", np.zeros((32, 4), np.float32)))
    assert "packed" in refusal.value.remedy


def test_activations_that_are_not_finite_are_refused() -> None:
    x = images(32)
    x[3, 2, 1, 0] = np.inf
    with pytest.raises(ModelError, match="NaN or infinite on the calibration data"):
        quantize(as_model(network()), calibration("x", x))


def test_a_network_that_hardly_varies_is_not_fitted_to_rounding_errors() -> None:
    """Of inputs that are nearly constant, float32 sums of squares leave no variance, only noise to fit to."""
    rng = np.random.default_rng(2)
    model = parsed(
        "flat (float[n, 256] x) => (float[n, 4] y) { y = Gemm <transB = 1> (x, w, b) }",
        w=rng.normal(0, 0.3, (4, 256)).astype(np.float32),
        b=rng.normal(0, 1, 4).astype(np.float32),
    )
    x = (7 + 1e-4 * rng.normal(size=(1024, 256))).astype(np.float32)
    found = quantize(model, calibration("x", x))
    tensors = arrays(found.model.proto)
    weights = tensors["y/kernel/codes"] * tensors["y/kernel/step"]
    original = arrays(model.proto)["w"].T
    assert np.abs(weights - original).max() <= tensors["y/kernel/step"].max()  # rounded, cut off at most, not moved
