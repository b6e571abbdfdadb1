"""The float values of the graph: in which types each is made and read, and its name in either."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import onnx
from onnx import NodeProto, TensorProto, helper

from precbench.deploy.fp16.deciding import Plan
from precbench.deploy.int8.plain_graph import is_standard


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """The float values of the graph.

    Attributes:
        inputs: those that a caller gives.
        made_half: those that a node makes as float16.
        read_half: those that a node reads as float16.
        read_single: those that a node reads as float32, or that are outputs.
        half: their names as float16.
        single: their names as float32.
        cast_names: value -> the name of the node that casts it.
    """

    inputs: Collection[str]
    made_half: Collection[str]
    read_half: Collection[str]
    read_single: Collection[str]
    half: Mapping[str, str]
    single: Mapping[str, str]
    cast_names: Mapping[str, str]

    @classmethod
    def of(cls, graph: onnx.GraphProto, plans: Sequence[Plan], types: Mapping[str, int]) -> Self:
        """Return how the values are made and read, and name them.

        Inputs and outputs keep their names in float32, other values in the type that they are made in, constants that
        are read in both in float32. What is new has a name that no value and no node has.
        """
        inputs, outputs = {value.name for value in graph.input}, {value.name for value in graph.output}
        made = {name for plan in plans if not is_standard(plan.node, "Constant") for name in plan.node.output}
        made_half = {name for plan in plans for name in plan.made_half}
        read_half = {plan.node.input[index] for plan in plans for index in plan.inputs}
        read_single = {name for plan in plans for i, name in enumerate(plan.node.input) if i not in plan.inputs}
        read_single |= outputs
        keeps = (made_half - outputs) | (read_half - read_single - inputs - made)
        taken = {*types, *read_single, *_names(graph)}
        half, single, cast_names = dict[str, str](), dict[str, str](), dict[str, str]()
        for name in (name for name, kind in types.items() if kind == TensorProto.FLOAT):
            half[name] = name if name in keeps else _free_name(f"{name}/float16", taken)
            single[name] = _free_name(f"{name}/float32", taken) if name in keeps else name
            cast_names[name] = _free_name(f"{single[name] if name in made_half else half[name]}/Cast", taken)
        return cls(
            inputs=inputs,
            made_half=made_half,
            read_half=read_half,
            read_single=read_single,
            half=half,
            single=single,
            cast_names=cast_names,
        )

    def renamed(self, name: str, *, half: bool) -> str:
        """Return the name under which a node reads or makes a value; what is no float keeps its own."""
        return (self.half if half else self.single).get(name, name)

    def casts(self, name: str) -> Iterator[NodeProto]:
        """Yield the Cast of a value that is made in one type and read in the other too."""
        if name in self.made_half and name in self.read_single:
            yield _cast(self.half[name], self.single[name], TensorProto.FLOAT, self.cast_names[name])
        elif name not in self.made_half and name in self.read_half:
            yield _cast(self.single[name], self.half[name], TensorProto.FLOAT16, self.cast_names[name])


def _names(graph: onnx.GraphProto) -> set[str]:
    """Return the names of nodes, of what they read and make, and of what the graph holds."""
    held = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    return {each.name for each in (*held, *graph.node)} | {
        name for node in graph.node for name in (*node.input, *node.output)
    }


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _cast(source: str, target: str, kind: int, name: str) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=name, to=kind)
