"""Bad input gives two lines, exit status 2, no traceback, and leaves nothing half-written."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper


def refused(result, *words: str) -> None:
    assert result.status == 2, result
    lines = result.err.strip().splitlines()
    assert len(lines) == 2, result.err
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("  try: ")
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err, result.err


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


def test_options_that_cannot_be_read(precbench, model: Path) -> None:
    refused(precbench("round", model, "--dp", "four"), "--dp", "integer")
    refused(precbench("round", model, "--dp", "2.5"), "--dp")
    refused(precbench("round", model, "--dp", "13"), "outside 0 to 12")
    refused(precbench("round", model, "--dp", "-1"), "outside 0 to 12")
    refused(precbench("round", model), "no number of decimals")
    refused(precbench("rownd"), "rownd")
    refused(precbench("round", model, "--dp", "2", "-q"), "-q", "put it before the command: `precbench -q round …`")
    refused(precbench("round", "--decimals", "3"), "--decimals")
    refused(precbench("bench", model, model, "--shape", "image=3xx"), "--shape")
    refused(precbench("bench", model, model, "--shape", "image"), "--shape")
    refused(precbench("bench", model, model, "--ep-option", "use_tf32"), "--ep-option")
    refused(precbench("bench", model, model, "--budget", "0"), "budget")
    refused(precbench("bench", model, model, "--opt-level", "most"), "most")
    refused(precbench("bench", model, model, "--ep", "gpu"), "gpu")
    refused(precbench("bench", model), "no variant")


@pytest.mark.parametrize(
    "command", [["round", "--dp", "4"], ["inspect"], ["bench"], ["evaluate", "--reference", "x.onnx"]]
)
def test_model_files_that_cannot_be_used(precbench, tmp_path: Path, model: Path, command: list[str]) -> None:
    name, *options = command
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "cut.onnx").write_bytes(model.read_bytes()[:200])
    (tmp_path / "folder.onnx").mkdir()
    more = [model] if name == "bench" else []
    before = files(tmp_path)
    refused(precbench(name, tmp_path / "none.onnx", *more, *options), "none.onnx")
    refused(precbench(name, tmp_path / "empty.onnx", *more, *options), "empty.onnx")
    refused(precbench(name, tmp_path / "cut.onnx", *more, *options), "cut.onnx")
    refused(precbench(name, tmp_path / "folder.onnx", *more, *options), "folder.onnx")
    assert files(tmp_path) == before


def test_patterns_that_match_nothing(precbench, tmp_path: Path, model: Path) -> None:
    before = files(tmp_path)
    refused(precbench("round", model, "--dp", "4", "--target", "haed"), "matches nothing", "head")
    refused(precbench("round", model, "--dp", "4", "--group", "expand"), "--group 'expand' matches nothing")
    refused(precbench("round", model, "--dp", "4", "--op-type", "Conv"), "MatMul")
    refused(precbench("round", model, "--dp", "4", "--regex", "["), "no regular expression")
    assert files(tmp_path) == before


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite(precbench, tmp_path: Path, model: Path, bad: float) -> None:
    proto = onnx.load(model)
    values = np.frombuffer(proto.graph.initializer[0].raw_data, np.float32).copy()
    values[5] = bad
    proto.graph.initializer[0].raw_data = values.tobytes()
    onnx.save(proto, model)
    before = files(tmp_path)
    refused(precbench("round", model, "--dp", "4"), "'head/kernel' hold 1 NaN or infinite values of 144")
    assert files(tmp_path) == before


def test_external_data_that_is_missing_or_elsewhere(precbench, tmp_path: Path, model: Path) -> None:
    onnx.save(onnx.load(model), tmp_path / "e.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").rename(tmp_path / "gone.bin")
    for command in (["round", "--dp", "3"], ["inspect"], ["bench", model], ["evaluate", "--reference", model]):
        refused(precbench(command[0], tmp_path / "e.onnx", *command[1:]), "w.bin")
    proto = onnx.load(tmp_path / "e.onnx", load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = "../w.bin"
    (tmp_path / "e.onnx").write_bytes(proto.SerializeToString())
    for command in (["round", "--dp", "3"], ["inspect"], ["bench", model], ["evaluate", "--reference", model]):
        refused(precbench(command[0], tmp_path / "e.onnx", *command[1:]))


def custom(model: Path) -> None:
    proto = onnx.load(model)
    proto.graph.node[2].op_type, proto.graph.node[2].domain = "Frobnicate", "com.example"
    proto.opset_import.append(helper.make_opsetid("com.example", 1))
    onnx.save(proto, model)


def test_a_model_with_custom_operators_cannot_be_run_but_can_be_looked_at(precbench, model: Path) -> None:
    custom(model)
    refused(precbench("bench", model, model), "com.example:Frobnicate")
    refused(precbench("evaluate", model, "--reference", model), "com.example:Frobnicate")
    assert precbench("inspect", model).status == 0
    assert precbench("round", model, "--dp", "3").status == 0


def test_nodes_out_of_order(precbench, model: Path) -> None:
    proto = onnx.load(model)
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(nodes))
    model.write_bytes(proto.SerializeToString())
    for command in (["round", "--dp", "3"], ["inspect"], ["bench", model], ["evaluate", "--reference", model]):
        refused(precbench(command[0], model, *command[1:]), "topological")


def test_inputs_that_do_not_fit(precbench, tmp_path: Path, model: Path) -> None:
    np.savez(tmp_path / "shape.npz", image=np.zeros((2, 5, 5, 3), np.float32))
    np.savez(tmp_path / "kind.npz", image=np.zeros((2, 4, 4, 3), np.complex64))
    np.savez(tmp_path / "names.npz", a=np.zeros(1), b=np.zeros(1))
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 not really")
    np.savez(tmp_path / "objects.npz", image=np.array([{}], dtype=object))
    for name in ("shape", "kind", "names", "bad", "objects", "missing"):
        refused(precbench("bench", model, model, "--input", f"{name}.npz"), f"{name}.npz")
        refused(precbench("evaluate", model, "--data", f"{name}.npz", "--reference", model), f"{name}.npz")
    refused(precbench("bench", model, model, "--shape", "image=2x4x4x5"), "does not fit")
    refused(precbench("bench", model, model, "--shape", "picture=2x4x4x3"), "picture")


def test_labels_that_do_not_fit(precbench, tmp_path: Path, model: Path) -> None:
    images = np.zeros((4, 4, 4, 3), np.uint8)
    np.savez(tmp_path / "outside.npz", images=images, labels=np.array([0, 1, 2, 3]), class_names=np.array(list("abcd")))
    np.savez(tmp_path / "fewer.npz", images=images, labels=np.array([0, 1]))
    np.savez(tmp_path / "negative.npz", images=images, labels=np.array([0, 1, -1, 0]))
    for name in ("outside", "fewer", "negative"):
        refused(precbench("evaluate", model, "--data", f"{name}.npz", "--preprocess", "tf"), "labels")


def test_nothing_to_compare_with(precbench, model: Path) -> None:
    refused(precbench("evaluate", model), "--reference")


def test_images_without_a_known_preprocessing(precbench, model: Path, images: Path) -> None:
    refused(precbench("evaluate", model, "--data", images), "--preprocess")
    refused(precbench("evaluate", model, "--data", images, "--preprocess", "keras"), "keras")


def test_data_that_is_not_known(precbench, model: Path) -> None:
    refused(precbench("evaluate", model, "--data", "digist"), "digist", "digits")


def test_outputs_that_cannot_be_written(precbench, tmp_path: Path, model: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(precbench("round", model, "--dp", "3", "-o", "file/out.onnx"), "file")
    refused(precbench("round", model, "--dp", "3", "-o", tmp_path), "directory")
    refused(precbench("bench", model, model, "-o", "file/out.json", "--budget", "0.1"), "file")
    refused(precbench("run", "-o", "file"), "file")


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "CUDAExecutionProvider"])
def test_a_provider_that_cannot_run_here_is_refused_with_the_reason(precbench, model: Path, provider: str) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers() and Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has an NVIDIA GPU")
    refused(precbench("bench", model, model, "--ep", provider), "cannot run here" if "cuda" in provider.lower() else "")


def test_targets_of_which_none_can_be_rounded(precbench, tmp_path: Path, model: Path) -> None:
    proto = onnx.load(model)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.arange(3), "counts"))
    onnx.save(proto, model)
    before = files(tmp_path)
    refused(precbench("round", model, "--dp", "2", "--target", "counts"), "nothing can be rounded; counts: INT64")
    assert files(tmp_path) == before
    result = precbench("round", model, "--dp", "2", "--target", "counts", "--target", "head")
    assert "Not rounded: counts: INT64 is not rounded" in result.out


def test_a_shape_or_a_number_that_only_looks_like_one(precbench, model: Path) -> None:
    refused(precbench("bench", model, model, "--shape", "image=²x4x4x3"), "is no shape")
    refused(precbench("bench", model, model, "--shape", "image=" + "9" * 5000), "is no shape")
    refused(precbench("round", model, "--dp", "2", "--target", "head=" + "9" * 5000), "matches nothing")


def test_classes_that_are_not_the_models(precbench, tmp_path: Path, model: Path) -> None:
    named(model, ("owl", "cat", "dog"))
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    np.savez(
        tmp_path / "other.npz", images=images, labels=np.zeros(6, int), class_names=np.array(["owl", "cat", "elk"])
    )
    refused(precbench("evaluate", model, "--data", "other.npz", "--preprocess", "tf"), "the class 'elk'")


def named(model: Path, names: tuple[str, ...]) -> None:
    from precbench.graph import ModelMetadata, write_metadata

    proto = onnx.load(model)
    write_metadata(
        proto, ModelMetadata(versions={}, source={}, preprocessing=None, class_names=names, groups={}, initializers={})
    )
    onnx.save(proto, model)


def test_labels_are_numbered_as_the_model_numbers_its_classes(precbench, model: Path, images: Path) -> None:
    import json

    plain = json.loads(precbench("evaluate", model, "--data", images, "--preprocess", "tf", "--json").out)
    named(model, ("owl", "cat", "dog"))
    renamed = json.loads(precbench("evaluate", model, "--data", images, "--preprocess", "tf", "--json").out)
    assert renamed["class_names"] == ["owl", "cat", "dog"]
    images_of = dict(zip(plain["class_names"], np.sum(plain["confusion"], axis=1).tolist(), strict=True))
    assert np.sum(renamed["confusion"], axis=1).tolist() == [images_of[name] for name in renamed["class_names"]]


def test_an_interruption_is_said_and_has_its_own_status(
    precbench, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from precbench import graph

    def interrupt(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(graph, "load_model", interrupt)
    result = precbench("inspect", model)
    assert result.status == 130
    assert "interrupted" in result.err


def test_names_that_would_steer_a_terminal_are_written_out(precbench, model: Path) -> None:
    proto = onnx.load(model)
    proto.graph.initializer[0].name = proto.graph.node[1].input[1] = "evil\x1b[2J"
    onnx.save(proto, model)
    out = precbench("inspect", model).out
    assert "\x1b" not in out
    assert "evil\\x1b[2J" in out


def test_an_output_that_is_no_file_or_is_the_input(precbench, tmp_path: Path, model: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    refused(precbench("round", model, "--dp", "2", "-o", "pipe.onnx", "--force"), "a device or a pipe")
    before = model.read_bytes()
    (tmp_path / "link.onnx").symlink_to(model)
    for output in (model, tmp_path / "link.onnx"):
        refused(precbench("round", model, "--dp", "2", "-o", output, "--force"), "is the input")
    assert model.read_bytes() == before


def test_paths_that_cannot_be(precbench, model: Path) -> None:
    long = "x" * 300 + ".onnx"
    refused(precbench("inspect", long), "too long")
    refused(precbench("round", model, "--dp", "2", "-o", long), "too long")
    refused(precbench("round", "", "--dp", "2"), "names no file")
    refused(precbench("export", ""), "names no file")


def test_models_with_weights_that_are_not_finite_are_not_run(precbench, tmp_path: Path, model: Path) -> None:
    proto = onnx.load(model)
    values = np.frombuffer(proto.graph.initializer[0].raw_data, np.float32).copy()
    values[5] = np.nan
    proto.graph.initializer[0].raw_data = values.tobytes()
    onnx.save(proto, tmp_path / "nan.onnx")
    refused(precbench("bench", model, "nan.onnx"), "nan.onnx", "1 NaN or infinite values of 144")
    refused(precbench("evaluate", "nan.onnx", "--reference", model), "nan.onnx")


def test_check_data_that_cannot_be_read(precbench, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    from precbench.checkpoints.tensorflow_quietly import import_keras

    keras = import_keras()
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "m.keras")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 cut")
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("cut.npz", "array.npy", "none.npz"):
        refused(precbench("export", "m.keras", "-o", "m.onnx", "--check-data", name), name)
    assert not (tmp_path / "m.onnx").exists()


def test_a_bug_is_told_as_one_and_never_as_a_missed_threshold(
    precbench, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise IndexError("off by one")

    monkeypatch.setattr("precbench.graph.load_model", broken)
    result = precbench("inspect", model)
    assert result.status == 70
    assert "IndexError: off by one" in result.err
    assert "precbench has a bug" in result.err


def test_a_reader_that_is_gone_is_no_missed_threshold(model: Path) -> None:
    command = [sys.executable, "-c", "from precbench.cli import main; main()", "inspect", str(model)]
    done = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.stdout is not None
    assert done.stderr is not None
    done.stdout.close()
    assert done.wait(60) == 141
    assert not done.stderr.read()


def test_quiet_says_problems_alone_and_verbose_where_they_came_up(precbench, model: Path) -> None:
    usual = precbench("round", model, "--dp", "2", "-o", "a.onnx")
    quiet = precbench("--quiet", "round", model, "--dp", "2", "-o", "b.onnx")
    assert (usual.status, quiet.status) == (0, 0)
    assert not quiet.err
    assert quiet.out.replace("b.onnx", "a.onnx") == usual.out
    refused(precbench("-q", "round", model, "--dp", "2", "-o", "b.onnx"), "exists already")
    verbose = precbench("-v", "round", model, "--dp", "2", "-o", "b.onnx")
    assert verbose.status == 2
    assert "Traceback" in verbose.err
    assert "exists already" in verbose.err
    refused(precbench("-q", "-v", "inspect", model), "give one of them")


def test_data_that_lack_a_class_or_are_not_where_they_are_said_to_be(precbench, model: Path, tmp_path: Path) -> None:
    shown = {"images": np.zeros((2, 4, 4, 3), np.uint8), "labels": np.array([0, 1])}
    np.savez(tmp_path / "two.npz", class_names=np.array(["cat", "owl"]), **shown)  # the model has three scores
    (tmp_path / "photos").mkdir()
    evaluate = ("evaluate", model, "--preprocess", "none", "--data")
    refused(precbench(*evaluate, "two.npz"), "2 classes (cat, owl), the model 3 scores")
    refused(precbench(*evaluate, tmp_path / "photos"), "is a folder", "write folder:")
    refused(precbench(*evaluate, "none.npz"), "there is no file none.npz")


def test_a_grid_or_a_plan_that_cannot_be_used(precbench, model: Path, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text("schema_version = 1\n[grids]\nheads = 2\n")
    refused(precbench("round", model, "--grid", "int8"), "'int8' is no grid", "int:8")
    refused(precbench("round", model, "--grid", "int:8", "--dp", "2"), "both given")
    refused(precbench("round", model, "--target", "head=pow:5"), "'pow:5' is no grid", "pow2:5")
    refused(precbench("round", model, "--plan", "plan.toml"), "names 'heads', which the model has not", "head")
    refused(precbench("round", model, "--plan", "plan.toml", "--dp", "2"), "--plan is given")
    refused(precbench("round", "--plan", "plan.toml"), "none is given")
    refused(precbench("deploy", model, "--plan", "plan.toml", "-o", "out"), "names 'heads'")
    assert files(tmp_path) == {"model.onnx", "plan.toml"}
