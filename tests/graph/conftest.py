"""Small ONNX models, each with a trait that a stranger's file may have."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

BuildModel = Callable[..., onnx.ModelProto]


def _conv_bn_gemm(*, dtype: type = np.float32, raw: bool = True, seed: int = 0) -> onnx.ModelProto:
    """Conv + BatchNormalization + MatMul + Add over [batch, 3, 8, 8], with a shape constant and metadata."""
    rng = np.random.default_rng(seed)
    arrays = {
        "stem/kernel": rng.normal(0, 0.3, (4, 3, 3, 3)).astype(dtype),
        "stem/bias": rng.normal(0, 0.3, 4).astype(dtype),
        "bn/gamma": rng.normal(1, 0.3, 4).astype(dtype),
        "bn/beta": rng.normal(0, 0.3, 4).astype(dtype),
        "bn/mean": rng.normal(0, 0.3, 4).astype(dtype),
        "bn/var": rng.uniform(0.5, 2, 4).astype(dtype),
        "head/kernel": rng.normal(0, 0.3, (4, 5)).astype(dtype),
        "head/bias": rng.normal(0, 0.3, 5).astype(dtype),
        "shape": np.array([0, 4], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["x", "stem/kernel", "stem/bias"], ["a"], name="stem"),
        helper.make_node("BatchNormalization", ["a", "bn/gamma", "bn/beta", "bn/mean", "bn/var"], ["b"], name="bn"),
        helper.make_node("GlobalAveragePool", ["b"], ["c"], name="pool"),
        helper.make_node("Reshape", ["c", "shape"], ["d"], name="flatten"),
        helper.make_node("MatMul", ["d", "head/kernel"], ["e"], name="head"),
        helper.make_node("Add", ["e", "head/bias"], ["y"], name="head_add", doc_string="kept"),
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", kind, ["batch", 5])],
        [_tensor(name, array, raw=raw) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    model.metadata_props.add(key="author", value="someone")
    return model


def _tensor(name: str, array: np.ndarray, *, raw: bool) -> TensorProto:
    if raw:
        return numpy_helper.from_array(array, name)
    return helper.make_tensor(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, array.reshape(-1))


@pytest.fixture
def build() -> BuildModel:
    return _conv_bn_gemm


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[onnx.ModelProto], Path]:
    def save(model: onnx.ModelProto) -> Path:
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return save


@pytest.fixture
def saved_external(tmp_path: Path) -> Callable[[onnx.ModelProto], Path]:
    def save(model: onnx.ModelProto) -> Path:
        path = tmp_path / "external.onnx"
        onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
        return path

    return save
