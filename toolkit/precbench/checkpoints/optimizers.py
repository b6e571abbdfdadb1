"""tf2onnx's optimizers, held back from what would change a variable.

Left out: the fusion of Conv and BatchNormalization, and the product of a constant and a kernel. Held back from
variables: constant folding other than of their layout. Left as they are: transposes of 1x1 images, which tf2onnx
turns into reshapes, so that they no longer cancel.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from precbench.checkpoints.tags import TaggedVariable, is_tagged
from precbench.checkpoints.tensorflow_quietly import import_quietly

_LAYOUT_ONLY = frozenset({"Transpose", "Reshape", "Unsqueeze", "Squeeze", "Identity"})


def optimize(graph: Any, variables: Sequence[TaggedVariable]) -> Any:
    """Return a tf2onnx graph with its transposes cancelled and layout changes of constants carried out.

    Args:
        graph: a tf2onnx graph; it is used up.
        variables: the variables whose tags are constants in the graph.
    """
    optimizer = import_quietly("tf2onnx.optimizer")
    factories = OrderedDict(optimizer._get_optimizers())
    factories["optimize_transpose"] = _transpose_optimizer()
    folding = _folding_optimizer()
    factories["fold_constants"] = lambda: folding(variables)
    with _without_fusion(), _without_copies():
        return optimizer.optimize_graph(graph, catch_errors=False, optimizers=factories)


@cache
def _transpose_optimizer() -> Any:
    base = import_quietly("tf2onnx.optimizer.transpose_optimizer").TransposeOptimizer

    class TransposesCancelled(base):  # type: ignore[misc, valid-type]
        def post_optimize_action(self) -> None:
            """Leave transposes of 1x1 images as they are: as reshapes they would no longer cancel."""

        def _mul_handler(self, trans: Any, node: Any) -> bool:
            """Never multiply a constant into the kernel of the convolution before it."""
            if trans.inputs[0].type == "Conv":
                return bool(self._handle_node_having_branches(trans, node))
            return bool(super()._mul_handler(trans, node))

    return TransposesCancelled


@cache
def _folding_optimizer() -> Any:
    base = import_quietly("tf2onnx.optimizer.const_fold_optimizer").ConstFoldOptimizer

    class FoldedExceptVariables(base):  # type: ignore[misc, valid-type]
        def __init__(self, variables: Sequence[TaggedVariable]) -> None:
            super().__init__()
            self._variables = variables

        def _fold_node(self, node: Any, graph: Any) -> bool:
            if node.type not in _LAYOUT_ONLY and any(self._is_variable(each) for each in node.inputs):
                return False
            if node.type == "Squeeze" and self._all_inputs_are_const(node.inputs):
                return self._fold_squeeze(node, graph)
            return bool(super()._fold_node(node, graph))

        def _fold_squeeze(self, node: Any, graph: Any) -> bool:
            """What the base class does for Unsqueeze, but not for Squeeze."""
            values, *axes = [each.get_tensor_value(as_list=False) for each in node.inputs]
            if self._is_graph_output(node, graph):
                return False
            squeezed = np.squeeze(values, tuple(int(axis) for axis in axes[0]) if axes else None)
            self._replace_node_with_const(node, graph, [squeezed])
            return True

        def _is_variable(self, node: Any) -> bool:
            return (
                node is not None
                and node.is_const()
                and is_tagged(node.get_tensor_value(as_list=False), self._variables)
            )

    return FoldedExceptVariables


@contextlib.contextmanager
def _without_fusion() -> Iterator[None]:
    handlers = import_quietly("tf2onnx.optimizer.back_to_back_optimizer")._func_map
    fusion = handlers.pop(("Conv", "BatchNormalization"))
    try:
        yield
    finally:
        handlers[("Conv", "BatchNormalization")] = fusion


@contextlib.contextmanager
def _without_copies() -> Iterator[None]:
    """Leave out the copy of every constant into a protobuf that follows each optimizer; `make_model` makes the last.

    VGG16 at 32x32 (134 MB) is converted in 1.2 s so, in 7.6 s otherwise.
    """
    graph_class = import_quietly("tf2onnx.graph").Graph
    update = graph_class.update_proto
    graph_class.update_proto = lambda _: None
    try:
        yield
    finally:
        graph_class.update_proto = update
