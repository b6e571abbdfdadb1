"""Load and save ONNX files of strangers: checked before they are believed, and never held in memory twice.

The model is held as the protobuf message that was read, so that whatever precbench does not change is written back
field by field as it was (docs/decisions/protobuf-not-ir.md). External data stays in its file until it is asked for.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx.external_data_helper import ExternalDataInfo

from precbench.errors import ModelError
from precbench.files import file_digest, value_digest, write_atomically

_MAX_FILE_BYTES = 2**31 - 1  # protobuf's own limit; larger models keep their weights as external data
_ALIGNMENT_BYTES = 4096  # ONNX asks for page-aligned offsets so that the data can be mapped
_COPY_BYTES = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTensor:
    """A constant tensor where the model holds it: an initializer, or the value of a `Constant` node.

    Attributes:
        position: its place in `OnnxModel.tensors()`, the same in copies of the model.
        name: the initializer's name, or the output of the `Constant` node; where two subgraphs use one name for
            different tensors, the later ones end in `#2`, `#3`, ….
        value: the name as the graph has it.
        scope: which of `graphs()` holds it; only that graph and those inside it can read the tensor.
        proto: the tensor.
        in_node: whether a `Constant` node holds it.
    """

    position: int
    name: str
    value: str
    scope: int
    proto: onnx.TensorProto
    in_node: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModel:
    """An ONNX model whose tensors can be read one at a time.

    Attributes:
        proto: the model; the data of external tensors is not in it.
        folder: where the external data lies.
        replaced: new values of external tensors, by their position in `tensors()`.
    """

    proto: onnx.ModelProto
    folder: Path
    replaced: Mapping[int, NDArray[Any]] = field(default_factory=dict)

    def tensors(self) -> Iterator[HeldTensor]:
        """Yield each constant tensor: initializers, then `Constant` nodes' values, subgraphs after their graph."""
        position = 0
        seen: Counter[str] = Counter()
        for scope, graph in enumerate(graphs(self.proto.graph)):
            named = [(tensor.name, tensor, False) for tensor in graph.initializer]
            named += [(node.output[0], value, True) for node, value in _constants(graph)]
            for value, tensor, in_node in named:
                seen[value] += 1
                name = value if seen[value] == 1 else f"{value}#{seen[value]}"
                yield HeldTensor(position=position, name=name, value=value, scope=scope, proto=tensor, in_node=in_node)
                position += 1

    def values(self, held: HeldTensor) -> NDArray[Any]:
        """Return a tensor's values; external data is mapped, not read."""
        if held.position in self.replaced:
            return self.replaced[held.position]
        return ir.serde.deserialize_tensor(held.proto, base_path=self.folder).numpy()


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield the graph and every subgraph in it (bodies of If, Loop, Scan), outer ones first."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g)
            for subgraph in attribute.graphs:
                yield from graphs(subgraph)


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[onnx.NodeProto, onnx.TensorProto]]:
    """Yield the graph's `Constant` nodes that hold a dense tensor, with that tensor."""
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node, attribute.t


def opset_of(proto: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators; 1 where the model imports none."""
    return max((each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")), default=1)


def load_model(path: Path) -> OnnxModel:
    """Read an ONNX file and check what precbench relies on.

    Checked: it is a complete ONNX model; nodes are in topological order; each tensor holds as many bytes as its shape
    and type say; external data exists, is long enough, and lies in the model's folder (links followed).

    Raises:
        ModelError: one of these does not hold; the message says which, and the remedy.
    """
    proto = _parse(path)
    _check_names(proto.graph, path)
    _check_order(proto.graph, set(), path)
    model = OnnxModel(proto=proto, folder=path.parent)
    for held in model.tensors():
        _check_tensor(held.proto, path)
    return model


def save_model(model: OnnxModel, path: Path) -> None:
    """Write the model atomically; a model with external data gets one data file beside it, `<stem>.<digest>.data`.

    Raises:
        OutputError: the file cannot be written.
    """
    proto = model.proto
    if any(is_external(held.proto) for held in model.tensors()):
        proto = _with_data_file(model, path)
    write_atomically(path, lambda temporary: _write_bytes(temporary, proto.SerializeToString(deterministic=True)))


def _with_data_file(model: OnnxModel, path: Path) -> onnx.ModelProto:
    """Write the external data under a name that its content gives, and return the model that points to it.

    So the data of no other model is touched, the model's own file is the only thing that is replaced, and saving the
    same again adds nothing.
    """
    proto = _moved_to_one_file(model)
    named: list[Path] = []

    def write(temporary: Path) -> None:
        _write_data(model, proto, temporary)
        named.append(path.parent / f"{path.stem}.{file_digest(temporary)[7:15]}.data")

    collected = path.parent / f".{path.stem}.{os.getpid()}.data"
    write_atomically(collected, write)
    if not named[0].exists():
        collected.replace(named[0])
    collected.unlink(missing_ok=True)
    for held in OnnxModel(proto=proto, folder=model.folder).tensors():
        if is_external(held.proto):
            next(entry for entry in held.proto.external_data if entry.key == "location").value = named[0].name
    return proto


def _parse(path: Path) -> onnx.ModelProto:
    data = _read(path)
    remedy = "export or download the model again"
    if data.startswith(b"\x89HDF\r\n"):
        raise ModelError(
            f"{path} is an HDF5 file, not an ONNX model", "export it first: precbench export FILE -o MODEL.onnx"
        )
    if data.startswith(b"PK\x03\x04"):
        raise ModelError(
            f"{path} is a zip file, not an ONNX model",
            "a .keras file is exported first (precbench export); another archive is unpacked first",
        )
    try:
        proto: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise ModelError(f"{path} is truncated or is no ONNX model: it cannot be decoded", remedy) from error
    if not proto.HasField("graph") or not proto.opset_import:
        raise ModelError(f"{path} is truncated or is no ONNX model: it has no graph or no opset", remedy)
    return proto


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise ModelError(f"{path} is a directory, not an ONNX model", "name the .onnx file in it")
    try:
        size = path.stat().st_size
        if size == 0:
            raise ModelError(f"{path} is empty", "export or download the model again")
        if size > _MAX_FILE_BYTES:
            raise ModelError(
                f"{path} has {size:,} bytes, more than protobuf's 2 GiB",
                "save the model with its weights as external data",
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(
            f"there is no file {path}", "check the path; `precbench export` makes an ONNX model"
        ) from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}", "check the path and its permissions") from error


def _check_names(graph: onnx.GraphProto, path: Path) -> None:
    """Protobuf hands out bytes where a name is not UTF-8; and within one graph a name stands for one tensor."""
    for each in graphs(graph):
        names = [tensor.name for tensor in each.initializer]
        used = [name for node in each.node for name in (node.name, node.op_type, *node.input, *node.output)]
        if not all(isinstance(name, str) for name in [*names, *used]):
            raise ModelError(f"{path}: a name in the graph is not UTF-8", "export or download the model again")
        repeated = next((name for name, count in Counter(names).items() if count > 1), None)
        if repeated is not None:
            raise ModelError(
                f"{path}: {repeated!r} is the name of several initializers of one graph",
                "give each a name of its own, or export the model again",
            )


def _check_order(graph: onnx.GraphProto, outer: set[str], path: Path) -> None:
    known = outer | {""} | {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    known |= {tensor.values.name for tensor in graph.sparse_initializer}
    for node in graph.node:
        unknown = next((name for name in node.input if name not in known), None)
        if unknown is not None:
            raise ModelError(
                f"{path}: the nodes are not in topological order, or one is missing: "
                f"{node.op_type} {node.name!r} reads {unknown!r}, which nothing before it makes",
                "sort the graph or export it again",
            )
        for attribute in node.attribute:
            for subgraph in [
                *([attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else []),
                *attribute.graphs,
            ]:
                _check_order(subgraph, known, path)
        known.update(node.output)


def _check_tensor(tensor: onnx.TensorProto, path: Path) -> None:
    if tensor.data_type == onnx.TensorProto.STRING:
        return
    try:
        bits = ir.DataType(tensor.data_type).bitwidth
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"{path}: the tensor {tensor.name!r} has the unknown type {tensor.data_type}",
            "update onnx, or export the model again",
        ) from error
    if any(n < 0 for n in tensor.dims):
        raise ModelError(
            f"{path}: the tensor {tensor.name!r} has the shape {list(tensor.dims)}", "export the model again"
        )
    expected = _data_bytes(tensor)
    if is_external(tensor):
        _check_external(tensor, expected, path)
    elif tensor.HasField("raw_data") and len(tensor.raw_data) != expected:
        raise ModelError(
            f"{path}: the tensor {tensor.name!r} holds {len(tensor.raw_data):,} bytes, "
            f"its shape and type say {expected:,}",
            "export or download the model again",
        )
    elif not tensor.HasField("raw_data") and _typed_values(tensor) != _typed_length(tensor, bits):
        raise ModelError(
            f"{path}: the tensor {tensor.name!r} holds {_typed_values(tensor):,} values, "
            f"its shape says {_typed_length(tensor, bits):,}",
            "export or download the model again",
        )


def _check_external(tensor: onnx.TensorProto, expected_bytes: int, path: Path) -> None:
    info = _external_info(tensor, path)
    folder = path.parent.resolve()
    file = (folder / info.location).resolve()
    if not file.is_relative_to(folder):
        raise ModelError(
            f"{path}: the external data of {tensor.name!r} points outside its folder: {info.location}",
            "put the data beside the model and save it again; precbench reads nothing from elsewhere",
        )
    if not file.is_file():
        raise ModelError(
            f"{path}: the external data file {info.location!r} of {tensor.name!r} is missing",
            "put it back beside the model, under that name",
        )
    offset, length = info.offset or 0, expected_bytes if info.length is None else info.length
    if length != expected_bytes or offset < 0 or offset + length > file.stat().st_size:
        raise ModelError(
            f"{path}: the external data of {tensor.name!r} needs {expected_bytes:,} bytes at {offset:,} "
            f"of {info.location}, which has {file.stat().st_size:,}",
            "the data file is truncated or is another model's: download or export both again",
        )


def _external_info(tensor: onnx.TensorProto, path: Path) -> ExternalDataInfo:
    try:
        info = ExternalDataInfo(tensor)
    except ValueError as error:
        raise ModelError(
            f"{path}: the external data entry of {tensor.name!r} is damaged: {error}",
            "export or download the model again",
        ) from error
    if not info.location or "\0" in info.location:
        raise ModelError(f"{path}: the external data entry of {tensor.name!r} names no file", "export the model again")
    return info


def model_digest(model: OnnxModel, path: Path) -> str:
    """Return what tells a model from every other: the digest of its file, and of its external data where it has any.

    Args:
        model: as it was loaded.
        path: of its file.
    """
    external = [held.proto for held in model.tensors() if is_external(held.proto)]
    files = sorted({_external_info(tensor, path).location for tensor in external})
    digest = file_digest(path)
    return value_digest([digest, *(file_digest(model.folder / name) for name in files)]) if files else digest


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the tensor's data lies in a file of its own."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _elements(tensor: onnx.TensorProto) -> int:
    elements = 1
    for n in tensor.dims:
        elements *= n
    return elements


_TYPED_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def _typed_values(tensor: onnx.TensorProto) -> int:
    return max(len(getattr(tensor, name)) for name in _TYPED_FIELDS)


def _typed_length(tensor: onnx.TensorProto, bits: int) -> int:
    """Typed fields pack types under 8 bits into bytes, and hold a complex number as two values."""
    if tensor.data_type in (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128):
        return 2 * _elements(tensor)
    return (_elements(tensor) * bits + 7) // 8 if bits < 8 else _elements(tensor)


def _moved_to_one_file(model: OnnxModel) -> onnx.ModelProto:
    """Return a copy whose external tensors point into one data file, one after another."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    offset = 0
    for held in OnnxModel(proto=proto, folder=model.folder).tensors():
        if is_external(held.proto):
            length = _data_bytes(held.proto)
            del held.proto.external_data[:]
            for key, value in (("location", "."), ("offset", str(offset)), ("length", str(length))):
                held.proto.external_data.add(key=key, value=value)
            offset += -(-length // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
    return proto


def _write_data(model: OnnxModel, moved: onnx.ModelProto, path: Path) -> None:
    """Write each external tensor's bytes to its new place; the tensors that did not change are copied in pieces."""
    targets = OnnxModel(proto=moved, folder=model.folder).tensors()
    with path.open("wb") as stream:
        for held, target in zip(model.tensors(), targets, strict=True):
            if not is_external(held.proto):
                continue
            stream.seek(ExternalDataInfo(target.proto).offset or 0)
            if held.position in model.replaced:
                stream.write(np.ascontiguousarray(model.replaced[held.position]).tobytes())
            else:
                _copy_piecewise(model.folder, ExternalDataInfo(held.proto), _data_bytes(held.proto), stream)


def _data_bytes(tensor: onnx.TensorProto) -> int:
    return (_elements(tensor) * ir.DataType(tensor.data_type).bitwidth + 7) // 8


def _copy_piecewise(folder: Path, place: ExternalDataInfo, length: int, stream: BinaryIO) -> None:
    with (folder / place.location).open("rb") as source:
        source.seek(place.offset or 0)
        while length > 0:
            piece = source.read(min(length, _COPY_BYTES))
            if not piece:
                raise OSError(f"{place.location} became shorter while it was read")
            stream.write(piece)
            length -= len(piece)


def _write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)
