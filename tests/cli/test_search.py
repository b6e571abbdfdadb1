"""`precbench search` and `sensitivity` on a small network, really run: plans, resuming, refusals."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from precbench.search.finding import journal_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(precbench: Any) -> Run:
    def typed(*arguments: str | Path) -> tuple[int, str, str]:
        done = precbench(*arguments)
        return done.status, done.out, done.err

    return typed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of three layers and 6,000 samples that it has nearly all right."""
    place = tmp_path_factory.mktemp("search")
    rng = np.random.default_rng(0)
    shapes = {"first/kernel": (16, 48), "second/kernel": (48, 48), "third/kernel": (48, 4)}
    nodes = [
        helper.make_node("MatMul", ["x", "first/kernel"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second/kernel"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "third/kernel"], ["y"]),
    ]
    weights = [numpy_helper.from_array(rng.normal(0, 0.3, s).astype(np.float32), n) for n, s in shapes.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), place / "m.onnx")
    x = rng.normal(size=(6000, 16)).astype(np.float32)
    scores = onnxruntime.InferenceSession(place / "m.onnx").run(None, {"x": x})[0]
    labels = np.where(rng.random(6000) < 0.95, scores.argmax(1), rng.integers(0, 4, 6000))
    np.savez(place / "d.npz", x=x, labels=labels)
    np.savez(place / "unlabelled.npz", x=x)
    np.savez(place / "few.npz", x=x[:300], labels=labels[:300])
    return place


def searched(run: Run, folder: Path, output: Path, *more: str) -> tuple[int, dict[str, Any]]:
    status, out, err = run(
        *("search", folder / "m.onnx", "--data", folder / "d.npz", "-o", output, "--max-drop", "1"), *more, "--json"
    )
    assert out, err
    return status, json.loads(out)


def test_a_plan_is_found_that_rounds_and_beats_the_best_uniform(run: Run, folder: Path, tmp_path: Path) -> None:
    status, record = searched(run, folder, tmp_path / "plan.toml", "--evaluations", "200000")
    assert status == 0
    assert record["holds"]
    assert record["validation"]["shown_margin_points"] <= 1
    assert set(record["plan"]) == {"first/kernel", "second/kernel", "third/kernel"}
    assert record["estimated"] <= record["uniform"]["estimated"]
    assert record["evaluations"] <= 200_000
    assert record["test"]["total"] + record["validation"]["total"] > 3000
    many = record["validation_many_looks"]
    shown = [
        record["validation"]["shown_margin_points"],
        *(many[f"shown_margin_points_by_{k}"] for k in ("paths", "looks")),
    ]
    assert shown == sorted(shown)
    assert many["paths"] == 1 + record["rounds"]
    status, out, err = run(
        "round", folder / "m.onnx", "--plan", tmp_path / "plan.toml", "-o", tmp_path / "r.onnx", "--json"
    )
    assert status == 0, err
    assert {o["initializer"]: o["grid"] for o in json.loads(out)["outcomes"]} == record["plan"]


def test_the_same_budget_gives_the_same_plan_and_a_search_that_was_killed_goes_on(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    _, whole = searched(run, folder, tmp_path / "a.toml", "--evaluations", "150000")
    _, again = searched(run, folder, tmp_path / "b.toml", "--evaluations", "150000")
    journal = journal_of(tmp_path / "a.toml")
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:4]) + lines[4][: len(lines[4]) // 2])  # killed while it wrote
    (tmp_path / "a.toml").unlink()
    _, resumed = searched(run, folder, tmp_path / "a.toml", "--evaluations", "150000")
    for other in (again, resumed):
        assert other["plan"] == whole["plan"]
        assert other["evaluations"] == whole["evaluations"]
        assert other["looks"] == whole["looks"]
    plans = [(tmp_path / name).read_text() for name in ("a.toml", "b.toml")]
    assert plans[0] == plans[1]


def test_a_later_sitting_with_less_room_keeps_the_better_plan_and_the_test_images_see_it_once(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    _, more = searched(run, folder, tmp_path / "p.toml", "--evaluations", "150000")
    text = (tmp_path / "p.toml").read_text()
    _, less = searched(run, folder, tmp_path / "p.toml", "--evaluations", "12000")
    assert (tmp_path / "p.toml").read_text() == text
    assert less["plan"] == more["plan"]
    assert less["looks"] == more["looks"]
    assert less["evaluations"] <= 12_000
    assert less["stopped"] == "the budget has no room for more"
    assert more["stopped"] != less["stopped"]
    assert more["test_looks"] == less["test_looks"] == 1
    _, other = searched(run, folder, tmp_path / "p.toml", "--max-drop", "5", "--evaluations", "150000")
    assert other["plan"] != more["plan"]
    assert other["test_looks"] == 2


def test_a_plan_that_was_edited_and_any_other_file_stay_as_they_are(run: Run, folder: Path, tmp_path: Path) -> None:
    searched(run, folder, tmp_path / "p.toml", "--evaluations", "12000")
    (tmp_path / "p.toml").write_text((tmp_path / "p.toml").read_text() + "# edited\n")
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "folder").mkdir()
    for name, problem in (
        (tmp_path / "p.toml", "exists, and not as this search wrote it"),
        (tmp_path / "notes", "exists, and not as this search wrote it"),
        (tmp_path / "folder", "is a directory"),
        (folder / "m.onnx", "is the input"),
        (folder / "d.npz", "is the input"),
    ):
        before = name.read_bytes() if name.is_file() else b""
        command = ("search", folder / "m.onnx", "--data", folder / "d.npz", "-o", name, "--max-drop", "1")
        status, _, err = run(*command, "--evaluations", "12000")
        assert status == 2
        assert problem in " ".join(err.split())
        assert name.is_dir() or name.read_bytes() == before


def test_weights_outside_of_the_file_belong_to_the_model(run: Run, folder: Path, tmp_path: Path) -> None:
    model = onnx.load(folder / "m.onnx")
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.data", size_threshold=0)
    command = ("search", tmp_path / "m.onnx", "--data", folder / "d.npz", "-o", tmp_path / "p.toml", "--max-drop", "1")
    assert run(*command, "--evaluations", "12000")[0] == 0
    held = np.fromfile(tmp_path / "w.data", np.float32)
    (held * np.float32(0.5)).tofile(tmp_path / "w.data")
    status, _, err = run(*command, "--evaluations", "12000")
    assert status == 2
    assert "is the journal of a search on another model" in " ".join(err.split())
    status, _, err = run("round", tmp_path / "m.onnx", "--plan", tmp_path / "p.toml")
    assert status == 2
    assert "was made for the model" in " ".join(err.split())


def test_a_step_per_channel_is_an_option_and_shifts_have_signs(run: Run, folder: Path, tmp_path: Path) -> None:
    _, record = searched(run, folder, tmp_path / "p.toml", "--grid", "int:8:channel", "--grid", "int:5:channel")
    assert set(record["plan"].values()) <= {"int:8:channel", "int:5:channel"}
    lines = [json.loads(line)["facts"] for line in journal_of(tmp_path / "p.toml").read_text().splitlines()[1:]]
    shifts = np.array([facts["shifts"] for facts in lines if "shifts" in facts])
    assert (shifts > 0).any()
    assert (shifts < 0).any()


def test_where_no_plan_holds_the_nearest_is_left_and_the_status_is_1(run: Run, folder: Path, tmp_path: Path) -> None:
    status, record = searched(run, folder, tmp_path / "p.toml", "--dp", "0", "--evaluations", "20000")
    assert status == 1
    assert not record["holds"]
    assert "NOT within 1." in (tmp_path / "p.toml").read_text()


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (("unlabelled.npz",), "accuracy cannot be measured: the data have no labels"),
        (("few.npz",), "validation images show a loss to be below"),
        (("d.npz", "--evaluations", "100"), "a budget of 100 image evaluations has no room"),
        (("d.npz", "--max-drop", "-1"), "--max-drop -1 is not inside 0..100"),
        (("d.npz", "--max-drop", "0"), "no number of images shows"),
        (("d.npz", "--objective", "byte"), "there is no objective 'byte'"),
        (("d.npz", "--dp", "1,13"), "13"),
        (("d.npz", "--max-drop", "1e-310"), "validation images show a loss to be below"),
    ],
)
def test_what_cannot_be_searched_is_refused_and_nothing_is_written(
    run: Run, folder: Path, tmp_path: Path, asked: tuple[str, ...], problem: str
) -> None:
    data, *more = asked
    status, _, err = run(
        "search", folder / "m.onnx", "--data", folder / data, "-o", tmp_path / "p.toml", "--max-drop", "0.5", *more
    )
    assert status == 2
    assert problem in " ".join(err.split())
    assert not list(tmp_path.iterdir())


def test_layers_are_ranked_on_fewer_images_in_the_order_of_all(run: Run, folder: Path) -> None:
    command = ("sensitivity", folder / "m.onnx", "--data", folder / "d.npz", "--dp", "1,2,3", "--json")
    status, out, err = run(*command)
    assert status == 0, err
    few = json.loads(out)
    whole = json.loads(run(*command, "--images", "6000", "--top", "3")[1])
    names = [damages[0]["layer"] for damages in few["layers"]]
    assert sorted(names) == ["first", "second", "third"]
    assert names == [damages[0]["layer"] for damages in whole["layers"]]
    assert few["evaluations"] < 6000 * 9
    divergences = [damages[0]["divergence"] for damages in few["layers"]]
    assert divergences == sorted(divergences, reverse=True)
    for damages in few["layers"]:
        assert [each["grid"] for each in damages] == ["decimal:1", "decimal:2", "decimal:3"]
        assert damages[0]["sqnr_db"] < damages[2]["sqnr_db"]


def test_sensitivity_needs_no_labels_and_takes_other_grids(run: Run, folder: Path) -> None:
    status, out, err = run(
        *("sensitivity", folder / "m.onnx", "--data", folder / "unlabelled.npz", "--grid", "pow2:4", "--grid", "int:8")
    )
    assert status == 0, err
    assert "dB, pow2:4" in out
    assert "Each layer rounded alone to pow2:4" in out


def test_grids_are_set_side_by_side_in_either_order(run: Run, folder: Path) -> None:
    chosen = [word for text in ("decimal:3", "int:8:channel", "pow2:4", "posit:8,0") for word in ("--grid", text)]
    command = ("grids", folder / "m.onnx", "--data", folder / "d.npz", *chosen)
    status, out, err = run(*command, "--by", "entropy", "--json")
    assert status == 0, err
    rows = {row["grid"]: row for row in json.loads(out)["grids"]}
    assert [row["entropy_bits"] for row in rows.values()] == sorted(row["entropy_bits"] for row in rows.values())
    assert rows["pow2:4"]["bits"] == 4
    assert rows["int:8:channel"]["sqnr_db"] > rows["pow2:4"]["sqnr_db"]
    assert all(row["entropy_bits"] <= row["bits"] for row in rows.values())
    assert rows["int:8:channel"]["flips"]["lost"] < rows["pow2:4"]["flips"]["lost"]
    assert "posit:8,0" in run(*command)[1]


def test_every_default_grid_is_compared(run: Run, folder: Path) -> None:
    status, out, err = run("grids", folder / "m.onnx", "--data", folder / "d.npz", "--json")
    assert status == 0, err
    assert len(json.loads(out)["grids"]) == 29


@pytest.mark.parametrize(
    ("more", "problem"),
    [(("--by", "bit"), "--by bit is no order"), (("--grid", "int8"), "'int8' is no grid")],
)
def test_an_order_or_a_grid_that_is_none_is_refused(
    run: Run, folder: Path, more: tuple[str, str], problem: str
) -> None:
    status, _, err = run("grids", folder / "m.onnx", "--data", folder / "d.npz", *more)
    assert status == 2
    assert problem in err
