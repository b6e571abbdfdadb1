"""The float16 form, for GPU providers: float32 outside, float16 inside, and in float32 what float16 does not hold.

Each node is decided on its own: it computes in float16, or is kept in float32 for a reason that is told. A value has
the type of the node that makes it, and one Cast where a node reads it in the other, so that between two nodes in
float32 nothing passes through float16.

Which inputs may be float16 is ONNX's word (its schemas); what ONNX Runtime's CUDA provider computes of that is in the
tables below. The parameters of BatchNormalization could stay float32 by ONNX's types, but that provider has a kernel
for one type throughout only (it computes in float32 inside), and folds the node into the Conv before it only where the
types agree: they become float16 with the node.

Source: ONNX Runtime's docs/OperatorKernels.md and, in core/providers, cuda/nn/batch_norm.cc,
cuda/reduction/reduction_ops.cc, cpu/tensor/upsamplebase.h; core/optimizer/conv_bn_fusion.cc.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from precbench.deploy.stored import StoredTensor
from precbench.errors import ModelError
from precbench.graph import OnnxModel, Role, list_initializers
from precbench.graph.model import HeldTensor, is_external

HALF_LIMIT = float(np.finfo(np.float16).max)
"""65504, the largest number of float16. Constants are known, so this is their limit."""

OBSERVED_LIMIT = HALF_LIMIT / 2
"""The limit of what was observed. Calibration data are a sample: an input to come may reach further, and an overflow
costs the whole output where a node in float32 costs some time. Half leaves one binary order of magnitude."""

MIN_OPSET = 11

_FLOAT, _HALF, _NO_TENSOR = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UNDEFINED
_STANDARD = ("", "ai.onnx")
_REMEDY = "deploy it with --form packed, or leave it in float32"
_GRID = {"format": "float16"}

_KERNEL_SINCE = {"Clip": 12, "GridSample": inf, "RoiAlign": inf}
"""Operators that ONNX has for float16 at all opsets from 11 on, ONNX Runtime only since this one."""

_LOSES = {
    "ReduceSumSquare": "ONNX Runtime squares in float16 before it adds, where what is below 0.0002 becomes zero",
    "QuantizeLinear": "its scale is a step of the grid, which float16 would round",
    "DequantizeLinear": "its scale is a step of the grid, which float16 would round",
}
_SINGLE_INPUTS = {("Resize", 1)}
"""Inputs that ONNX Runtime reads as float32 whatever their type: the region of interest of Resize."""

_TYPED = ("Cast", "ConstantOfShape")
"""Operators whose output's type is an attribute, and which have float16 kernels everywhere."""

_REARRANGES = ("Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_LOOKS_AT_SHAPE = ("Shape", "Size")
_COUNTS = "float16 holds whole numbers up to 2048 only"
_WEIGHTS = (Role.WEIGHT, Role.BIAS, Role.BATCH_NORM)
_CHUNK = 1 << 22  # elements looked at at once: 16 MiB of float32
_LARGE_BYTES = 1 << 16  # shapes, axes and scales are smaller, weights may be larger


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
    it, that would be float16, was observed beyond `OBSERVED_LIMIT` or is a constant beyond `HALF_LIMIT`; if ONNX or
    ONNX Runtime's CUDA provider has it for float32 only, or would compute it badly; or if it counts: it makes integers
    of floats, or computes from shapes alone. All others compute in float16. A constant is converted if a node reads it
    in float16, and kept if one reads it in float32: where both do there are two. A value that two types are asked of
    gets one Cast. Constant tensors outside the file stay outside; they are converted one at a time when they are read,
    from the files of the model given, which must still be there.

    Why ranges: nothing in the graph says that a value overflows, and one infinity can spoil every output.

    Args:
        model: of opset 11 or newer, without subgraphs, functions and sparse initializers.
        ranges: tensor name -> the lowest and the highest value observed on float32 runs; None or a tensor that is not
            in it: it is taken to fit.

    Raises:
        ModelError: weights are NaN or infinite; the model has what is not converted; the ranges are of another model;
            the type of a value is not known; or the model or the result is not valid by ONNX's checker and type
            inference, that see tensors of more than 64 KiB, and those outside the file, as inputs of their type and
            shape.
    """
    _check_plain(model.proto)
    working = _working_copy(model)
    _check(working, "the model")
    constants = _constants(working)
    types = _types(working)
    _check_ranges(ranges or {}, types)
    planner = _Planner.of(working.proto, types, constants, ranges or {})
    plans = [planner.plan(node) for node in working.proto.graph.node]
    values = _Values.of(working.proto.graph, plans, types)
    changed = _convert_constants(working, constants, values)
    casts = _rewrite(working.proto.graph, plans, values, changed.twins)
    result = OnnxModel(proto=working.proto, folder=model.folder, replaced=_deferred(working, changed.outside))
    _check(result, "its float16 form")
    return Half(
        model=result,
        tensors=changed.stored,
        kept_nodes=_told(plans),
        flushed=changed.flushed,
        subnormal=changed.subnormal,
        casts=casts,
    )


def _check_plain(proto: onnx.ModelProto) -> None:
    kinds = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    nested = {node.op_type for node in proto.graph.node if any(each.type in kinds for each in node.attribute)}
    if nested or proto.functions:
        what = ", ".join(sorted(nested)) or "functions"
        raise ModelError(f"the model has subgraphs or functions ({what}), which are not converted to float16", _REMEDY)
    if proto.graph.sparse_initializer:
        raise ModelError("the model has sparse initializers, which are not converted to float16", _REMEDY)
    if _opset(proto) < MIN_OPSET:
        raise ModelError(
            f"the model is of opset {_opset(proto)}, the float16 form needs {MIN_OPSET} or newer",
            f"export it again with opset {MIN_OPSET} or newer, or leave it in float32",
        )


def _check_ranges(ranges: Mapping[str, tuple[float, float]], types: Mapping[str, int]) -> None:
    unknown = next((name for name in ranges if name not in types), None)
    if unknown is not None:
        raise ModelError(
            f"a range is given for {unknown!r}, which the model has not", "observe the ranges on the model to convert"
        )


def _opset(proto: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators; 0 where the model has none of them."""
    return max((each.version for each in proto.opset_import if each.domain in _STANDARD), default=0)


def _working_copy(model: OnnxModel) -> OnnxModel:
    """Return a copy to change, in which each `Constant` with numbers holds a tensor, and only inputs are inputs."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for attribute in (each for node in proto.graph.node if _is(node, "Constant") for each in node.attribute):
        if attribute.name in ("value_float", "value_floats"):
            numbers: Any = attribute.f if attribute.name == "value_float" else list(attribute.floats)
            tensor = numpy_helper.from_array(np.asarray(numbers, dtype=np.float32))
            attribute.CopyFrom(helper.make_attribute("value", tensor))
    _free_initializers(proto)
    arrays = {held.name: model.replaced[held.position] for held in model.tensors() if held.position in model.replaced}
    there = OnnxModel(proto=proto, folder=model.folder).tensors()
    replaced = {held.position: arrays[held.name] for held in there if held.name in arrays}
    return OnnxModel(proto=proto, folder=model.folder, replaced=replaced)


def _free_initializers(proto: onnx.ModelProto) -> None:
    """Before IR version 4 each initializer had to be an input as well, which no runtime lets a caller override."""
    if proto.ir_version < 4:
        names = {tensor.name for tensor in proto.graph.initializer}
        inputs = [value for value in proto.graph.input if value.name not in names]
        del proto.graph.input[:]
        proto.graph.input.extend(inputs)
        proto.ir_version = 4


# --- what there is ---


@dataclass(frozen=True, slots=True, kw_only=True)
class _Constant:
    """A float32 tensor; `largest` is its largest finite magnitude; `settled`: no caller can override it."""

    largest: float
    settled: bool


def _constants(working: OnnxModel) -> dict[str, _Constant]:
    """Return the float tensors by name, and refuse weights that are not finite."""
    roles = {i.position: i.role for i in list_initializers(working)}
    inputs = {value.name for value in working.proto.graph.input}
    found = {}
    for held in working.tensors():
        if held.proto.data_type == _FLOAT:
            largest, bad = _extent(working.values(held))
            if bad and roles.get(held.position) in _WEIGHTS:
                raise ModelError(f"the weights {held.name!r} hold {bad:,} NaN or infinite values", "repair the model")
            found[held.value] = _Constant(largest=largest, settled=held.value not in inputs)
    return found


def _extent(values: NDArray[Any]) -> tuple[float, int]:
    """Return the largest finite magnitude, and how many values are not finite."""
    largest, bad = 0.0, 0
    for chunk in _chunks(values):
        finite = chunk[np.isfinite(chunk)]
        bad += chunk.size - finite.size
        largest = max(largest, float(np.abs(finite).max(initial=0.0)))
    return largest, bad


def _chunks(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    flat = values.reshape(-1)
    yield from (flat[start : start + _CHUNK] for start in range(0, flat.size, _CHUNK))


def _types(working: OnnxModel) -> dict[str, int]:
    """Return the element type of each value by ONNX's type inference; 0 for what is no tensor."""
    bare = _without_data(working, {held.value for held in working.tensors()})
    graph = onnx.shape_inference.infer_shapes(bare).graph
    infos = [*graph.input, *graph.value_info, *graph.output]
    types = {info.name: int(info.type.tensor_type.elem_type) for info in infos if info.type.WhichOneof("value")}
    tensors = {info.name for info in infos if info.type.HasField("tensor_type")}
    for node in graph.node:
        for name in node.output:
            if name and (name not in types or (name in tensors and not types[name])):
                raise ModelError(f"the type of {name!r}, which {node.op_type} makes, is not known", _REMEDY)
    return types


def _without_data(model: OnnxModel, names: Collection[str]) -> onnx.ModelProto:
    """Return a model in which some constants are inputs of their type and shape, so that their data is not needed."""
    proto = onnx.ModelProto(ir_version=max(model.proto.ir_version, 4), opset_import=model.proto.opset_import)
    graph, whole = proto.graph, model.proto.graph
    graph.name = whole.name or "graph"
    graph.node.extend(node for node in whole.node if not (_is(node, "Constant") and node.output[0] in names))
    graph.input.extend(value for value in whole.input if value.name not in names)
    for held in model.tensors():
        if held.value in names:
            graph.input.append(helper.make_tensor_value_info(held.value, held.proto.data_type, held.proto.dims))
    graph.initializer.extend(tensor for tensor in whole.initializer if tensor.name not in names)
    graph.value_info.extend(value for value in whole.value_info if value.name not in names)
    graph.output.extend(whole.output)
    return proto


# --- which nodes ---


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What becomes of a node: which inputs it reads as float16, which outputs it makes so; or why it is kept."""

    node: NodeProto
    inputs: frozenset[int] = frozenset()
    outputs: frozenset[int] = frozenset()
    kept: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planner:
    """Decides node by node, in the graph's order."""

    opsets: Mapping[str, int]
    types: Mapping[str, int]
    constants: Mapping[str, _Constant]
    ranges: Mapping[str, tuple[float, float]]
    from_shapes: Collection[str]
    largest: dict[str, float]
    made_half: set[str] = field(default_factory=set)

    @classmethod
    def of(
        cls,
        proto: onnx.ModelProto,
        types: Mapping[str, int],
        constants: Mapping[str, _Constant],
        ranges: Mapping[str, tuple[float, float]],
    ) -> "_Planner":
        opsets = {"" if each.domain in _STANDARD else each.domain: each.version for each in proto.opset_import}
        known = {tensor.name for tensor in proto.graph.initializer} - {value.name for value in proto.graph.input}
        from_shapes = _from_shapes(proto.graph.node, known)
        return cls(
            opsets=opsets,
            types=types,
            constants=constants,
            ranges=ranges,
            from_shapes=from_shapes,
            largest={name: constant.largest for name, constant in constants.items()},
        )

    def plan(self, node: NodeProto) -> _Plan:
        """Return what becomes of a node; those before it are decided."""
        if _is(node, "Constant") or not any(self._is_float(name) for name in (*node.input, *node.output)):
            return _Plan(node=node)
        if _is(node, *_LOOKS_AT_SHAPE):
            return _Plan(node=node, inputs=frozenset({0} if self._is_half(node.input[0]) else ()))
        self._follow_constants(node)
        plan = self._in_half(node)
        reason = next(self._reasons(plan), None)
        if reason is not None:
            return _Plan(node=node, kept=reason)
        self.made_half.update(node.output[index] for index in plan.outputs)
        return plan

    def _follow_constants(self, node: NodeProto) -> None:
        """Note what is as large as a constant because it is one in another shape."""
        if _is(node, "ConstantOfShape"):
            self.largest[node.output[0]] = abs(_fill(node))
        elif _is(node, *_REARRANGES) and node.input[0] in self.largest:
            self.largest[node.output[0]] = self.largest[node.input[0]]

    def _in_half(self, node: NodeProto) -> _Plan:
        """Return the node with all in float16 that can be, by ONNX's schema."""
        schema = self._schema(node)
        if schema is None:
            return _Plan(node=node)
        inputs = frozenset(
            index
            for index, name in enumerate(node.input)
            if self._is_float(name)
            and _takes_half(schema.inputs, index)
            and (node.op_type, index) not in _SINGLE_INPUTS
        )
        given = {_formal(schema.inputs, index).type_str for index in inputs}
        outputs = frozenset(
            index
            for index, name in enumerate(node.output)
            if self._is_float(name) and (_is(node, *_TYPED) or _formal(schema.outputs, index).type_str in given)
        )
        return _Plan(node=node, inputs=inputs, outputs=outputs)

    def _reasons(self, plan: _Plan) -> Iterator[str]:
        """Yield why a node stays in float32."""
        node, op_type = plan.node, plan.node.op_type
        schema = self._schema(node)
        if schema is None:
            yield f"ONNX does not know {node.domain}:{op_type}, nor whether it takes float16"
            return
        if any(self.types.get(name) == _NO_TENSOR for name in (*node.input, *node.output) if name):
            yield f"{op_type} reads or makes what is no tensor"
        if any(_takes_half(schema.outputs, index) for index in self._float_outputs(node) - plan.outputs):
            yield f"the inputs of {op_type} do not say of which type its output is"
        if not plan.inputs and not plan.outputs:
            yield f"{op_type} takes no float16"
        if node.domain in _STANDARD and self.opsets[""] < _KERNEL_SINCE.get(op_type, 0):
            yield f"ONNX Runtime has no float16 kernel of {op_type} at opset {self.opsets['']}"
        if op_type in _LOSES:
            yield _LOSES[op_type]
        if _is(node, "Cast") and TensorProto.DataType.Name(_to(node)).startswith(("INT", "UINT")):
            yield f"it makes whole numbers, and {_COUNTS}"
        if any(name in self.from_shapes for name in node.output):
            yield f"it computes from shapes, and {_COUNTS}"
        yield from self._overflows(plan)

    def _overflows(self, plan: _Plan) -> Iterator[str]:
        node = plan.node
        names = [node.input[index] for index in plan.inputs] + [node.output[index] for index in plan.outputs]
        for name in dict.fromkeys(names):
            if self.largest.get(name, 0.0) > HALF_LIMIT:
                yield f"the constant {name!r} reaches {self.largest[name]:g}, beyond float16's {HALF_LIMIT:g}"
            elif name in self.ranges and not all(abs(end) <= OBSERVED_LIMIT for end in self.ranges[name]):
                most = max(self.ranges[name], key=abs)
                yield f"{name!r} reaches {most:g}, beyond {OBSERVED_LIMIT:g}, half of float16's range"

    def _schema(self, node: NodeProto) -> onnx.defs.OpSchema | None:
        domain = "" if node.domain in _STANDARD else node.domain
        try:
            return onnx.defs.get_schema(node.op_type, self.opsets[domain], domain)
        except (onnx.defs.SchemaError, KeyError):
            return None

    def _is_float(self, name: str) -> bool:
        return self.types.get(name) == _FLOAT

    def _is_half(self, name: str) -> bool:
        """Whether there is a float16 form of a value anyway, so that asking for its shape costs no Cast."""
        constant = self.constants.get(name)
        return name in self.made_half or (constant is not None and constant.settled and constant.largest <= HALF_LIMIT)

    def _float_outputs(self, node: NodeProto) -> set[int]:
        return {index for index, name in enumerate(node.output) if self._is_float(name)}


def _from_shapes(nodes: Iterable[NodeProto], constants: Collection[str]) -> set[str]:
    """Return the values that depend on the shapes of inputs and not on what is in them."""
    known, found = set(constants), set[str]()
    for node in nodes:
        read = {name for name in node.input if name} - known
        if _is(node, "Constant"):
            known.update(node.output)
        elif _is(node, *_LOOKS_AT_SHAPE) or (read and read <= found):
            found.update(node.output)
    return found


def _formal(parameters: Sequence[Any], index: int) -> Any:
    """Return what the schema says of a node's input or output; the last may stand for several."""
    return parameters[min(index, len(parameters) - 1)]


def _takes_half(parameters: Sequence[Any], index: int) -> bool:
    return "tensor(float16)" in _formal(parameters, index).types


def _is(node: NodeProto, *op_types: str) -> bool:
    return node.domain in _STANDARD and node.op_type in op_types


def _to(node: NodeProto) -> int:
    return int(next(each.i for each in node.attribute if each.name == "to"))


def _fill(node: NodeProto) -> float:
    tensor = next((each.t for each in node.attribute if each.name == "value"), None)
    return 0.0 if tensor is None else float(numpy_helper.to_array(tensor).reshape(-1)[0])


def _told(plans: Iterable[_Plan]) -> dict[str, str]:
    """Return why each kept node is kept; names of nodes need not be unique, those of values are."""
    told: dict[str, str] = {}
    for plan in plans:
        if plan.kept is not None:
            name = plan.node.name
            told[name if name and name not in told else next(filter(None, plan.node.output))] = plan.kept
    return told


# --- which values, under which names ---


@dataclass(frozen=True, slots=True, kw_only=True)
class _Values:
    """The float values of the graph: how each is made and read, and its name in either type.

    Attributes:
        made_half: those that a node makes as float16.
        read_half: those that a node reads as float16.
        read_single: those that a node reads as float32, or that are outputs.
        half: their names as float16.
        single: their names as float32.
    """

    made_half: Collection[str]
    read_half: Collection[str]
    read_single: Collection[str]
    half: Mapping[str, str]
    single: Mapping[str, str]

    @classmethod
    def of(cls, graph: onnx.GraphProto, plans: Sequence[_Plan], types: Mapping[str, int]) -> "_Values":
        outputs = {value.name for value in graph.output}
        made_half = {plan.node.output[index] for plan in plans for index in plan.outputs}
        read_half = {plan.node.input[index] for plan in plans for index in plan.inputs}
        read_single = {name for plan in plans for i, name in enumerate(plan.node.input) if i not in plan.inputs}
        read_single |= outputs
        inputs = {value.name for value in graph.input}
        constant = {name for name in types if name not in inputs} - {n for plan in plans for n in plan.node.output}
        constant |= {plan.node.output[0] for plan in plans if _is(plan.node, "Constant")}
        keeps = (made_half - outputs) | (constant & read_half - read_single)
        taken, half, single = {*types, *read_single}, dict[str, str](), dict[str, str]()
        for name in (name for name, kind in types.items() if kind == _FLOAT):
            half[name] = name if name in keeps else _free_name(f"{name}/float16", taken)
            single[name] = _free_name(f"{name}/float32", taken) if name in keeps else name
        return cls(made_half=made_half, read_half=read_half, read_single=read_single, half=half, single=single)

    def renamed(self, name: str, *, half: bool) -> str:
        """Return the name under which a node reads or makes a value; what is no float keeps its own."""
        return (self.half if half else self.single).get(name, name)

    def casts(self, name: str) -> Iterator[NodeProto]:
        """Yield the Cast of a value that is made in one type and read in the other too."""
        if name in self.made_half and name in self.read_single:
            yield _cast(self.half[name], self.single[name], _FLOAT)
        elif name in self.single and name not in self.made_half and name in self.read_half:
            yield _cast(self.single[name], self.half[name], _HALF)


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}/Cast", to=kind)


# --- constants ---


@dataclass(slots=True, kw_only=True)
class _Changed:
    """What was done to the constants.

    Attributes:
        stored: one entry per floating-point tensor.
        twins: the float16 form of `Constant` nodes that are read in both types, by the value's name.
        outside: name in the result -> where its external data is now, and whether it becomes float16.
    """

    stored: tuple[StoredTensor, ...] = ()
    twins: dict[str, NodeProto] = field(default_factory=dict)
    outside: dict[str, tuple[HeldTensor, bool]] = field(default_factory=dict)
    flushed: int = 0
    subnormal: int = 0


def _convert_constants(working: OnnxModel, constants: Mapping[str, _Constant], values: _Values) -> _Changed:
    """Convert the constants in place, those that stay float32 too into a tensor beside them."""
    changed, stored = _Changed(), []
    added: list[TensorProto] = []
    for held in list(working.tensors()):
        kind = TensorProto.DataType.Name(held.proto.data_type)
        if kind not in ("FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16"):
            _keep_outside(working, held, changed)
            continue
        kept = _reason_to_keep(held, kind, constants, values)
        if kept is None:
            is_twin = held.value in values.read_single
            stored.append(_stored(held, kind, bits=16, both=is_twin))
            added += _convert(working, held, values, changed, is_twin=is_twin)
        else:
            stored.append(_stored(held, kind, kept=kept))
            _keep_outside(working, held, changed)
    working.proto.graph.initializer.extend(added)
    changed.stored = tuple(stored)
    return changed


def _reason_to_keep(held: HeldTensor, kind: str, constants: Mapping[str, _Constant], values: _Values) -> str | None:
    if kind != "FLOAT":
        return f"{kind} is not converted"
    if not constants[held.value].settled:
        return "an input may override it"
    if held.value in values.read_half:
        return None
    return "it is read in float32 only" if held.value in values.read_single else "no node reads it"


def _convert(
    working: OnnxModel, held: HeldTensor, values: _Values, changed: _Changed, *, is_twin: bool
) -> list[TensorProto]:
    """Convert one tensor; return what has to be an initializer beside it."""
    array, source = working.values(held), _with_own_place(held)
    for chunk in _chunks(array):
        halves = _halved(chunk)
        changed.flushed += int(np.count_nonzero((chunk != 0) & (halves == 0)))
        changed.subnormal += int(np.count_nonzero((halves != 0) & (np.abs(halves) < np.finfo(np.float16).tiny)))
    half = held.proto
    if is_twin:
        _keep_outside(working, held, changed)
        half = TensorProto(name=values.half[held.value], dims=held.proto.dims)
    if is_external(source.proto):
        changed.outside[values.half[held.value]] = (source, True)
    _make_half(half, None if is_external(source.proto) else array)
    if is_twin and held.in_node:
        changed.twins[held.value] = helper.make_node("Constant", [], [values.half[held.value]], value=half)
    return [half] if is_twin and not held.in_node else []


def _keep_outside(working: OnnxModel, held: HeldTensor, changed: _Changed) -> None:
    """Carry over values that were replaced before; of others the file's place is still right."""
    if held.position in working.replaced:
        changed.outside[held.value] = (held, False)


def _with_own_place(held: HeldTensor) -> HeldTensor:
    """Return it with a proto of its own where that is small, so that the place of the data survives the change."""
    if not is_external(held.proto):
        return held
    proto = TensorProto()
    proto.CopyFrom(held.proto)
    return replace(held, proto=proto)


def _halved(values: NDArray[Any]) -> NDArray[np.float16]:
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(np.float16)


def _make_half(tensor: TensorProto, values: NDArray[Any] | None) -> None:
    """Make a tensor float16, with these values; None: they are outside, and saving says where."""
    tensor.data_type = _HALF
    tensor.ClearField("float_data")
    if values is None:
        tensor.data_location = TensorProto.EXTERNAL
        del tensor.external_data[:]
        tensor.external_data.add(key="location", value=".")
    else:
        tensor.raw_data = _halved(values).astype("<f2", copy=False).tobytes()


def _stored(
    held: HeldTensor, kind: str, *, bits: int | None = None, both: bool = False, kept: str | None = None
) -> StoredTensor:
    elements = int(np.prod(held.proto.dims, dtype=np.int64))
    own_bits = int(helper.tensor_dtype_to_np_dtype(held.proto.data_type).itemsize) * 8
    before, after = elements * own_bits // 8, elements * (bits or own_bits) // 8
    return StoredTensor(
        name=held.name,
        elements=elements,
        dtype=kind if bits is None else "FLOAT16",
        grid=None if bits is None else _GRID,
        bits=bits or own_bits,
        exceptions=0,
        bytes_before=before,
        bytes_after=after + (before if both else 0),
        kept=kept,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Deferred(Mapping[int, NDArray[Any]]):
    """Values of external tensors by position, made when they are asked for: one tensor in memory at a time."""

    source: OnnxModel
    places: Mapping[int, tuple[HeldTensor, bool]]

    def __getitem__(self, position: int) -> NDArray[Any]:
        held, becomes_half = self.places[position]
        values = self.source.values(held)
        return _halved(values) if becomes_half else values

    def __contains__(self, position: object) -> bool:
        return position in self.places

    def __iter__(self) -> Iterator[int]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def _deferred(working: OnnxModel, outside: Mapping[str, tuple[HeldTensor, bool]]) -> _Deferred:
    places = {held.position: outside[held.name] for held in working.tensors() if held.name in outside}
    return _Deferred(working, places)


# --- the graph ---


def _rewrite(graph: onnx.GraphProto, plans: Sequence[_Plan], values: _Values, twins: Mapping[str, NodeProto]) -> int:
    """Give nodes their types and names, and put the Casts in; return how many."""
    nodes = [cast for value in graph.input for cast in values.casts(value.name)]
    count = len(nodes)
    for plan in plans:
        made = list(plan.node.output)
        nodes.append(plan.node)
        if _is(plan.node, "Constant"):
            nodes += [twins[name] for name in made if name in twins]
            continue
        _retype(plan, values)
        casts = [cast for name in made for cast in values.casts(name)]
        nodes += casts
        count += len(casts)
    for info in graph.value_info:
        if values.half.get(info.name) == info.name:
            info.type.tensor_type.elem_type = _HALF
    del graph.node[:]
    graph.node.extend(nodes)
    return count


def _retype(plan: _Plan, values: _Values) -> None:
    node = plan.node
    node.input[:] = [values.renamed(name, half=index in plan.inputs) for index, name in enumerate(node.input)]
    node.output[:] = [values.renamed(name, half=index in plan.outputs) for index, name in enumerate(node.output)]
    if plan.outputs and _is(node, "Cast"):
        next(each for each in node.attribute if each.name == "to").i = _HALF
    elif plan.outputs and _is(node, "ConstantOfShape"):
        value = numpy_helper.from_array(np.full(1, _fill(node), np.float16))
        del node.attribute[:]  # it has no other
        node.attribute.append(helper.make_attribute("value", value))


def _check(model: OnnxModel, what: str) -> None:
    """Check a model without what is large: weights are inputs of their type and shape here."""
    large = {held.value for held in model.tensors() if is_external(held.proto) or held.proto.ByteSize() > _LARGE_BYTES}
    try:
        onnx.checker.check_model(_without_data(model, large), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"{what} is not valid ONNX: {error}", _REMEDY) from error
