"""Each command does what its help says, in words and in JSON."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from precbench.grids import round_to_decimals


def test_without_a_command_the_help_is_printed(precbench) -> None:
    result = precbench()
    assert result.status == 2
    assert "bench" in result.out


@pytest.mark.parametrize("command", ["run", "export", "round", "evaluate", "bench", "compare", "inspect"])
def test_every_command_has_help_with_an_example(precbench, command: str) -> None:
    result = precbench(command, "--help")
    assert result.status == 0
    assert f"Example: precbench {command}" in result.out


def test_the_version_is_printed(precbench) -> None:
    assert precbench("--version").out.startswith("precbench ")


def test_round_writes_a_rounded_copy_beside_the_model(precbench, model: Path) -> None:
    result = precbench("round", model, "--dp", "2")
    assert result.status == 0
    assert "Wrote" in result.out
    before, after = (
        numpy_helper.to_array(onnx.load(p).graph.initializer[0]) for p in (model, model.with_name("model.dp2.onnx"))
    )
    np.testing.assert_array_equal(after, round_to_decimals(before, 2))


def test_round_takes_decimals_per_pattern(precbench, model: Path) -> None:
    result = precbench("round", model, "--target", "head=1", "--regex", ".*/bias=3", "-o", "out.onnx", "--json")
    record = json.loads(result.out)
    assert record["schema_version"] == 1
    assert {o["initializer"]: o["decimals"] for o in record["outcomes"]} == {"head/kernel": 1, "head/bias": 3}
    assert Path("out.onnx").is_file()


def test_round_refuses_an_output_that_exists_unless_forced(precbench, model: Path) -> None:
    assert precbench("round", model, "--dp", "2", "-o", "out.onnx").status == 0
    before = Path("out.onnx").read_bytes()
    refused = precbench("round", model, "--dp", "1", "-o", "out.onnx")
    assert refused.status == 2
    assert "out.onnx exists already" in refused.err
    assert Path("out.onnx").read_bytes() == before
    assert precbench("round", model, "--dp", "1", "-o", "out.onnx", "--force").status == 0
    assert Path("out.onnx").read_bytes() != before


def test_inspect_lists_initializers_and_totals(precbench, model: Path) -> None:
    result = precbench("inspect", model)
    assert "head/kernel" in result.out
    assert "total" in result.out
    record = json.loads(precbench("inspect", model, "--json").out)
    assert [row["name"] for row in record["initializers"]] == ["head/kernel", "head/bias"]
    assert record["total"]["elements"] == 48 * 3 + 3


def test_names_from_a_model_are_never_read_as_markup(precbench, model: Path) -> None:
    proto = onnx.load(model)
    proto.graph.initializer[0].name = "[red]w[/red]"
    proto.graph.node[1].input[1] = "[red]w[/red]"
    onnx.save(proto, model)
    assert "[red]w[/red]" in precbench("inspect", model).out


def test_evaluate_gives_accuracy_confusion_and_flips(precbench, model: Path, images: Path) -> None:
    precbench("round", model, "--dp", "1")
    result = precbench("evaluate", "model.dp1.onnx", "--data", images, "--reference", model, "--preprocess", "tf")
    assert result.status == 0
    for words in ("owl", "Accuracy", "gained", "McNemar", "SQNR"):
        assert words in result.out
    record = json.loads(
        precbench(
            "evaluate", "model.dp1.onnx", "--data", images, "--reference", model, "--preprocess", "tf", "--json"
        ).out
    )
    assert record["class_names"] == ["cat", "dog", "owl"]
    assert np.sum(record["confusion"]) == record["accuracy"]["total"] == 40
    assert np.trace(record["confusion"]) == record["accuracy"]["correct"]
    assert (
        record["flips"]["gained"] - record["flips"]["lost"]
        == record["accuracy"]["correct"] - record["reference_accuracy"]["correct"]
    )


def test_evaluate_without_labels_gives_fidelity_on_seeded_inputs(precbench, model: Path) -> None:
    precbench("round", model, "--dp", "3")
    record = json.loads(precbench("evaluate", "model.dp3.onnx", "--reference", model, "--json").out)
    assert record["accuracy"] is None
    assert record["data"]["kind"] == "seeded"
    assert record["fidelity"]["scores"]["sqnr_db"] > 30
    assert record["fidelity"]["scores"]["top1_agreement"] is not None


def test_evaluate_feeds_arrays_under_input_names_as_they_are_with_labels_beside(precbench, model: Path) -> None:
    rng = np.random.default_rng(3)
    np.savez("arrays.npz", image=rng.normal(size=(10, 4, 4, 3)).astype(np.float32), labels=rng.integers(0, 3, 10))
    record = json.loads(precbench("evaluate", model, "--data", "arrays.npz", "--json").out)
    assert record["accuracy"]["total"] == 10
    assert record["fidelity"] is None


def test_evaluating_a_model_against_itself_is_exact(precbench, model: Path) -> None:
    record = json.loads(precbench("evaluate", model, "--reference", model, "--json").out)
    assert record["fidelity"]["scores"]["sqnr_db"] == "inf"
    assert record["fidelity"]["scores"]["max_abs_error"] == 0


def test_inspect_on_a_narrow_terminal_breaks_no_number(precbench, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from precbench.report import terminal

    monkeypatch.setattr(terminal, "make_console", lambda **_options: Console(width=80, highlight=False))
    out = precbench("inspect", model).out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "head/kernel  (weight, float 48x3, layer head)" in out
    assert out.split("head/kernel")[1].splitlines()[1].split()[0] == "144"


def test_a_model_of_open_size_is_evaluated_at_the_images_own(precbench, model: Path, tmp_path: Path) -> None:
    graph = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        net (float[n, h, w, 3] x) => (float[n, 3] y) <int64[2] axes = {1, 2}>
        { y = ReduceMean <axes = [1, 2], keepdims = 0> (x) }"""
    )
    del graph.graph.initializer[:]
    onnx.save(graph, tmp_path / "open.onnx")
    np.savez("i.npz", images=np.zeros((3, 7, 9, 3), np.uint8), labels=np.array([0, 1, 2]))
    record = json.loads(precbench("evaluate", "open.onnx", "--data", "i.npz", "--preprocess", "tf", "--json").out)
    assert record["accuracy"]["correct"] == 1


def test_outputs_that_are_whole_numbers_are_counted_as_equal_or_not(precbench, tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
        net (float[n, 2] x) => (int64[n] y) <float[2, 3] w = {1, 2, 3, 4, 5, 6}>
        { p = MatMul (x, w)  y = ArgMax <axis = 1, keepdims = 0> (p) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "a.onnx")
    result = precbench("evaluate", "a.onnx", "--reference", "a.onnx")
    assert "y: whole numbers: 32 of 32 elements are equal" in result.out
