"""The graph of the float16 form: its nodes' types and names, and the Casts between them."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from precbench.deploy.fp16.deciding import Plan
from precbench.deploy.fp16.facts import fill_of
from precbench.deploy.fp16.values import Values
from precbench.deploy.int8.plain_graph import is_standard, set_attribute


def rewrite(graph: onnx.GraphProto, plans: Sequence[Plan], values: Values) -> int:
    """Give nodes their types and names in place, and put the Casts in; return how many."""
    nodes = [cast for value in graph.input for cast in values.casts(value.name)]
    for plan in plans:
        nodes.append(plan.node)
        if not is_standard(plan.node, "Constant"):
            made = list(plan.node.output)
            _retype(plan, values)
            nodes += [cast for name in made for cast in values.casts(name)]
    for info in graph.value_info:
        if values.half.get(info.name) == info.name:
            info.type.tensor_type.elem_type = TensorProto.FLOAT16
    del graph.node[:]
    graph.node.extend(nodes)
    return len(nodes) - len(plans)


def _retype(plan: Plan, values: Values) -> None:
    node = plan.node
    node.input[:] = [values.renamed(name, half=index in plan.inputs) for index, name in enumerate(node.input)]
    node.output[:] = [values.renamed(name, half=index in plan.outputs) for index, name in enumerate(node.output)]
    if plan.outputs and is_standard(node, "Cast"):
        set_attribute(node, "to", TensorProto.FLOAT16)
    elif plan.outputs and is_standard(node, "ConstantOfShape"):
        set_attribute(node, "value", numpy_helper.from_array(np.full(1, fill_of(node), np.float16)))
