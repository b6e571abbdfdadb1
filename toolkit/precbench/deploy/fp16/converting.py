"""A model in its float16 form, for GPU providers.

Each node computes in float16, or is kept in float32 for a reason that is told: one of its own, or what a value on its
way from node to node would lose. A value has the type of the node that makes it, and one Cast where a node reads it in
the other, so that between two nodes in float32 nothing passes through float16.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from precbench.deploy.fp16.constants import convert_constants
from precbench.deploy.fp16.deciding import Plan, decide
from precbench.deploy.fp16.facts import Facts
from precbench.deploy.fp16.rewriting import rewrite
from precbench.deploy.fp16.validity import check_plain, check_valid
from precbench.deploy.fp16.values import Values
from precbench.deploy.fp16.working_copy import with_arrays, working_copy
from precbench.deploy.stored import StoredTensor
from precbench.graph import OnnxModel, check_finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """A model in its float16 form, with what was done.

    Attributes:
        model: the model; its inputs and outputs are those of the model given.
        tensors: one entry per constant floating-point tensor, in the model's order.
        kept_nodes: the name of each node that stays in float32 (its first output where it has none) -> why.
        flushed: elements of the constants converted that were not zero and are now.
        subnormal: elements of the constants converted that are subnormal float16 numbers.
        casts: how many Casts were put in.
    """

    model: OnnxModel
    tensors: tuple[StoredTensor, ...]
    kept_nodes: Mapping[str, str]
    flushed: int
    subnormal: int
    casts: int


def convert_to_half(model: OnnxModel, ranges: Mapping[str, tuple[float, float]] | None = None) -> Half:
    """Return the float16 form of a float32 model; the model given is not modified.

    The law: inputs and outputs keep their names, types and shapes. A node computes in float32 if an input or output of
    it, that would be float16, was observed beyond `OBSERVED_LIMIT` or is a constant beyond `HALF_LIMIT`; if a constant
    that matters would be zero, or is needed by a root, logarithm or division after it; if it divides by what was
    observed below `SMALLEST_NORMAL`, or makes that; if ONNX or ONNX Runtime's CUDA provider has it for float32 only, or
    would compute it badly; or if it counts: it makes integers of floats, or computes from shapes alone. All others
    compute in float16. A constant is converted if a node reads it in float16, and kept if one reads it in float32:
    where both do there are two. A value that two types are asked of gets one Cast. Constant tensors outside the file
    stay outside; what is converted of them is held in memory.

    Why ranges: nothing in the graph says that a value overflows or comes near zero, and one infinity can spoil every
    output.

    Args:
        model: of opset 11 or newer, without subgraphs, functions, sparse initializers and sequences.
        ranges: tensor name -> the lowest and the highest value observed on float32 runs; None or a tensor that is not
            in it: it is taken to fit.

    Raises:
        ModelError: weights are NaN or infinite; the model has what is not converted; the ranges are of another model;
            the type of a value is not known; or the model or the result is not valid by ONNX's checker and type
            inference, that see tensors of more than 64 KiB, and those outside the file, as inputs of their type and
            shape.
    """
    check_plain(model.proto)
    check_finite(model, model.folder)
    working = working_copy(model)
    check_valid(working, "the model")
    facts = Facts.of(working, ranges or {})
    graph = working.proto.graph
    plans = decide(graph.node, facts)
    kept_nodes = _kept_nodes(plans)
    values = Values.of(graph, plans, facts.types)
    constants = convert_constants(working, values)
    casts = rewrite(graph, plans, values)
    result = with_arrays(working.proto, model.folder, constants.arrays)
    check_valid(result, "its float16 form")
    return Half(
        model=result,
        tensors=constants.stored,
        kept_nodes=kept_nodes,
        flushed=constants.flushed,
        subnormal=constants.subnormal,
        casts=casts,
    )


def _kept_nodes(plans: Iterable[Plan]) -> dict[str, str]:
    """Return why each kept node is kept; names of nodes need not be unique, those of values are."""
    told: dict[str, str] = {}
    for plan in plans:
        if plan.kept is not None:
            name = plan.node.name
            told[name if name and name not in told else next(filter(None, plan.node.output))] = plan.kept
    return told
