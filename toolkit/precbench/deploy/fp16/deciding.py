"""Which nodes compute in float16, and why the others stay in float32.

Which inputs may be float16 is ONNX's word (its schemas); what ONNX Runtime's CUDA provider computes of that is in the
tables below. The parameters of BatchNormalization could stay float32 by ONNX's types, but that provider has a kernel
for one type throughout only (it computes in float32 inside), and folds the node into the Conv before it only where the
types agree: they become float16 with the node.

Source: ONNX Runtime's docs/OperatorKernels.md and, in core/providers, cuda/nn/batch_norm.cc,
cuda/reduction/reduction_ops.cc, cpu/tensor/upsamplebase.h; core/optimizer/conv_bn_fusion.cc.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto

from precbench.deploy.fp16.facts import LOOKS_AT_SHAPE, Facts
from precbench.deploy.fp16.vanishing import reasons_in_constants, stay_together
from precbench.deploy.int8.plain_graph import attribute, is_standard

HALF_LIMIT = float(np.finfo(np.float16).max)
"""65504, the largest number of float16. Constants are known, so this is their limit."""

OBSERVED_LIMIT = HALF_LIMIT / 2
"""The limit of what was observed. Calibration data are a sample: an input to come may reach further, and an overflow
costs the whole output where a node in float32 costs some time. Half leaves one binary order of magnitude."""

_CLIP_OPSET = 12  # ONNX has Clip for float16 from 11 on, ONNX Runtime from 12 on
_LOSES = {
    "ReduceSumSquare": "ONNX Runtime squares in float16 before it adds, where what is below 0.0002 becomes zero",
    "MeanVarianceNormalization": "its epsilon is 1e-09, which is zero in float16",
    "QuantizeLinear": "its scale is a step of the grid, which float16 would round",
    "DequantizeLinear": "its scale is a step of the grid, which float16 would round",
}
_SINGLE_INPUTS = {("Resize", 1)}  # the region of interest, which ONNX Runtime reads as float32 whatever its type
_TYPED = ("Cast", "ConstantOfShape")  # an attribute gives their output's type; they have float16 kernels everywhere
_COUNTS = "float16 holds whole numbers up to 2048 only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What becomes of a node.

    Attributes:
        node: the node.
        inputs: the positions that it reads as float16.
        outputs: those that it makes as float16.
        kept: why it stays in float32; None where it does not, or has nothing to do with floats.
    """

    node: NodeProto
    inputs: frozenset[int] = frozenset()
    outputs: frozenset[int] = frozenset()
    kept: str | None = None

    @property
    def made_half(self) -> set[str]:
        """The values that it makes as float16."""
        return {self.node.output[index] for index in self.outputs}


def decide(nodes: Sequence[NodeProto], facts: Facts) -> list[Plan]:
    """Return what becomes of each node, in the graph's order."""
    together = stay_together(nodes, facts)
    plans = [_kept_with_others(_plan(node, facts), together.get(index)) for index, node in enumerate(nodes)]
    made_half = {name for plan in plans for name in plan.made_half}
    return [_looking_at_what_is_there(plan, made_half) for plan in plans]


def _plan(node: NodeProto, facts: Facts) -> Plan:
    has_floats = any(facts.is_float(name) for name in (*node.input, *node.output))
    if not has_floats or is_standard(node, "Constant", *LOOKS_AT_SHAPE):
        return Plan(node=node)
    plan = _in_half(node, facts)
    reason = next(_reasons(plan, facts), None)
    return plan if reason is None else Plan(node=node, kept=reason)


def _kept_with_others(plan: Plan, reason: str | None) -> Plan:
    """A node has nothing to keep where it is kept already or computes without floats."""
    if reason is None or not (plan.inputs or plan.outputs):
        return plan
    return Plan(node=plan.node, kept=reason)


def _looking_at_what_is_there(plan: Plan, made_half: Collection[str]) -> Plan:
    """Asking for the shape of a value must cost no Cast."""
    if is_standard(plan.node, *LOOKS_AT_SHAPE) and plan.node.input[0] in made_half:
        return replace(plan, inputs=frozenset({0}))
    return plan


def _in_half(node: NodeProto, facts: Facts) -> Plan:
    """Return the node with all in float16 that can be, by ONNX's schema."""
    schema = facts.schema(node)
    if schema is None:
        return Plan(node=node)
    inputs = frozenset(
        index
        for index, name in enumerate(node.input)
        if facts.is_float(name) and _takes_half(schema.inputs, index) and (node.op_type, index) not in _SINGLE_INPUTS
    )
    given = {_formal(schema.inputs, index).type_str for index in inputs}
    outputs = frozenset(
        index
        for index, name in enumerate(node.output)
        if facts.is_float(name) and (is_standard(node, *_TYPED) or _formal(schema.outputs, index).type_str in given)
    )
    return Plan(node=node, inputs=inputs, outputs=outputs)


def _reasons(plan: Plan, facts: Facts) -> Iterator[str]:
    """Yield why a node stays in float32."""
    node, op_type = plan.node, plan.node.op_type
    schema = facts.schema(node)
    if schema is None:
        yield f"ONNX does not know {node.domain}:{op_type}, nor whether it takes float16"
        return
    others = {index for index, name in enumerate(node.output) if facts.is_float(name)} - plan.outputs
    if any(_takes_half(schema.outputs, index) for index in others):
        yield f"the inputs of {op_type} do not say of which type its output is"
    if not plan.inputs and not plan.outputs:
        yield f"{op_type} takes no float16"
    if is_standard(node, "Clip") and facts.opsets[""] < _CLIP_OPSET:
        yield f"ONNX Runtime has no float16 kernel of Clip at opset {facts.opsets['']}"
    if op_type in _LOSES:
        yield _LOSES[op_type]
    if is_standard(node, "Cast") and TensorProto.DataType.Name(attribute(node, "to", 0)).startswith(("INT", "UINT")):
        yield f"it makes whole numbers, and {_COUNTS}"
    if any(name in facts.from_shapes for name in node.output):
        yield f"it computes from shapes, and {_COUNTS}"
    names = [node.input[index] for index in sorted(plan.inputs)]
    names += [node.output[index] for index in sorted(plan.outputs)]
    yield from _overflows(names, facts)
    yield from reasons_in_constants(node, names, facts)


def _overflows(names: Iterable[str], facts: Facts) -> Iterator[str]:
    for name in names:
        if facts.largest.get(name, 0.0) > HALF_LIMIT:
            yield f"the constant {name!r} reaches {facts.largest[name]:g}, beyond float16's {HALF_LIMIT:g}"
        elif name in facts.ranges and not all(abs(end) <= OBSERVED_LIMIT for end in facts.ranges[name]):
            yield _beyond(name, facts.ranges[name])


def _beyond(name: str, ends: tuple[float, float]) -> str:
    if not all(map(isfinite, ends)):
        return f"{name!r} is infinite or NaN on the data"
    return f"{name!r} reaches {max(ends, key=abs):g}, beyond {OBSERVED_LIMIT:g}, half of float16's range"


def _formal(parameters: Sequence[Any], index: int) -> Any:
    """Return what the schema says of a node's input or output; the last may stand for several."""
    return parameters[min(index, len(parameters) - 1)]


def _takes_half(parameters: Sequence[Any], index: int) -> bool:
    return "tensor(float16)" in _formal(parameters, index).types
