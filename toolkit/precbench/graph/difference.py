"""Whether two models are one graph with other values in it, and if not, where they part first."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from precbench.errors import printable
from precbench.graph.model import OnnxModel, is_external

_MOST_SHOWN = 80
_NUMPY_NAMES = {"FLOAT": "float32", "DOUBLE": "float64"}
_STORAGE = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_PLAIN_FIELDS: Mapping[int, str] = {
    onnx.AttributeProto.FLOAT: "f",
    onnx.AttributeProto.INT: "i",
    onnx.AttributeProto.STRING: "s",
    onnx.AttributeProto.FLOATS: "floats",
    onnx.AttributeProto.INTS: "ints",
    onnx.AttributeProto.STRINGS: "strings",
}


def graph_difference(first: OnnxModel, second: OnnxModel) -> str | None:
    """Return None where two models are the same graph but for the values in it, else a sentence on what differs first.

    The law: a model and its rounded self are the same; another operator, attribute, name, type or shape gets a
    sentence. So where two models are the same, a difference in time between them comes from their values alone.

    Compared are the graph's inputs and outputs, the nodes in the file's order with their attributes and subgraphs, the
    initializers (by name: type, shape, dense or sparse), the opsets and the model's own functions. A `Constant` node's
    value is a value like an initializer's. Names count, those of open dimensions too: a session may fix one by name.

    Left out is what does not change what is computed: documentation, names of nodes, of the graph and of its producer,
    versions of the model and of the IR, metadata, value_info, annotations (quantization, devices), training_info, and
    how and where values are stored. External data is not read, and no weight is copied.

    Args:
        first: as loaded; "in one" in the sentence.
        second: as loaded; "in the other".
    """
    return next(_of_models(first.proto, second.proto), None)


def _of_models(one: onnx.ModelProto, other: onnx.ModelProto) -> Iterator[str]:
    """Yield every difference that can be told, the first one first; nothing after it is looked at before it is used."""
    yield from _of_graphs(one.graph, other.graph, "")
    yield from _of_opsets(one.opset_import, other.opset_import, "the model")
    yield from _of_functions(one.functions, other.functions)


def _of_graphs(one: onnx.GraphProto, other: onnx.GraphProto, where: str) -> Iterator[str]:
    yield from _of_values("input", one.input, other.input, where)
    yield from _of_values("output", one.output, other.output, where)
    yield from _of_nodes(one.node, other.node, where)
    yield from _of_initializers(one, other, where)


def _of_values(
    what: str, one: Sequence[onnx.ValueInfoProto], other: Sequence[onnx.ValueInfoProto], where: str
) -> Iterator[str]:
    yield from _of_names(what, [value.name for value in one], [value.name for value in other], f"the graph{where}")
    for mine, theirs in zip(one, other, strict=False):
        yield from _parted(f"the {what} {_quoted(mine.name)}{where}", _type_text(mine.type), _type_text(theirs.type))


def _of_nodes(one: Sequence[onnx.NodeProto], other: Sequence[onnx.NodeProto], where: str) -> Iterator[str]:
    for index, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        yield from _parted(f"node {index}{where}", mine.op_type, theirs.op_type)
        node = f"node {index} ({_shown(mine.op_type)}){where}"
        yield from _parted(f"the domain of {node}", _domain(mine.domain), _domain(theirs.domain))
        yield from _parted(f"the overload of {node}", repr(_text(mine.overload)), repr(_text(theirs.overload)))
        yield from _of_names("input", mine.input, theirs.input, node)
        yield from _of_names("output", mine.output, theirs.output, node)
        holds_value = mine.op_type == "Constant" and _domain(mine.domain) == "ai.onnx"
        yield from _of_attributes(mine.attribute, theirs.attribute, node, hold_value=holds_value)
    yield from _parted(f"the number of nodes of the graph{where}", f"{len(one):,}", f"{len(other):,}")


def _of_names(what: str, one: Sequence[str], other: Sequence[str], where: str) -> Iterator[str]:
    """Names by position: inputs and outputs of a node, a graph or a function."""
    yield from _parted(f"the number of {what}s of {where}", str(len(one)), str(len(other)))
    for index, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            yield f"{what} {index} of {where} is {_quoted(mine)} in one and {_quoted(theirs)} in the other"


def _of_attributes(
    one: Iterable[onnx.AttributeProto], other: Iterable[onnx.AttributeProto], where: str, *, hold_value: bool = False
) -> Iterator[str]:
    """Attributes by name: their order means nothing."""
    mine, theirs = (sorted(attributes, key=lambda a: _text(a.name)) for attributes in (one, other))
    yield from _of_sets("attribute", [a.name for a in mine], [a.name for a in theirs], where)
    compare = _of_constants if hold_value else _of_contents
    for a, b in zip(mine, theirs, strict=False):
        name = f"the attribute {_quoted(a.name)} of {where}"
        yield from _parted(f"the type of {name}", _attribute_type(a), _attribute_type(b))
        yield from compare(a, b, name)


def _attribute_type(attribute: onnx.AttributeProto) -> str:
    kind = onnx.AttributeProto.AttributeType.Name(attribute.type)
    return f"{kind} from {_text(attribute.ref_attr_name)}" if attribute.ref_attr_name else kind


def _of_constants(one: onnx.AttributeProto, other: onnx.AttributeProto, name: str) -> Iterator[str]:
    """What a `Constant` node holds is a value: only its type (the attribute's own, or the tensor's) and shape count."""
    yield from _of_held(_dense(one.t), _dense(other.t), name)
    yield from _of_held(_sparse(one.sparse_tensor), _sparse(other.sparse_tensor), name)
    lengths = [str(len(a.floats) + len(a.ints) + len(a.strings)) for a in (one, other)]
    yield from _parted(f"the length of {name}", *lengths)


def _of_contents(one: onnx.AttributeProto, other: onnx.AttributeProto, name: str) -> Iterator[str]:
    if _plain(one) != _plain(other):
        yield from _parted(name, _plain_text(one), _plain_text(other))
        yield f"{name} differs"
    for what, mine, theirs in zip(("tensors", "graphs", "types"), _parts(one), _parts(other), strict=True):
        yield from _parted(f"the number of {what} in {name}", str(len(mine)), str(len(theirs)))
        for a, b in zip(mine, theirs, strict=False):
            yield from _of_parts(a, b, name)


def _of_parts(one: Any, other: Any, name: str) -> Iterator[str]:
    if isinstance(one, onnx.GraphProto):
        yield from _of_graphs(one, other, f" in {name}")
    elif isinstance(one, onnx.TypeProto):
        yield from _parted(name, _type_text(one), _type_text(other))
    else:
        yield from _of_held(_dense(one), _dense(other), name)
        if not _same_content(one, other):
            yield f"{name} holds other values in one than in the other"


def _parts(attribute: onnx.AttributeProto) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the tensors (a sparse one as its values and indices), the graphs and the types that an attribute holds."""
    sparse = [*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []), *attribute.sparse_tensors]
    tensors = [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]
    tensors += [part for tensor in sparse for part in (tensor.values, tensor.indices, _extent(tensor))]
    return (
        tensors,
        [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs],
        [*([attribute.tp] if attribute.HasField("tp") else []), *attribute.type_protos],
    )


def _extent(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    """The shape of a sparse tensor, as a tensor without values."""
    return onnx.TensorProto(dims=sparse.dims)


def _plain(attribute: onnx.AttributeProto) -> tuple[object, ...]:
    """The numbers and texts of an attribute; floats by their bits, so that NaN equals itself."""
    floats = np.array([attribute.f, *attribute.floats], np.float32).tobytes()
    return floats, attribute.i, tuple(attribute.ints), attribute.s, tuple(attribute.strings)


def _plain_text(attribute: onnx.AttributeProto) -> str:
    field = _PLAIN_FIELDS.get(attribute.type)
    if field is None:
        return ""
    value = getattr(attribute, field)
    if field in ("f", "i", "s"):
        return _plain_value_text(value)
    return f"[{', '.join(_plain_value_text(each) for each in value[:_MOST_SHOWN])}]"


def _plain_value_text(value: float | bytes) -> str:
    return f"{value:.6g}" if isinstance(value, float) else _quoted(value) if isinstance(value, bytes) else str(value)


def _same_content(one: onnx.TensorProto, other: onnx.TensorProto) -> bool:
    """Whether two tensors of one type and shape hold the same, however they store it; external data is not read."""
    if is_external(one) or is_external(other):
        places = [sorted((entry.key, entry.value) for entry in tensor.external_data) for tensor in (one, other)]
        return is_external(one) == is_external(other) and places[0] == places[1]
    if all(getattr(one, field) == getattr(other, field) for field in _STORAGE):
        return True
    if one.data_type == onnx.TensorProto.STRING:
        return False
    try:
        first, second = (ir.serde.deserialize_tensor(tensor).numpy().tobytes() for tensor in (one, other))
    except (ValueError, TypeError):  # damaged, in other ways
        return False
    return first == second


def _of_initializers(one: onnx.GraphProto, other: onnx.GraphProto, where: str) -> Iterator[str]:
    """Initializers by name: their order means nothing."""
    mine, theirs = _initializers(one), _initializers(other)
    yield from _of_sets("initializer", list(mine), list(theirs), f"the graph{where}")
    for name, held in mine.items():
        if name in theirs:
            yield from _of_held(held, theirs[name], f"the initializer {_quoted(name)}{where}")


def _initializers(graph: onnx.GraphProto) -> dict[str, tuple[str, str]]:
    held = {_text(tensor.name): _dense(tensor) for tensor in graph.initializer}
    return held | {_text(tensor.values.name): _sparse(tensor) for tensor in graph.sparse_initializer}


def _of_held(one: tuple[str, str], other: tuple[str, str], name: str) -> Iterator[str]:
    yield from _parted(name, one[0], other[0])
    yield from _parted(f"the shape of {name}", one[1], other[1])


def _dense(tensor: onnx.TensorProto) -> tuple[str, str]:
    """The type and the shape of a tensor, in words."""
    return _dtype(tensor.data_type), _shape(tensor.dims)


def _sparse(tensor: onnx.SparseTensorProto) -> tuple[str, str]:
    indices = f"{_dtype(tensor.indices.data_type)} indices {_shape(tensor.indices.dims)}"
    stored = f"{_shape(tensor.values.dims)} values stored, {indices}"
    return f"sparse {_dtype(tensor.values.data_type)}", f"{_shape(tensor.dims)} with {stored}"


def _shape(dims: Iterable[int]) -> str:
    return "x".join(str(n) for n in dims) or "scalar"


def _of_opsets(
    one: Iterable[onnx.OperatorSetIdProto], other: Iterable[onnx.OperatorSetIdProto], where: str
) -> Iterator[str]:
    mine, theirs = (sorted((_domain(o.domain), o.version) for o in opsets) for opsets in (one, other))
    yield from _of_sets("opset", [domain for domain, _ in mine], [domain for domain, _ in theirs], where)
    for (domain, version), (_, another) in zip(mine, theirs, strict=False):
        yield from _parted(f"the opset {_quoted(domain)} of {where}", str(version), str(another))


def _of_functions(one: Iterable[onnx.FunctionProto], other: Iterable[onnx.FunctionProto]) -> Iterator[str]:
    mine, theirs = (sorted(functions, key=_identity) for functions in (one, other))
    yield from _of_sets("function", map(_identity, mine), map(_identity, theirs), "the model")
    for a, b in zip(mine, theirs, strict=False):
        name = f"the function {_quoted(a.name)}"
        yield from _parted(f"the domain of {name}", _domain(a.domain), _domain(b.domain))
        yield from _of_names("input", a.input, b.input, name)
        yield from _of_names("output", a.output, b.output, name)
        yield from _of_sets("attribute", list(a.attribute), list(b.attribute), name)
        yield from _of_attributes(a.attribute_proto, b.attribute_proto, name)
        yield from _of_nodes(a.node, b.node, f" in {name}")
        yield from _of_opsets(a.opset_import, b.opset_import, name)


def _identity(function: onnx.FunctionProto) -> str:
    parts = [_domain(function.domain), _text(function.name), _text(function.overload)]
    return "::".join(parts if parts[2] else parts[:2])


def _of_sets(what: str, one: Iterable[str], other: Iterable[str], where: str) -> Iterator[str]:
    """Names whose order means nothing."""
    mine, theirs = (Counter(_text(name) for name in names) for names in (one, other))
    lonely = sorted((mine - theirs) | (theirs - mine))
    if lonely:
        yield f"{where} has the {what} {_quoted(lonely[0])} in one only"


def _parted(subject: str, one: str, other: str) -> Iterator[str]:
    if one != other:
        yield f"{subject} is {_shown(one)} in one and {_shown(other)} in the other"


def _type_text(kind: onnx.TypeProto) -> str:
    """Write the type of a value so that two types read the same only where they are: float32[batch,3,8,8]."""
    match kind.WhichOneof("value"):
        case "tensor_type" | "sparse_tensor_type" as name:
            return f"{'sparse ' if name[0] == 's' else ''}{_tensor_type_text(getattr(kind, name))}"
        case "sequence_type" | "optional_type" as name:
            return f"{name.removesuffix('_type')} of ({_type_text(getattr(kind, name).elem_type)})"
        case "map_type":
            return f"map from {_dtype(kind.map_type.key_type)} to ({_type_text(kind.map_type.value_type)})"
        case "opaque_type":
            return f"opaque {_text(kind.opaque_type.domain)!r} {_text(kind.opaque_type.name)!r}"
        case _:
            return "of no type"


def _tensor_type_text(kind: Any) -> str:
    if not kind.HasField("shape"):
        return f"{_dtype(kind.elem_type)} of any shape"
    return f"{_dtype(kind.elem_type)}[{','.join(_dimension_text(dimension) for dimension in kind.shape.dim)}]"


def _dimension_text(dimension: Any) -> str:
    if dimension.HasField("dim_value"):
        return str(dimension.dim_value)
    name = _text(dimension.dim_param)
    return name if name.isidentifier() else repr(name) if name else "?"


def _dtype(number: int) -> str:
    try:
        name = ir.DataType(number).name
    except ValueError:
        return f"type {number}"
    return _NUMPY_NAMES.get(name, name.lower())


def _domain(domain: str) -> str:
    return _text(domain) or "ai.onnx"


def _text(value: str | bytes) -> str:
    """Protobuf hands out bytes where a text is not UTF-8."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


def _quoted(name: str | bytes) -> str:
    return f"'{_shown(name)}'"


def _shown(value: str | bytes) -> str:
    text = printable(_text(value))
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
