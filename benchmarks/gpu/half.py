"""A float16 form of a float32 model, to time against it; the study's own such form takes its place when there is one.

Inputs and outputs stay float32, with a Cast at each; between them all is float16. An initializer stays float32 where
its operator takes no float16 there (the scales of Resize). The parameters of BatchNormalization could stay float32 by
ONNX's type constraints, but ONNX Runtime's CUDA provider has a kernel for one type throughout only (it computes in
float32 inside), and folds the node into the Conv before it only where the types agree.

Source: onnxruntime/core/providers/cuda/nn/batch_norm.cc and core/optimizer/conv_bn_fusion.cc.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from precbench.errors import ModelError
from precbench.files import write_atomically
from precbench.graph import load_model
from precbench.runtime import SessionSettings, fixed_batch, open_session, seeded_inputs

_LARGEST = float(np.finfo(np.float16).max)
_REMEDY = "measure without float16: --no-fp16"
_TYPED = {("Cast", "to"), ("RandomNormal", "dtype"), ("RandomUniform", "dtype"), ("EyeLike", "dtype")}
_SAMPLES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What was converted.

    Args:
        tensors: constant tensors that are float16 now.
        kept: initializers that stay float32.
        elements: numbers in the tensors converted.
        flushed: of them, those that were not zero and are now.
        subnormal: of them, those that are subnormal float16 numbers.
        casts: at inputs and outputs.
    """

    tensors: int
    kept: tuple[str, ...]
    elements: int
    flushed: int
    subnormal: int
    casts: int


def to_half(source: Path, output: Path) -> Converted:
    """Write the float16 form of a model, checked with ONNX's checker and its type inference.

    Raises:
        ModelError: a number is beyond float16's range, an operator takes no float16, or the model has subgraphs,
            functions or external data.
    """
    load_model(source)
    model = onnx.load(str(source))
    _check_plain(model)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    del model.graph.value_info[:]
    kept = _kept(model.graph, opsets)
    before = list(_constants(model.graph, kept))
    counts = [_convert(tensor) for tensor in before]
    _retype_attributes(model.graph)
    casts = _cast_edges(model.graph)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the float16 form of {source.name} is no valid model: {error}", _REMEDY) from error
    write_atomically(output, lambda path: _write(path, model.SerializeToString(deterministic=True)))
    elements, flushed, subnormal = (sum(count[index] for count in counts) for index in range(3))
    return Converted(
        tensors=len(before),
        kept=tuple(sorted(kept)),
        elements=elements,
        flushed=flushed,
        subnormal=subnormal,
        casts=casts,
    )


def agreement(base: Path, half: Path, *, provider: str, seed: int = 0) -> dict[str, Any]:
    """Return how far the float16 model's outputs, on a provider, are from the float32 model's on the CPU.

    Args:
        provider: that runs the float16 model. The CPU provider has no float16 kernels for most operators: ONNX Runtime
            casts around them, so that there the weights are float16 and much of the arithmetic is not.
        seed: of the inputs, drawn as `precbench bench` draws them: noise, not images.

    Returns:
        Samples; the largest difference over the largest output; and for classifiers the share of samples whose top-1
        agrees, with the number of classes that came up (of noise: often few).
    """
    reference = open_session(base, SessionSettings())
    tested = open_session(half, SessionSettings(provider=provider))
    batch = fixed_batch(reference.inputs) or _SAMPLES
    feeds = seeded_inputs(reference.inputs, seed=seed, batch=batch)
    wanted, found = reference.run(feeds), tested.run(feeds)
    name = next(iter(wanted))
    one, other = (np.asarray(outputs[name], dtype=np.float64) for outputs in (wanted, found))
    told: dict[str, Any] = {
        "provider": provider,
        "samples": batch,
        "output": name,
        "largest_difference": float(np.abs(one - other).max()),
        "largest_output": float(np.abs(one).max()),
        "finite": bool(np.isfinite(other).all()),
    }
    if one.ndim == 2 and one.shape[1] > 1:
        top = one.argmax(axis=1)
        told |= {"top1_agreement": float(np.mean(top == other.argmax(axis=1))), "classes": len(set(top.tolist()))}
    return told


def _check_plain(model: onnx.ModelProto) -> None:
    kinds = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    nested = [node for node in model.graph.node if any(attribute.type in kinds for attribute in node.attribute)]
    if nested or model.functions:
        raise ModelError(f"the model has subgraphs or functions ({_described(nested)}), not converted here", _REMEDY)


def _described(nodes: list[NodeProto]) -> str:
    return ", ".join(sorted({node.op_type for node in nodes})) or "functions"


def _kept(graph: onnx.GraphProto, opsets: Mapping[str, int]) -> set[str]:
    """Initializers that no reader takes as float16. Refuse what one reader takes and another does not."""
    single = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    takes: dict[str, set[bool]] = {}
    for node in graph.node:
        for value, can in _readers(node, opsets):
            if value in single:
                takes.setdefault(value, set()).add(can)
            elif not can:
                raise ModelError(f"{node.op_type} {node.name!r} takes no float16 for {value!r}", _REMEDY)
    torn = next((name for name, can in takes.items() if len(can) > 1), None)
    if torn is not None:
        raise ModelError(f"the initializer {torn!r} is read as float16 and as float32 only", _REMEDY)
    return {name for name, can in takes.items() if can == {False}}


def _readers(node: NodeProto, opsets: Mapping[str, int]) -> Iterator[tuple[str, bool]]:
    """Each input of a node that may be float32, and whether it may be float16 as well."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets[node.domain], node.domain)
    except (onnx.defs.SchemaError, KeyError) as error:
        raise ModelError(f"ONNX does not know the operator {node.domain}:{node.op_type}", _REMEDY) from error
    for index, value in enumerate(node.input):
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]  # the last may be variadic
        if value and "tensor(float)" in formal.types:
            yield value, "tensor(float16)" in formal.types


def _constants(graph: onnx.GraphProto, kept: set[str]) -> Iterator[TensorProto]:
    """Float32 tensors to convert: initializers, and the values of Constant and ConstantOfShape."""
    yield from (t for t in graph.initializer if t.data_type == TensorProto.FLOAT and t.name not in kept)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                _make_tensor(attribute)
            if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
                yield attribute.t


def _make_tensor(attribute: AttributeProto) -> None:
    """Turn a Constant's float or list of floats into a tensor of the same value."""
    value: Any = attribute.f if attribute.name == "value_float" else list(attribute.floats)
    tensor = numpy_helper.from_array(np.asarray(value, dtype=np.float32))
    attribute.CopyFrom(helper.make_attribute("value", tensor))


def _convert(tensor: TensorProto) -> tuple[int, int, int]:
    """Convert in place; return elements, those flushed to zero, and subnormal ones."""
    values = numpy_helper.to_array(tensor)
    most = float(np.abs(values).max()) if values.size else 0.0
    with np.errstate(over="ignore", under="ignore"):
        halves = values.astype(np.float16)
    if not np.isfinite(halves).all():
        raise ModelError(f"{tensor.name!r} reaches {most:g}, beyond float16's {_LARGEST:g}", _REMEDY)
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(halves, name))
    tiny = (halves != 0) & (np.abs(halves) < np.finfo(np.float16).tiny)
    return values.size, int(np.count_nonzero((values != 0) & (halves == 0))), int(np.count_nonzero(tiny))


def _retype_attributes(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for attribute in node.attribute:
            if (node.op_type, attribute.name) in _TYPED and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16


def _cast_edges(graph: onnx.GraphProto) -> int:
    """Rename what lies behind float32 inputs and before float32 outputs, and put a Cast between."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants and _is_single(value)]
    outputs = [value for value in graph.output if _is_single(value)]
    for value in graph.input:
        if value.name in constants and _is_single(value):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    inner = {value.name: _free_name(graph, value.name) for value in [*inputs, *outputs]}
    for node in graph.node:
        node.input[:] = [inner.get(name, name) for name in node.input]
        node.output[:] = [inner.get(name, name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = inner.get(tensor.name, tensor.name)
    first = [_cast(value.name, inner[value.name], TensorProto.FLOAT16) for value in inputs]
    last = [_cast(inner[value.name], value.name, TensorProto.FLOAT) for value in outputs]
    nodes = [*first, *graph.node, *last]
    del graph.node[:]
    graph.node.extend(nodes)
    return len(first) + len(last)


def _is_single(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == TensorProto.FLOAT)


def _free_name(graph: onnx.GraphProto, name: str) -> str:
    taken = {value for node in graph.node for value in [*node.input, *node.output]}
    free = f"{name}/float16"
    while free in taken:
        free += "_"
    return free


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}/Cast", to=kind)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
