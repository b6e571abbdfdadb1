"""What float16 makes zero and must not: a small constant that guards a division, a root or a logarithm.

float16's smallest normal number is 6.1e-5, and what lies below 3e-8 becomes zero. A weight or a bias that does so is
harmless. The epsilon of a normalisation, written as Add, Sqrt, Div, is not: where it is lost, the quotient is NaN.
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from onnx import NodeProto

from precbench.deploy.fp16.facts import Facts
from precbench.deploy.int8.plain_graph import attribute, is_standard

_TINY = float(np.finfo(np.float16).tiny)
_GUARDS = ("Add", "Sub", "Max", "Clip")
"""What a small constant keeps a value from zero with."""

_PASSES_ON = ("Sqrt", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Expand")
_SUFFERS = {"Div": 1, "Log": 0, "Reciprocal": 0, "Pow": 0}
"""Operator to its input of which zero gives NaN or infinity."""

_EPSILON = 1e-5  # ONNX's own default
_VARIANCE = 4  # BatchNormalization's input


def values_to_guard(nodes: Sequence[NodeProto]) -> set[str]:
    """Return the values that must not become zero: those that a division, root or logarithm reads, and their like."""
    found = set[str]()
    for node in reversed(nodes):
        if is_standard(node, *_SUFFERS):
            found.add(node.input[_SUFFERS[node.op_type]])
        elif is_standard(node, *_PASSES_ON) and node.output[0] in found:
            found.add(node.input[0])
    return found


def is_small(node: NodeProto, facts: Facts, guarded: Collection[str], small: Collection[str]) -> bool:
    """Return whether a node's output may be below float16's smallest normal number, and must not become zero.

    Args:
        node: in the graph's order.
        facts: of the model.
        guarded: see `values_to_guard`.
        small: values of which that is so already.
    """
    return _is_lost_guard(node, facts, guarded) or (is_standard(node, *_PASSES_ON) and node.input[0] in small)


def underflows(node: NodeProto, facts: Facts, guarded: Collection[str], small: Collection[str]) -> Iterator[str]:
    """Yield why a node has to stay in float32, where what it reads or holds would become zero.

    Args:
        node: that may compute in float16.
        facts: of the model.
        guarded: see `values_to_guard`.
        small: values that may be below float16's smallest normal number, and must not become zero.
    """
    if is_standard(node, *_SUFFERS):
        name = node.input[_SUFFERS[node.op_type]]
        if _is_lost(name, facts):
            yield f"the constant {name!r} is {facts.largest[name]:.3g}, which float16 makes zero"
        yield from _observed(name, facts)
    elif _is_lost_guard(node, facts, guarded):
        lost = next(name for name in node.input if _is_lost(name, facts))
        yield f"the constant {lost!r} is {facts.largest[lost]:.3g}, which float16 makes zero"
    read = next((name for name in node.input if name in small), None)
    if read is not None and is_standard(node, *_SUFFERS, *_PASSES_ON):
        yield f"{read!r} may be so small that float16 makes it zero"
    if is_standard(node, "BatchNormalization"):
        yield from _variance(node, facts)


def _is_lost_guard(node: NodeProto, facts: Facts, guarded: Collection[str]) -> bool:
    return (
        is_standard(node, *_GUARDS)
        and node.output[0] in guarded
        and any(_is_lost(name, facts) for name in node.input if name)
    )


def _is_lost(name: str, facts: Facts) -> bool:
    """Whether a constant is not zero, and nothing is left of it in float16."""
    return 0 < facts.largest.get(name, 0.0) < _TINY and float(np.float16(facts.largest[name])) == 0.0


def _observed(name: str, facts: Facts) -> Iterator[str]:
    low, high = facts.ranges.get(name, (1.0, 1.0))
    if 0 < low < _TINY or -_TINY < high < 0:
        nearest = low if low > 0 else high
        yield f"{name!r} comes as near to zero as {nearest:.3g}, below float16's smallest normal number, {_TINY:.2g}"


def _variance(node: NodeProto, facts: Facts) -> Iterator[str]:
    epsilon = float(attribute(node, "epsilon", _EPSILON))
    name = node.input[_VARIANCE]
    least = facts.smallest.get(name, 0.0)
    if 0 < least < _TINY and least + epsilon < _TINY:
        yield f"a variance in {name!r} is {least:.3g} with an epsilon of {epsilon:.3g}, too small for float16"
