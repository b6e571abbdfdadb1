"""The written model: names never collide."""

import numpy as np

from precbench.deploy.int8.plain_graph import PlainGraph
from precbench.deploy.int8.quantizing import quantize

from .conftest import calibration, parsed


def test_tensors_whose_names_begin_alike_get_names_of_their_own() -> None:
    """The kernel of `c` is read from `c/kernel/dq`; the eight bits of the tensor `c/kernel` were too."""
    rng = np.random.default_rng(0)
    model = parsed(
        """g (float[n, 4, 3, 3] x) => (float[n, 4, 3, 3] y) {
            c = Conv (x, w1)
            d = Conv (c, w2)
            y = Conv (d, w3)
        }""",
        **{f"w{n}": rng.normal(size=(4, 4, 1, 1)).astype(np.float32) for n in (1, 2, 3)},
    )
    _, second, third = model.proto.graph.node
    second.output[0] = third.input[0] = "c/kernel"
    proto = quantize(model, calibration("x", rng.normal(size=(32, 4, 3, 3)).astype(np.float32))).model.proto
    names = [name for node in proto.graph.node for name in node.output]
    names += [tensor.name for tensor in proto.graph.initializer]
    assert len(names) == len(set(names))


def test_a_name_is_given_once() -> None:
    graph = PlainGraph.of(parsed("g (float[n] x) => (float[n] y) { y = Relu (x) }"))
    assert [graph.free_name("x"), graph.free_name("x"), graph.copy().free_name("x")] == ["x_", "x__", "x___"]
