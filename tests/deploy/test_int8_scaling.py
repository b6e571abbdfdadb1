"""Equalised channels and grouped pixels: the graph computes what it computed, and the integer model profits."""

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from precbench.deploy.int8.equalising import equalise
from precbench.deploy.int8.folding import fold
from precbench.deploy.int8.grouped_pixels import group_pixels
from precbench.deploy.int8.plain_graph import PlainGraph
from precbench.deploy.int8.planning import plan
from precbench.deploy.int8.quantizing import quantize
from precbench.graph import OnnxModel

from .conftest import calibration, images, network, parsed
from .test_int8 import as_model

RNG = np.random.default_rng(0)


def run(proto: onnx.ModelProto, x: NDArray[np.float32], output: str | None = None) -> NDArray[np.float32]:
    probed = onnx.ModelProto()
    probed.CopyFrom(proto)
    if output is not None:
        del probed.graph.output[:]
        probed.graph.output.append(onnx.ValueInfoProto(name=output))
    return np.asarray(onnxruntime.InferenceSession(probed.SerializeToString()).run(None, {"x": x})[0])


def uneven(activation: str, group: int) -> OnnxModel:
    """A convolution whose channels differ a hundredfold, and one behind that reads them all alike."""
    sizes = np.array([1, 0.1, 0.03, 0.01, 2, 0.5, 0.02, 1.5], np.float32)
    kernel = RNG.uniform(0.1, 0.5, (8, 4, 1, 1)).astype(np.float32)
    behind = RNG.normal(0, 1, (8, 8 // group, 1, 1)).astype(np.float32) / (
        sizes.reshape(1, 8, 1, 1) if group == 1 else sizes.reshape(8, 1, 1, 1)
    )
    return parsed(
        f"""g (float[n, 4, 6, 6] x) => (float[n, 8, 6, 6] y) {{
            a = Conv (x, w1, b1)
            r = {activation}
            y = Conv <group = {group}> (r, w2)
        }}""",
        w1=kernel * sizes.reshape(-1, 1, 1, 1),
        b1=sizes / 10,
        w2=behind.astype(np.float32),
        zero=np.array(0, np.float32),
        six=np.array(6, np.float32),
    )


X = RNG.normal(size=(64, 4, 6, 6)).astype(np.float32)


@pytest.mark.parametrize("activation", ["Relu (a)", "Clip (a, zero, six)"])
@pytest.mark.parametrize("group", [1, 8])
def test_equalised_channels_all_reach_the_range_of_their_tensor(activation: str, group: int) -> None:
    model = uneven(activation, group)
    graph = PlainGraph.of(model)
    scaled = equalise(graph, plan(graph), calibration("x", X))
    highest = run(graph.to_proto(), X, "r").max(axis=(0, 2, 3))
    assert scaled >= 7
    assert np.allclose(highest[[0, 1, 4, 5, 7]], highest.max(), rtol=1e-3)
    assert highest.min() > highest.max() / 6  # factors of at most 64
    assert np.allclose(run(graph.to_proto(), X), run(model.proto, X), rtol=1e-3, atol=1e-3)


def test_small_channels_are_exact_in_the_integer_model() -> None:
    model = uneven("Relu (a)", 8)
    found = quantize(model, calibration("x", X))
    expected, got = run(model.proto, X), run(found.model.proto, X)
    assert found.about["equalised_channels"] >= 7
    largest = np.abs(expected).max(axis=(0, 2, 3))
    assert (np.abs(expected - got).max(axis=(0, 2, 3)) < 0.05 * largest).all()


@pytest.mark.parametrize(
    ("strides", "kernel", "pads"),
    [(1, 4, [1, 2, 2, 1]), (2, 3, [0, 0, 1, 1]), (2, 3, [1, 1, 0, 0]), (1, 5, [2, 2, 2, 2]), (2, 2, [0, 0, 0, 0])],
)
@pytest.mark.parametrize("channels_last", [True, False])
def test_grouped_pixels_compute_what_the_convolution_did(
    strides: int, kernel: int, pads: list[int], channels_last: bool
) -> None:
    shape = (3, 8, 16, 3) if channels_last else (3, 3, 8, 16)
    source = "t = Transpose <perm = [0, 3, 1, 2]> (x)" if channels_last else "t = Identity (x)"
    model = parsed(
        f"""g (float[{", ".join(map(str, shape))}] x) => (float[3, 5, h, v] y) {{ {source}
            a = Conv <strides = [{strides}, {strides}], pads = {pads}> (t, w, b) y = Relu (a) }}""",
        w=RNG.normal(size=(5, 3, kernel, kernel)).astype(np.float32),
        b=RNG.normal(size=5).astype(np.float32),
    )
    graph = PlainGraph.of(model)
    fold(graph)
    x = RNG.normal(size=shape).astype(np.float32)
    assert group_pixels(graph)
    grouped = next(node for node in graph.nodes if node.op_type == "Conv")
    assert graph.constants[grouped.input[1]].shape[1] % 4 == 0
    assert np.allclose(run(graph.to_proto(), x), run(model.proto, x), atol=1e-4)


def test_the_stem_of_the_integer_model_reads_channels_by_fours() -> None:
    found = quantize(as_model(network()), calibration("x", images(32)))
    assert any(row.name.endswith("/grouped") for row in found.tensors)
