"""Whatever order a graph was written in, one order comes out; and it computes the same."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from precbench.graph import OnnxModel, graph_difference, load_model
from precbench.graph.ordering import in_order
from precbench.graph.partition import with_values

BRANCHES = """<ir_version: 10, opset_import: ["" : 17]>
g (float[2] x, bool which) => (float[2] y) <float[2] v = {3,4}, float[2] w = {1,2}>
{ a = Exp(x) b = Neg(x) c = Mul(a, w) d = Mul(b, v)
  e = If (which) <
    then_branch = t () => (float[2] o) <float[2] s = {5,6}, float[2] r = {7,8}>
      { p = Add(c, s) q = Add(c, r) o = Mul(p, q) },
    else_branch = f () => (float[2] i) { i = Identity(d) }
  >
  y = Add(e, a) }"""


def shuffled(graph: onnx.GraphProto, random: Any) -> None:
    """Put nodes in another topological order, and initializers in any."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                shuffled(attribute.g, random)
    left, known = list(graph.node), set[str]()
    made = {name for node in graph.node for name in node.output}
    ordered = []
    while left:
        ready = [node for node in left if not (made & reads(node)) - known]
        node = random.choice(ready)
        left.remove(node)
        ordered.append(node)
        known.update(node.output)
    tensors = list(graph.initializer)
    random.shuffle(tensors)
    copy = onnx.GraphProto(node=ordered, initializer=tensors)
    graph.ClearField("node")
    graph.ClearField("initializer")
    graph.MergeFrom(copy)


def reads(node: onnx.NodeProto) -> set[str]:
    graphs = [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
    return {*node.input, *(name for graph in graphs for inner in graph.node for name in inner.input)}


@given(st.randoms(use_true_random=False))
def test_any_order_comes_out_the_same(random: Any) -> None:
    proto = onnx.parser.parse_model(BRANCHES)
    expected = in_order(OnnxModel(proto=proto, folder=Path())).proto
    other = onnx.ModelProto()
    other.CopyFrom(proto)
    shuffled(other.graph, random)
    before = other.SerializeToString()
    assert in_order(OnnxModel(proto=other, folder=Path())).proto == expected
    assert other.SerializeToString() == before


def test_the_order_is_topological_and_computes_the_same(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(BRANCHES)
    ordered = in_order(OnnxModel(proto=proto, folder=Path())).proto
    (tmp_path / "m.onnx").write_bytes(ordered.SerializeToString())
    load_model(tmp_path / "m.onnx")  # checks the order
    for which in (True, False):
        feeds = {"x": np.array([0.5, -1], np.float32), "which": np.array(which)}
        (expected,), (found,) = (ReferenceEvaluator(each).run(None, feeds) for each in (proto, ordered))
        assert found.tobytes() == expected.tobytes()


def test_a_large_model_in_order_is_still_the_same_graph(build: Any) -> None:
    model = OnnxModel(proto=build(), folder=Path())
    ordered = in_order(model)
    assert [tensor.name for tensor in ordered.proto.graph.initializer] == sorted(
        tensor.name for tensor in model.proto.graph.initializer
    )
    assert graph_difference(in_order(ordered), ordered) is None


def test_replaced_values_would_lose_their_place(saved_external: Any, build: Any) -> None:
    model = load_model(saved_external(build()))
    with pytest.raises(ValueError, match="positions"):
        in_order(with_values(model, {6: np.ones((4, 5), np.float32)}))
