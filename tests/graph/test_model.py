"""Loading and saving ONNX files, the good and the bad."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from precbench.errors import ModelError, OutputError
from precbench.graph import load_model, save_model

Build = Callable[..., onnx.ModelProto]
Save = Callable[[onnx.ModelProto], Path]


def test_a_model_is_saved_as_it_was_loaded(build: Build, saved: Save, tmp_path: Path) -> None:
    path = saved(build())
    save_model(load_model(path), tmp_path / "copy.onnx")
    assert onnx.load(tmp_path / "copy.onnx") == onnx.load(path)


def test_external_data_is_saved_beside_the_copy(build: Build, saved_external: Save, tmp_path: Path) -> None:
    path = saved_external(build())
    (tmp_path / "elsewhere").mkdir()
    save_model(load_model(path), tmp_path / "elsewhere" / "copy.onnx")
    data, saved_model = sorted(p.name for p in (tmp_path / "elsewhere").iterdir())
    assert saved_model == "copy.onnx"
    assert re.fullmatch(r"copy\.[0-9a-f]{8}\.data", data)
    onnx.checker.check_model(tmp_path / "elsewhere" / "copy.onnx")
    for one, other in zip(
        onnx.load(path).graph.initializer,
        onnx.load(tmp_path / "elsewhere" / "copy.onnx").graph.initializer,
        strict=True,
    ):
        assert one.raw_data == other.raw_data


def test_saving_a_model_again_adds_no_file_and_loses_none(build: Build, saved_external: Save) -> None:
    path = saved_external(build())
    save_model(load_model(path), path)
    files = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    assert len(files) == 3
    save_model(load_model(path), path)
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == files


def test_the_data_of_another_model_is_never_touched(build: Build, saved_external: Save) -> None:
    path = saved_external(build())
    for name in ("out.data", "out.onnx.data", "weights.bin"):
        (path.parent / name).write_bytes((path.parent / "weights.bin").read_bytes())
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    save_model(load_model(path), path.parent / "out.onnx")
    assert {name: (path.parent / name).read_bytes() for name in before} == before


def test_a_name_that_is_no_text_is_refused(build: Build, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(build().SerializeToString().replace(b"stem/kernel", b"stem/kern\xffl"))
    with pytest.raises(ModelError, match="not UTF-8"):
        load_model(path)


def test_two_initializers_of_one_name_are_refused(build: Build, saved: Save) -> None:
    model = build()
    model.graph.initializer.append(model.graph.initializer[0])
    with pytest.raises(ModelError, match="'stem/kernel' is the name of several initializers"):
        load_model(saved(model))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no file .*nothing\.onnx\ncheck the path"):
        load_model(tmp_path / "nothing.onnx")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is a directory, not an ONNX model\nname the \.onnx file in it"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x89HDF\r\n\x1a\n" + b"0" * 50, "is an HDF5 file, not an ONNX model\nexport it first"),
        (b"PK\x03\x04" + b"0" * 50, "is a zip file, not an ONNX model"),
        (b"this is not a model at all", "is truncated or is no ONNX model"),
        (b"\x08\x0a", "it has no graph or no opset"),
    ],
)
def test_a_file_that_is_no_onnx_model_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load_model(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_model_is_refused(build: Build, tmp_path: Path, kept: float) -> None:
    data = build().SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ModelError, match="truncated"):
        load_model(path)


def test_nodes_out_of_order_are_refused_by_name(build: Build, saved: Save) -> None:
    model = build()
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([nodes[1], nodes[0], *nodes[2:]])
    with pytest.raises(ModelError, match=r"not in topological order.*BatchNormalization 'bn' reads 'a'"):
        load_model(saved(model))


def test_a_subgraph_may_read_what_is_outside_it(saved: Save) -> None:
    branch = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y_then"])], "then", [], [_value("y_then")], [_floats("w", [2, 2])]
    )
    other = helper.make_graph([helper.make_node("Identity", ["x"], ["y_else"])], "else", [], [_value("y_else")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=other)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("c", TensorProto.BOOL, []), _value("x")], [_value("y")]
    )
    model = load_model(saved(helper.make_model(graph)))
    assert [held.name for held in model.tensors()] == ["w"]


def _value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2])


def _floats(name: str, shape: list[int]) -> TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT, shape, np.linspace(0, 1, int(np.prod(shape))))


def test_a_tensor_with_fewer_bytes_than_its_shape_is_refused(build: Build, saved: Save) -> None:
    model = build()
    model.graph.initializer[0].dims[0] = 2**40
    with pytest.raises(ModelError, match="'stem/kernel' holds 432 bytes, its shape and type say"):
        load_model(saved(model))


def test_a_tensor_with_fewer_values_than_its_shape_is_refused(build: Build, saved: Save) -> None:
    model = build(raw=False)
    model.graph.initializer[0].dims[0] = 5
    with pytest.raises(ModelError, match="'stem/kernel' holds 108 values, its shape says 135"):
        load_model(saved(model))


def test_a_negative_dimension_is_refused(build: Build, saved: Save) -> None:
    model = build()
    model.graph.initializer[0].dims[0] = -4
    with pytest.raises(ModelError, match="has the shape"):
        load_model(saved(model))


def test_an_unknown_tensor_type_is_refused(build: Build, saved: Save) -> None:
    model = build()
    model.graph.initializer[0].data_type = 77
    with pytest.raises(ModelError, match="unknown type 77"):
        load_model(saved(model))


def test_missing_external_data_is_refused_with_its_name(build: Build, saved_external: Save) -> None:
    path = saved_external(build())
    (path.parent / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"the external data file 'weights.bin' of 'stem/kernel' is missing"):
        load_model(path)


def test_truncated_external_data_is_refused(build: Build, saved_external: Save) -> None:
    path = saved_external(build())
    (path.parent / "weights.bin").write_bytes(b"0" * 100)
    with pytest.raises(ModelError, match=r"needs 432 bytes at 0 of weights\.bin, which has 100"):
        load_model(path)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "a/../../weights.bin"])
def test_external_data_outside_the_folder_is_refused(build: Build, saved_external: Save, location: str) -> None:
    path = saved_external(build())
    _point_to(path, location)
    with pytest.raises(ModelError, match="points outside its folder"):
        load_model(path)


def test_external_data_behind_a_link_that_leaves_the_folder_is_refused(
    build: Build, saved_external: Save, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = saved_external(build())
    secret = tmp_path_factory.mktemp("elsewhere") / "secret"
    secret.write_bytes((path.parent / "weights.bin").read_bytes())
    (path.parent / "link.bin").symlink_to(secret)
    _point_to(path, "link.bin")
    with pytest.raises(ModelError, match="points outside its folder"):
        load_model(path)


def test_an_external_data_entry_without_a_file_is_refused(build: Build, saved_external: Save) -> None:
    path = saved_external(build())
    _point_to(path, "")
    with pytest.raises(ModelError, match="names no file"):
        load_model(path)


def test_a_damaged_external_data_entry_is_refused(build: Build, saved_external: Save) -> None:
    path = saved_external(build())
    model = onnx.load(path, load_external_data=False)
    next(e for e in model.graph.initializer[0].external_data if e.key == "offset").value = "soon"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="damaged"):
        load_model(path)


def _point_to(path: Path, location: str) -> None:
    model = onnx.load(path, load_external_data=False)
    next(e for e in model.graph.initializer[0].external_data if e.key == "location").value = location
    path.write_bytes(model.SerializeToString())


def test_an_output_folder_that_cannot_be_made_is_refused_and_nothing_is_left(
    build: Build, saved: Save, tmp_path: Path
) -> None:
    model = load_model(saved(build()))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        save_model(model, tmp_path / "file" / "model.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "model.onnx"]
