"""What becomes zero in float16, and which nodes stay in float32 for that.

A constant matters where it is lost as a whole: an epsilon, a lower limit, a factor. Elements of a larger tensor are
lost beside others and cost nothing that is seen, nor does a bias. What the epsilon protects is a root, a logarithm or a
division after it, so that nothing on the way there may pass through float16 either; an inverse may be as large as the
epsilon is small, so that it must not pass through before it is multiplied; and the squares to which the epsilon is
added are lost sooner than what is squared.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from onnx import NodeProto, TensorProto

from precbench.deploy.fp16.facts import REARRANGES, Facts
from precbench.deploy.int8.plain_graph import attribute, is_standard

SMALLEST_NORMAL = float(np.finfo(np.float16).tiny)
"""6.1e-05, from which on float16 rounds by its full precision."""

_VANISHES = 2.0**-25  # the largest number that float16 rounds to zero
_LOST_PART = 1 / 32  # a usual epsilon of 1e-05 is off by a thousandth and may be; one of 1e-07 is off by a fifth
_HARMLESS = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "LayerNormalization"), (2,)),
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization"), (2,)),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), (3,)),
    "BatchNormalization": (2, 3, 4),  # the variance counts together with the epsilon
}
_NORMALIZES = (
    *("BatchNormalization", "GroupNormalization", "InstanceNormalization"),
    *("LayerNormalization", "RMSNormalization"),
)
_REDUCES = ("GlobalAveragePool", "ReduceL1", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")
_LIMITS = ("Clip", "Max", "Min", "Relu", "Where")
_PASSES = (*REARRANGES, *_REDUCES, *_LIMITS, "Abs", "Concat", "Gather", "Neg", "Slice", "Split")
_OF_SMALL = (*_PASSES, "Add", "Mul", "Pow", "Sqrt", "Sub", "Sum")  # they make what is small of what is small
_SENSITIVE = ("Div", "Log", "Pow", "Reciprocal", "Sqrt")
_SMALL, _INVERSE = "small", "inverse"
_INVERTED = {_SMALL: _INVERSE, _INVERSE: _SMALL}


def reasons_in_constants(node: NodeProto, names: Sequence[str], facts: Facts) -> Iterator[str]:
    """Yield why a node that would have these values in float16 loses a constant that matters.

    Args:
        node: the node.
        names: the values that it would read or make as float16.
        facts: what is known of the model.
    """
    lost = _vanishing(node, facts)
    for name in (name for name in names if name in lost):
        yield f"the constant {name!r} is {facts.largest[name]:g} at most, which is zero in float16"
    if _loses_epsilon(node, facts):
        yield "its epsilon, with the variance where that is known, is lost in float16"


def stay_together(nodes: Sequence[NodeProto], facts: Facts) -> dict[int, str]:
    """Return the nodes between which a small value must not pass through float16: position -> why.

    Nodes that are kept for a constant of their own are not told. What is observed speaks of one smallest magnitude only
    where a value has one sign.

    Args:
        nodes: the graph's nodes in topological order.
        facts: what is known of the model.
    """
    states = _states(nodes, facts)
    after, protected = _after_constants(nodes, states, facts)
    return _observed_small(nodes, facts) | _before_constants(nodes, protected, facts) | after


def _vanishing(node: NodeProto, facts: Facts) -> set[str]:
    """Return the constants of a node that matter and are zero in float16."""
    harmless = _HARMLESS.get(node.op_type, ()) if is_standard(node, *_HARMLESS) else ()
    names = [name for index, name in enumerate(node.input) if index not in harmless]
    return {name for name in (*names, *node.output) if 0 < facts.largest.get(name, 0.0) <= _VANISHES}


def _loses_epsilon(node: NodeProto, facts: Facts) -> bool:
    """Whether a normalisation that computes in float16 divides by the root of something else."""
    schema = facts.schema(node)
    if schema is None or not is_standard(node, *_NORMALIZES):
        return False
    if "stash_type" in schema.attributes and attribute(node, "stash_type", TensorProto.FLOAT) == TensorProto.FLOAT:
        return False  # it computes its statistics in float32 by definition
    variance = np.zeros(1, np.float32)
    if is_standard(node, "BatchNormalization"):
        variance = facts.small.get(node.input[4], variance)
    epsilon = np.float32(attribute(node, "epsilon", 1e-5))
    with np.errstate(over="ignore", under="ignore"):
        there = variance.astype(np.float16).astype(np.float32) + np.float32(np.float16(epsilon))
    wanted = variance + epsilon
    return bool(np.any(np.abs(wanted - there) > wanted * _LOST_PART))


def _states(nodes: Sequence[NodeProto], facts: Facts) -> dict[str, str]:
    """Return the values that such constants made small or, inverted, large."""
    states: dict[str, str] = {}
    for node in nodes:
        state = _state(node, states, facts)
        if state is not None:
            states.update((name, state) for name in node.output if _is_variable(name, facts))
    return states


def _state(node: NodeProto, states: Mapping[str, str], facts: Facts) -> str | None:
    lost = _vanishing(node, facts)
    if lost:
        return _INVERSE if is_standard(node, "Div") and node.input[1] in lost else _SMALL
    state = next((states[name] for name in node.input if name in states), None)
    return None if state is None else _state_after(node, state, states, facts)


def _state_after(node: NodeProto, state: str, states: Mapping[str, str], facts: Facts) -> str | None:
    """Return what a node makes of a small or inverted value; None where nothing is known of it."""
    if is_standard(node, "Reciprocal"):
        return _INVERTED[state]
    if is_standard(node, "Div"):
        return _state_of_quotient(node, states, facts)
    if is_standard(node, "Pow"):
        return _state_of_power(node, state, facts)
    if is_standard(node, "Add", "Sum"):
        return state if all(name in states for name in node.input) else None
    if is_standard(node, "Mul"):
        return state if state == _SMALL or _has_constant(node, facts) else None
    return state if is_standard(node, "Sqrt", *_PASSES) else None


def _state_of_quotient(node: NodeProto, states: Mapping[str, str], facts: Facts) -> str | None:
    above, below = node.input
    if above in facts.largest:
        return _INVERTED[states[below]]
    return states.get(above) if below in facts.largest else None


def _state_of_power(node: NodeProto, state: str, facts: Facts) -> str | None:
    exponent = facts.small.get(node.input[1])
    if exponent is None:
        return None
    return state if exponent.flat[0] >= 0 else _INVERTED[state]


def _is_variable(name: str, facts: Facts) -> bool:
    return facts.is_float(name) and name not in facts.largest


def _has_constant(node: NodeProto, facts: Facts) -> bool:
    return any(name in facts.largest for name in node.input)


def _after_constants(
    nodes: Sequence[NodeProto], states: Mapping[str, str], facts: Facts
) -> tuple[dict[int, str], list[NodeProto]]:
    """Return the nodes on the way to what small values would spoil, and those whose constants are needed there."""
    kept, protected, needed = dict[int, str](), list[NodeProto](), set[str]()
    for index, node in reversed(list(enumerate(nodes))):
        read = [name for name in node.input if name in states]
        lost, leads_on = _vanishing(node, facts), not needed.isdisjoint(node.output)
        if lost and leads_on:
            protected.append(node)
        if read and (lost or leads_on or _is_end(node, [states[name] for name in read], facts)):
            needed.update(read)
            kept[index] = f"it reads {read[0]!r}, which depends on a constant that is zero in float16"
    return kept, protected


def _is_end(node: NodeProto, read: Sequence[str], facts: Facts) -> bool:
    scales_back = is_standard(node, "Mul") and _INVERSE in read and not _has_constant(node, facts)
    return scales_back or is_standard(node, *_SENSITIVE)


def _before_constants(nodes: Sequence[NodeProto], protected: Sequence[NodeProto], facts: Facts) -> dict[int, str]:
    """Return the nodes that make the squares and products to which such a constant is added."""
    products: set[str] = set()
    for node in nodes:
        passed = is_standard(node, "Sqrt", *_PASSES) and not products.isdisjoint(node.input)
        if passed or _is_product(node, facts):
            products.update(node.output)
    kept, wanted = dict[int, str](), {name for node in protected for name in node.input} & products
    for index, node in reversed(list(enumerate(nodes))):
        made = [name for name in node.output if name in wanted]
        if made:
            kept[index] = f"it makes {made[0]!r} of products, to which a constant is added that is zero in float16"
            wanted.update(products.intersection(node.input))
    return kept


def _is_product(node: NodeProto, facts: Facts) -> bool:
    if is_standard(node, "Mul"):
        return not _has_constant(node, facts)
    return is_standard(node, "Pow", "ReduceL2", "ReduceSumSquare")


def _observed_small(nodes: Sequence[NodeProto], facts: Facts) -> dict[int, str]:
    """Return the nodes that divide by what was observed near zero or take its logarithm, and those that make it."""
    kept, wanted = dict[int, str](), set[str]()
    for index, node in reversed(list(enumerate(nodes))):
        made = [name for name in node.output if name in wanted]
        if made:
            kept[index] = f"it makes {_told(made[0], facts)}"
            if is_standard(node, *_OF_SMALL):
                wanted.update(name for name in node.input if _is_small(name, facts))
        divisors = [name for name in _divisors(node, facts) if _is_small(name, facts)]
        if divisors:
            kept[index] = f"it divides by {_told(divisors[0], facts)}"
            if is_standard(node, "Log"):
                kept[index] = f"it takes the logarithm of {_told(divisors[0], facts)}"
            wanted.update(divisors)
    return kept


def _divisors(node: NodeProto, facts: Facts) -> list[str]:
    if is_standard(node, "Div"):
        return [node.input[1]]
    exponent = facts.small.get(node.input[1]) if is_standard(node, "Pow") else None
    inverts = exponent is not None and exponent.flat[0] < 0
    return [node.input[0]] if inverts or is_standard(node, "Log", "Reciprocal") else []


def _is_small(name: str, facts: Facts) -> bool:
    """Whether a value of one sign was observed below float16's normal numbers; constants are known instead."""
    return name in facts.ranges and name not in facts.largest and 0 <= _nearest(name, facts) < SMALLEST_NORMAL


def _nearest(name: str, facts: Facts) -> float:
    """Return how near to zero a value was observed; negative where both signs were: the ends do not tell it then."""
    lowest, highest = facts.ranges[name]
    return max(lowest, -highest)


def _told(name: str, facts: Facts) -> str:
    return f"{name!r}, observed down to {_nearest(name, facts):g}, below float16's normal numbers"
