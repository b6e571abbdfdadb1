"""A study from nothing to its results, found again by digest, and the commands that work without arguments."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet
import pytest
from onnx import numpy_helper

import precbench.study.definition
from precbench.accuracy import top_classes
from precbench.cli import main
from precbench.files import file_digest
from precbench.grids import round_to_decimals
from precbench.progress import SILENT
from precbench.study.definition import load_study
from precbench.study.run import Run

pytestmark = pytest.mark.slow


class Notes:
    """Progress that keeps the notes."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def track(self, label: str, total: int) -> Any:
        return SILENT.track(label, total)

    def note(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_study: Path
) -> Any:
    """The command line in `tmp_path`, with the tiny study as the default one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(precbench.study.definition, "DEFAULT_STUDY", str(tiny_study))

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["precbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    return run


def results_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "results.json").read_text()))


def test_the_run_folder_holds_everything(tiny_run: Path) -> None:
    held = {str(path.relative_to(tiny_run)) for path in tiny_run.rglob("*") if path.is_file()}
    expected = {"run.json", "results.json", "timing.json", "timing.parquet", "base.onnx"}
    expected |= {f"checkpoint/{name}" for name in ("architecture.json", "weights.h5", "model.keras", "history.csv")}
    expected |= {f"variants/dp{n}.{kind}" for n in (1, 4, 9) for kind in ("onnx", "json")}
    expected |= {f"predictions/{name}.npz" for name in ("base", "dp1", "dp4", "dp9")}
    assert held == expected


def test_the_results_say_what_the_files_hold(tiny_run: Path) -> None:
    results = results_of(tiny_run)
    assert results["schema_version"] == 1
    base, *variants = results["models"]
    assert [v["decimals"] for v in variants] == [1, 4, 9]
    with np.load(tiny_run / "predictions/base.npz") as before, np.load(tiny_run / "predictions/dp1.npz") as after:
        changed = int((top_classes(before["scores"]) != top_classes(after["scores"])).sum())
    assert variants[0]["flips"]["changed"] == changed
    assert base["accuracy"]["total"] == variants[0]["flips"]["total"] == 360
    assert variants[0]["targets"]["distinct"] < variants[1]["targets"]["distinct"]
    assert variants[0]["targets"]["zeros"] > variants[1]["targets"]["zeros"]
    for model in results["models"]:
        assert model["file_bytes"] == (tiny_run / model["file"]).stat().st_size
        assert 0 < model["zstd_bytes"] < model["file_bytes"]


def test_the_results_have_each_variants_comparison_as_it_was_measured(tiny_run: Path) -> None:
    results, record = results_of(tiny_run), json.loads((tiny_run / "timing.json").read_text())
    assert (record["schema_version"], record["command"], record["complete"]) == (2, "bench", True)
    (measurement,) = record["measurements"]
    compared = {comparison["arm"]: comparison for comparison in measurement["comparisons"]}
    base, *variants = results["models"]
    assert base["timing"] is None
    assert [variant["timing"] for variant in variants] == [compared[name] for name in ("dp1", "dp4", "dp9")]
    assert {variant["timing"]["verdict"] for variant in variants} <= {"faster", "slower", "equivalent", "inconclusive"}
    assert results["control"] == variants[0]["timing"]["control_ratio"]
    assert measurement["inputs"]["split"] == "validation"
    samples = pyarrow.parquet.read_table(tiny_run / "timing.parquet", columns=["arm", "use"]).to_pylist()
    timed = [row["arm"] for row in samples if row["use"] == "measured"]
    assert {name: timed.count(name) for name in compared} == {
        name: measurement["arms"][name]["calls"] for name in compared
    }


def test_a_variant_is_the_base_with_its_targets_rounded(tiny_run: Path) -> None:
    base = onnx.load(tiny_run / "base.onnx").graph.initializer
    variant = onnx.load(tiny_run / "variants/dp4.onnx").graph.initializer
    record = json.loads((tiny_run / "variants/dp4.json").read_text())
    rounded = {o["initializer"] for o in record["outcomes"] if o["skipped"] is None}
    assert len(rounded) == 50
    for before, after in zip(base, variant, strict=True):
        values = numpy_helper.to_array(before)
        expected = round_to_decimals(values, 4) if before.name in rounded else values
        np.testing.assert_array_equal(numpy_helper.to_array(after), expected)


def test_the_same_study_in_the_same_folder_does_nothing_again(copied_run: Path, tiny_study: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied_run.rglob("*") if path.is_file()}
    notes = Notes()
    results = Run(load_study(str(tiny_study)), copied_run, progress=notes).run()
    assert results == results_of(copied_run)
    assert {path: path.stat().st_mtime_ns for path in copied_run.rglob("*") if path.is_file()} == before
    assert len(notes.texts) == 1
    assert "checkpoint, base, dp1, dp4, dp9, timing, results" in notes.texts[0]


def test_a_tampered_variant_is_made_again_and_nothing_else(copied_run: Path, tiny_study: Path) -> None:
    digest = file_digest(copied_run / "variants/dp4.onnx")
    trained = (copied_run / "checkpoint/weights.h5").stat().st_mtime_ns
    (copied_run / "variants/dp4.onnx").write_bytes(b"tampered")
    Run(load_study(str(tiny_study)), copied_run).run()
    assert file_digest(copied_run / "variants/dp4.onnx") == digest
    assert (copied_run / "checkpoint/weights.h5").stat().st_mtime_ns == trained


def test_commands_without_arguments_use_the_default_run_folder(command: Any, copied_run: Path) -> None:
    status, out, err = command("export")
    assert (status, err.count("\n")) == (0, 1)
    assert "using runs/tiny/checkpoint" in err
    assert "Found runs/tiny/base.onnx" in out
    status, out, err = command("round", "--dp", "4")
    assert (status, err.count("\n")) == (0, 1)
    assert "using runs/tiny/base.onnx" in err
    assert "Wrote runs/tiny/variants/dp4.onnx" in out
    status, out, err = command("bench", "--budget", "5s")
    assert (status, err.count("\n")) == (0, 1)
    assert "timing dp1, dp4, dp9 against runs/tiny/base.onnx" in err
    assert "A/A control" in out
    status, out, _ = command("inspect", "--json")
    assert json.loads(out)["model"] == "runs/tiny/base.onnx"


def test_round_without_a_model_takes_patterns_too(command: Any, copied_run: Path) -> None:
    status, out, _ = command("round", "--dp", "3", "--group", "expand,project=2", "--json")
    record = json.loads(out)
    assert status == 0
    assert {o["group"]: o["decimals"] for o in record["outcomes"] if o["decimals"] is not None} == {
        "expand": 3,
        "project": 2,
    }
    assert Path(record["output"]).is_file()
    status, _, err = command("round", "--dp", "3", "--group", "expnd")
    assert status == 2
    assert "the nearest is expand" in err


def test_evaluate_on_the_digits_is_the_studys_own_test_split(command: Any, copied_run: Path) -> None:
    status, out, _ = command(
        "evaluate", "runs/tiny/variants/dp4.onnx", "--data", "digits", "--reference", "runs/tiny/base.onnx", "--json"
    )
    assert status == 0
    evaluated, recorded = json.loads(out), results_of(copied_run)["models"][2]
    assert evaluated["accuracy"] == recorded["accuracy"]
    assert evaluated["flips"] == recorded["flips"]


def test_an_empty_folder_is_filled_by_bench_alone(command: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    status, out, _ = command("bench", "--budget", "5s")
    assert status == 0
    assert (tmp_path / "runs/tiny/variants/dp4.onnx").is_file()
    assert "\ndp4 " in out


def test_a_study_can_be_run_from_its_file_into_a_folder_and_printed_as_json(
    command: Any, copied_run: Path, tiny_study: Path
) -> None:
    status, out, _ = command("run", tiny_study, "-o", copied_run, "--json")
    assert status == 0
    assert json.loads(out)["models"] == results_of(copied_run)["models"]
    status, out, _ = command("run", tiny_study, "-o", copied_run)
    assert "Accuracy:" in out
    assert "A/A" in out


def test_another_studys_folder_is_left_alone(command: Any, copied_run: Path) -> None:
    status, _, err = command("run", "mobilenetv2-digits", "-o", copied_run)
    assert status == 2
    assert "holds a run of the study 'tiny'" in err
