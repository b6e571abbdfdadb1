"""A small network with the traits of a real one, data for it, and models that are not ours."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from precbench.deploy.int8.ranges import Calibration
from precbench.graph import OnnxModel

SIZE, CLASSES = 16, 5


def parsed(graph: str, *, opset: int = 17, **tensors: NDArray[Any]) -> OnnxModel:
    """A model from ONNX's text, with initializers beside those in the text."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {graph}')
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in tensors.items())
    onnx.checker.check_model(proto)
    return OnnxModel(proto=proto, folder=Path())


def network(*, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Stem with padding apart, batch normalisation, ReLU6, depthwise, a residual Add, pooling, a dense layer."""
    rng = np.random.default_rng(seed)
    weights: dict[str, NDArray[Any]] = {}
    nodes = []

    def conv(source: str, name: str, shape: tuple[int, ...], *, cut: bool = True, **attributes: Any) -> str:
        fan = np.prod(shape[1:])
        weights[f"{name}/kernel"] = rng.normal(0, (2 / fan) ** 0.5, shape).astype(np.float32)
        nodes.append(helper.make_node("Conv", [source, f"{name}/kernel"], [f"{name}/y"], name=name, **attributes))
        for what, low, high in (("gamma", 0.5, 1.5), ("beta", -0.5, 1), ("mean", -0.3, 0.3), ("variance", 0.3, 2)):
            weights[f"{name}/{what}"] = rng.uniform(low, high, shape[0]).astype(np.float32)
        norm = [f"{name}/{what}" for what in ("y", "gamma", "beta", "mean", "variance")]
        nodes.append(helper.make_node("BatchNormalization", norm, [f"{name}/bn"], name=f"{name}_bn"))
        if not cut:
            return f"{name}/bn"
        nodes.append(helper.make_node("Clip", [f"{name}/bn", "zero", "six"], [f"{name}/relu"], name=f"{name}_relu"))
        return f"{name}/relu"

    weights["zero"], weights["six"] = np.array(0, np.float32), np.array(6, np.float32)
    weights["pads"] = np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64)
    nodes.append(helper.make_node("Transpose", ["x"], ["nchw"], name="nchw", perm=[0, 3, 1, 2]))
    nodes.append(helper.make_node("Pad", ["nchw", "pads"], ["padded"], name="pad"))
    stem = conv("padded", "stem", (16, 3, 3, 3), strides=[2, 2])
    depth = conv(stem, "depthwise", (16, 1, 3, 3), group=16, pads=[1, 1, 1, 1])
    first = conv(depth, "project", (8, 16, 1, 1), cut=False)
    wide = conv(first, "expand", (32, 8, 1, 1))
    second = conv(wide, "project2", (8, 32, 1, 1), cut=False)
    nodes.append(helper.make_node("Add", [first, second], ["sum"], name="add"))
    last = conv("sum", "last", (24, 8, 1, 1))
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"], name="pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten"))
    weights["dense/kernel"] = rng.normal(0, 0.5, (24, CLASSES)).astype(np.float32)
    weights["dense/bias"] = rng.normal(0, 0.1, CLASSES).astype(np.float32)
    nodes.append(helper.make_node("Gemm", ["flat", "dense/kernel", "dense/bias"], ["scores"], name="dense"))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def images(count: int, *, seed: int = 1) -> NDArray[np.float32]:
    """Smooth patterns and noise, as a network's input."""
    rng = np.random.default_rng(seed)
    waves = np.sin(np.linspace(0, 6, SIZE)[None, :, None, None] * rng.uniform(0.3, 2, (count, 1, 1, 3)))
    return (waves + rng.normal(0, 0.3, (count, SIZE, SIZE, 3))).astype(np.float32)


def calibration(name: str, data: NDArray[np.float32], *, rows: int = 16) -> Calibration:
    def chunks() -> Iterator[Mapping[str, NDArray[Any]]]:
        for start in range(0, len(data), rows):
            yield {name: data[start : start + rows]}

    return Calibration(chunks=chunks, samples=len(data), description={"source": "drawn"})


@pytest.fixture(scope="session")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "network.onnx"
    onnx.save(network(), path)
    return path


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory, network_file: Path) -> Path:
    """Inputs with labels: what the network itself says, one in ten another class."""
    import onnxruntime

    x = images(400)
    scores = onnxruntime.InferenceSession(str(network_file)).run(None, {"x": x})[0]
    labels = scores.argmax(axis=1)
    labels[::10] = (labels[::10] + 1) % CLASSES
    path = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(path, x=x, labels=labels.astype(np.int64))
    return path
