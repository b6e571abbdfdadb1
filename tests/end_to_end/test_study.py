"""A study from nothing to its results, found again by digest, and the commands that work without arguments."""

import contextlib
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import time
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
from precbench.graph import list_initializers, load_model, round_model, save_model
from precbench.grids import round_to_decimals
from precbench.progress import SILENT
from precbench.runtime import SessionSettings, open_session
from precbench.study.definition import load_study
from precbench.study.evaluation import EvaluationData, run_model
from precbench.study.experiments import points_of
from precbench.study.journal import Journal
from precbench.study.material import Material, Places
from precbench.study.points import BASE, EvaluationSet, point_key
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


@pytest.fixture
def untimed_study(tiny_study: Path, tmp_path: Path) -> Path:
    text = tiny_study.read_text(encoding="utf-8").replace('experiments = ["all"]', "experiments = []")
    path = tmp_path / "untimed.toml"
    path.write_text(text.replace("winners = true", "winners = false"), encoding="utf-8")
    return path


def all_groups(results: dict[str, Any]) -> list[dict[str, Any]]:
    return list(next(e["rows"] for e in results["experiments"] if e["name"] == "all"))


def results_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "results.json").read_text()))


def test_the_run_folder_holds_everything(tiny_run: Path) -> None:
    held = {str(path.relative_to(tiny_run)) for path in tiny_run.rglob("*") if path.is_file()}
    expected = {"journal.sqlite", "run.lock", "results.json", "timing.json", "timing.parquet", "base.onnx"}
    expected |= {f"checkpoint/{name}" for name in ("architecture.json", "weights.h5", "model.keras", "history.csv")}
    expected |= {f"variants/dp{n}.{kind}" for n in (1, 4, 9) for kind in ("onnx", "json")}
    assert held == expected


def test_the_results_say_what_the_files_hold(tiny_run: Path) -> None:
    results = results_of(tiny_run)
    assert results["schema_version"] == 2
    base, rows = results["base"], all_groups(results)
    assert [row["decimals"] for row in rows] == [1, 4, 9]
    assert base["accuracy"]["total"] == rows[0]["flips"]["total"] == 360
    assert rows[0]["file"]["targets"]["distinct"] < rows[1]["file"]["targets"]["distinct"]
    assert rows[0]["file"]["targets"]["zeros"] > rows[1]["file"]["targets"]["zeros"]
    for held in (base, *(row["file"] for row in rows)):
        assert held["file_bytes"] == (tiny_run / held["file"]).stat().st_size
        assert 0 < held["zstd_bytes"] < held["file_bytes"]


def test_all_four_experiments_have_their_points(tiny_run: Path) -> None:
    results = results_of(tiny_run)
    assert {e["name"]: len(e["rows"]) for e in results["experiments"]} == {
        "all": 3,
        "groups": 5 * 3,
        "combinations": 2**3,
        "layers": 50,
    }
    assert all(row["state"] == "done" for e in results["experiments"] for row in e["rows"])


def test_every_points_predictions_are_those_of_a_session_of_its_own(tiny_run: Path, tiny_study: Path) -> None:
    study = load_study(str(tiny_study))
    model, material = load_model(tiny_run / "base.onnx"), Material(study, Places())
    test, journal = EvaluationSet.of(material.split("test"), study.data, tiny_run / "base.onnx"), Journal(tiny_run)
    points = [point for one in study.experiment for point in points_of(one, list_initializers(model))]
    session = open_session(tiny_run / "base.onnx", SessionSettings())
    data = EvaluationData(description={}, images=test.images)
    assert_same(journal, point_key(test, BASE), run_model(session, data, preprocessing=None))
    for point in points[::7]:
        path = tiny_run.parent / "alone.onnx"
        save_model(round_model(model, point.plan).model, path)
        alone = run_model(open_session(path, SessionSettings()), data, preprocessing=None)
        assert_same(journal, point_key(test, point.plan), alone)


def assert_same(journal: Journal, key: str, outputs: dict[str, Any]) -> None:
    found = journal.predictions(key)
    assert found is not None
    np.testing.assert_array_equal(found.classes, top_classes(next(iter(outputs.values()))))


def test_the_results_have_each_variants_comparison_as_it_was_measured(tiny_run: Path) -> None:
    results, record = results_of(tiny_run), json.loads((tiny_run / "timing.json").read_text())
    assert (record["schema_version"], record["command"], record["complete"]) == (2, "bench", True)
    (measurement,) = record["measurements"]
    compared = {comparison["arm"]: comparison for comparison in measurement["comparisons"]}
    variants = all_groups(results)
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
    with Run(load_study(str(tiny_study)), copied_run, progress=notes) as run:
        results = run.run()
    assert results == results_of(copied_run)
    after = {path: path.stat().st_mtime_ns for path in copied_run.rglob("*") if path.is_file()}
    own = {copied_run / "journal.sqlite", copied_run / "run.lock"}
    assert {path for path in before if after[path] != before[path]} <= own
    assert len(notes.texts) == 1
    assert "checkpoint, base, dp1, dp4, dp9, timing, results" in notes.texts[0]


def test_a_tampered_variant_is_made_again_and_nothing_else(copied_run: Path, tiny_study: Path) -> None:
    digest = file_digest(copied_run / "variants/dp4.onnx")
    trained = (copied_run / "checkpoint/weights.h5").stat().st_mtime_ns
    (copied_run / "variants/dp4.onnx").write_bytes(b"tampered")
    with Run(load_study(str(tiny_study)), copied_run) as run:
        run.run()
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
    evaluated, recorded = json.loads(out), all_groups(results_of(copied_run))[1]
    assert evaluated["accuracy"]["correct"] == recorded["flips"]["variant_correct"]
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
    assert json.loads(out)["experiments"] == results_of(copied_run)["experiments"]
    status, out, _ = command("run", tiny_study, "-o", copied_run)
    assert "All groups together:" in out
    assert (copied_run / "report.html").is_file()
    assert "A/A" in out


def test_another_studys_folder_is_left_alone(command: Any, copied_run: Path) -> None:
    status, _, err = command("run", "mobilenetv2-digits", "-o", copied_run)
    assert status == 2
    assert "holds a run of the study 'tiny'" in err


def test_the_status_of_a_finished_run(command: Any, copied_run: Path) -> None:
    status, out, _ = command("status", copied_run)
    assert status == 0
    assert "tiny in" in out
    assert "not running" in out
    assert "Finished: checkpoint, base, timing, results." in out
    status, out, _ = command("status", copied_run, "--json")
    found = json.loads(out)
    assert found["experiments"]["layers"] == {"left": 0, "running": 0, "done": 50, "failed": 0}
    assert found["failed"] == []


def test_a_second_run_in_the_folder_is_refused(command: Any, copied_run: Path, tiny_study: Path) -> None:
    with Run(load_study(str(tiny_study)), copied_run):
        status, _, err = command("run", tiny_study, "-o", copied_run)
        assert (status, "another precbench works in" in err) == (2, True)
        status, out, _ = command("status", copied_run)
        assert ": running." in out


def test_a_study_begins_with_a_checkpoint_that_is_given(
    command: Any, copied_run: Path, tiny_study: Path, tmp_path: Path
) -> None:
    status, _, err = command("run", tiny_study, "-o", tmp_path / "again", "--checkpoint", copied_run / "checkpoint")
    assert status == 0, err
    assert "beginning with the checkpoint" in err
    first, again = results_of(copied_run), results_of(tmp_path / "again")
    assert again["base"]["confusion"] == first["base"]["confusion"]
    assert [r["flips"] for r in all_groups(again)] == [r["flips"] for r in all_groups(first)]
    status, _, err = command("run", tiny_study, "-o", tmp_path / "again")  # which it need not be told once more
    assert status == 0
    assert "not done again: checkpoint, base" in err


def test_a_checkpoint_that_cannot_be_meant_is_refused_before_anything_is_lost(
    command: Any, copied_run: Path, tiny_study: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in copied_run.rglob("*") if path.is_file()}
    inside = ("--fresh", "--checkpoint", copied_run / "checkpoint")
    nowhere = ("--fresh", "--checkpoint", tmp_path / "nowhere")
    for arguments, problem in ((inside, "lies in the run folder"), (nowhere, "has no architecture.json")):
        status, _, err = command("run", tiny_study, "-o", copied_run, *arguments)
        assert (status, problem in err) == (2, True)
    assert {path: path.read_bytes() for path in copied_run.rglob("*") if path.is_file()} == before
    other = tmp_path / "other.toml"
    other.write_text(tiny_study.read_text().replace("input_size = 32", "input_size = 64"))
    status, _, err = command("run", other, "-o", tmp_path / "other", "--checkpoint", copied_run / "checkpoint")
    assert status == 2
    assert "takes (None, 32, 32, 3)" in err


KILLS = 20
COMMAND = (sys.executable, "-c", "from precbench.cli import main; main()")


def test_killed_at_any_moment_and_run_again_it_ends_with_the_same_tables(
    copied_run: Path, untimed_study: Path, tmp_path: Path
) -> None:
    arguments = ["run", untimed_study, "-o", tmp_path / "killed", "--checkpoint", copied_run / "checkpoint"]
    folder, generator = tmp_path / "killed", random.Random(5)
    done, kills, in_the_middle = dict[str, Any](), 0, 0
    while kills < KILLS:
        forget_what_was_running(folder)
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        if kills % 2:  # every other time in the middle of an evaluation
            while process.poll() is None and not is_evaluating(folder):
                time.sleep(0.01)
        try:
            process.wait(timeout=generator.uniform(0.0, 0.5) if kills % 2 else generator.uniform(0.3, 10.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            in_the_middle += is_evaluating(folder)
        else:  # it came to its end before it was killed: once more from nothing
            assert tables(results_of(folder)) == tables(results_of(copied_run))
            assert done.items() <= predictions_in(folder).items()
            shutil.rmtree(folder)
            done = {}
        if (folder / "journal.sqlite").exists():
            now = predictions_in(folder)
            assert done.items() <= now.items()
            done = now
    subprocess.run([*COMMAND, *map(str, arguments)], check=True, capture_output=True)
    assert tables(results_of(tmp_path / "killed")) == tables(results_of(copied_run))
    assert done.items() <= predictions_in(tmp_path / "killed").items()
    assert in_the_middle >= 3


FULL_DISK = """
mount -t tmpfs -o size={kilobytes}k none "$1" || exit 77
shift
"$@" 2> first.err; echo $? > first.status
"${{@:1:{command}}}" status disk/run > status.txt 2>&1 || exit 1
mount -o remount,size=500m disk && "$@" > /dev/null 2> second.err || exit 1
cp disk/run/results.json results.json
"""
"""Run in a folder on a small disk of its own; then look at it; then give it room and run once more."""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed: no small disk can be made")
@pytest.mark.parametrize(("step", "room"), [("checkpoint", -5000), ("base", -1000), ("points", 40), ("results", 110)])
def test_a_full_disk_stops_it_with_a_clear_message_and_with_room_it_goes_on(
    copied_run: Path, untimed_study: Path, tmp_path: Path, step: str, room: int
) -> None:
    """The disk has room for the checkpoint and the base, and so many KiB more."""
    (tmp_path / "disk").mkdir()
    files = [*(copied_run / "checkpoint").iterdir(), copied_run / "base.onnx"]
    pages = sum(-(-file.stat().st_size // 4096) for file in files)
    script = FULL_DISK.format(kilobytes=4 * pages + room, command=len(COMMAND))
    arguments = ["run", untimed_study, "-o", "disk/run", "--checkpoint", copied_run / "checkpoint"]
    command = ["unshare", "-rm", "bash", "-c", script, "bash", "disk", *COMMAND, *map(str, arguments)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"no small disk can be made here: {done.stderr.strip()}")
    assert done.returncode == 0, [path.read_text() for path in tmp_path.glob("*.err")]
    assert (tmp_path / "first.status").read_text() == "2\n"
    said = (tmp_path / "first.err").read_text()
    assert "No space left on device" in said or "disk is full" in said
    assert "try:" in said
    assert "Traceback" not in said
    assert {"checkpoint": "checkpoint", "base": "base.onnx", "points": "journal", "results": "results"}[step] in said
    assert tables(json.loads((tmp_path / "results.json").read_text())) == tables(results_of(copied_run))


def tables(results: dict[str, Any]) -> list[Any]:
    return [
        (one["name"], row["name"], row["flips"], row["decision"])
        for one in results["experiments"]
        for row in one["rows"]
    ]


def is_evaluating(folder: Path) -> bool:
    """Whether the journal says that some point has begun and not ended."""
    return execute(folder, "SELECT 1 FROM points WHERE state = 'running'") != []


def forget_what_was_running(folder: Path) -> None:
    """As the next run does, but at once: so that what is seen running then is of that run."""
    execute(folder, "UPDATE points SET state = 'left' WHERE state = 'running'")


def predictions_in(folder: Path) -> dict[str, Any]:
    """Key to what is recorded, and the row, which is another where it was recorded twice."""
    return {key: rest for key, *rest in execute(folder, "SELECT key, rowid, classes FROM predictions")}


def execute(folder: Path, statement: str) -> list[Any]:
    """What a statement finds in a journal; nothing where there is none, or a kill left it before it was begun."""
    path = folder / "journal.sqlite"
    if not path.exists():
        return []
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as connection:
            return connection.execute(statement).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        return []
