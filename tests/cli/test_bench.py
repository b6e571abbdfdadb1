"""`precbench bench` as a user meets it: what it prints, writes, and refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pyarrow.parquet
import pytest
from rich.console import Console

from precbench.bench import samples_file
from precbench.bench import sequential as sequential_module
from precbench.errors import OutputError
from precbench.report import terminal
from precbench.timing.journal import Kind, read_journal, reading_words
from precbench.timing.processes import Outcome

Bench = Callable[..., Any]
OPTIONS = ("--budget", "1s", "--processes", "2", "--batch", "4")


@pytest.fixture
def simulated_bench(bench: Bench, simulated: Callable[..., None]) -> Bench:
    """The same on a machine that does not exist: the gate is real, and all that is written and printed."""
    simulated()
    return bench


@pytest.fixture
def bench(precbench: Any, model: Path, tmp_path: Path) -> Bench:
    """Run `precbench bench` on the model and a rounded copy of it, for a short time."""
    assert precbench("round", model, "--dp", "1", "-o", "rounded.onnx").status == 0

    def run(*options: str | Path) -> Any:
        return precbench("bench", "model.onnx", "rounded.onnx", *OPTIONS, *options)

    return run


def refused(result: Any, *words: str) -> None:
    assert result.status == 2, result
    lines = result.err.strip().splitlines()
    assert len(lines) == 2, result.err
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("  try: ")
    for word in words:
        assert word in result.err, result.err
    assert result.out == ""


def made(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def strict(text: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return dict(json.loads(text, parse_constant=refuse))


def test_the_help_has_every_option_and_an_example(precbench: Any) -> None:
    result = precbench("bench", "--help")
    for option in (
        "--budget", "--margin", "--target-width", "--processes", "--batch", "--threads", "--clock", "--seed", "--arm",
        "--protocol", "--profile", "--replay", "--json", "--output", "--force", "--ep", "--input", "--shape",
    ):  # fmt: skip
        assert option in result.out
    assert "Example: precbench bench model.onnx" in result.out
    assert "checks before it and --profile after it come on top" in " ".join(result.out.split())


def test_what_is_printed_has_the_verdict_with_all_that_it_rests_on(bench: Bench) -> None:
    result = bench()
    assert result.status == 0, result
    for words in (
        "A/A control", "rounded", "time ratio [95 %]", "verdict", "callable from", "p50", "p99", "per s", "creation",
        "first run", "Ran on CPUExecutionProvider", "1 thread(s)", "of warm-up discarded", "outliers, all kept",
        "Saved: runs/bench/",
    ):  # fmt: skip
        assert words in result.out, words
    assert any(word in result.out for word in ("faster", "slower", "equivalent", "inconclusive"))


def test_json_is_strict_and_alone_on_standard_output(simulated_bench: Bench) -> None:
    result = simulated_bench("--json")
    record = strict(result.out)
    assert result.status == 0
    assert record["schema_version"] == 2
    assert record["complete"] is True


def test_defaults_are_in_the_record(simulated_bench: Bench, precbench: Any) -> None:
    record = strict(precbench("bench", "model.onnx", "rounded.onnx", "--budget", "4s", "--json").out)
    settings = record["settings"]
    assert (settings["margin"], settings["clock"], settings["seed"], settings["level"]) == (0.01, "end-to-end", 0, 0.95)
    assert (settings["target_width"], settings["processes"], settings["profile"]) == (None, None, False)
    assert [measurement["batch"] for measurement in record["measurements"]] == [32]
    assert record["session"]["intra_op_threads"] == 1
    assert record["measurements"][0]["inputs"]["kind"] == "seeded"


def test_the_record_and_every_sample_are_written(bench: Bench, tmp_path: Path) -> None:
    result = bench("-o", "out/r.json", "--json")
    assert strict((tmp_path / "out/r.json").read_text()) == strict(result.out)
    samples = pyarrow.parquet.read_table(tmp_path / "out/r.parquet")
    counted = {name: arm["calls"] for name, arm in strict(result.out)["measurements"][0]["arms"].items()}
    rows = [row["arm"] for row in samples.select(["arm", "use"]).to_pylist() if row["use"] == "measured"]
    assert counted == {name: rows.count(name) for name in ("base", "control", "rounded")}


@pytest.mark.parametrize("error", [OutputError("no room", "make room"), MemoryError()])
def test_samples_that_cannot_be_written_cost_neither_the_record_nor_what_is_printed(
    simulated_bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def write(*_arguments: Any) -> None:
        raise error

    monkeypatch.setattr(samples_file, "write_samples", write)
    if isinstance(error, OutputError):
        result = simulated_bench("-o", "r.json")
        assert (result.status, result.err) == (2, "error: no room\n  try: make room\n")
        out = result.out
    else:
        result = simulated_bench("-o", "r.json")
        assert (result.status, result.err.splitlines()[-2]) == (2, "error: memory ran out")
        out = result.out
    assert "A/A control" in out
    assert out.rstrip().endswith("Saved: r.json")
    assert strict((tmp_path / "r.json").read_text())["complete"] is True
    assert not (tmp_path / "r.parquet").exists()


def test_a_record_that_cannot_be_written_costs_neither_the_samples_nor_what_is_printed(
    simulated_bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_arguments: Any) -> None:
        raise OutputError("no room", "make room")

    monkeypatch.setattr("precbench.files.write_json", write)
    result = simulated_bench("-o", "r.json")
    assert (result.status, result.err) == (2, "error: no room\n  try: make room\n")
    assert result.out.rstrip().endswith("Saved: r.parquet")
    assert (tmp_path / "r.parquet").is_file()


def test_a_bug_at_the_second_batch_size_is_a_traceback_after_the_first_is_saved_and_printed(
    bench: Bench, simulated: Callable[..., None], tmp_path: Path
) -> None:
    def fail(_plan: Any) -> None:
        raise ZeroDivisionError("a bug")

    simulated(instead={2: fail})
    result = bench("--batch", "1,2", "-o", "r.json")
    assert result.status == 70
    assert "ZeroDivisionError: a bug" in result.err
    assert "PARTIAL: failed: ZeroDivisionError, see its traceback" in result.out
    record = strict((tmp_path / "r.json").read_text())
    assert [m["batch"] for m in record["measurements"]] == [1]
    assert (tmp_path / "r.parquet").is_file()


def test_each_batch_size_is_saved_as_soon_as_it_is_measured(
    bench: Bench, simulated: Callable[..., None], tmp_path: Path
) -> None:
    seen = []

    def look(_plan: Any) -> None:
        record = strict((tmp_path / "r.json").read_text())
        rows = pyarrow.parquet.read_table(tmp_path / "r.parquet", columns=["batch"]).to_pylist()
        seen.append((record["complete"], [m["batch"] for m in record["measurements"]], {r["batch"] for r in rows}))
        raise KeyboardInterrupt

    simulated(instead={4: look})
    assert bench("--batch", "1,2,4", "-o", "r.json").status == 130
    assert seen == [(False, [1, 2], {1, 2})]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_is_saved_loses_nothing(
    simulated_bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def write(*arguments: Any) -> None:
        for _ in range(3):
            os.kill(os.getpid(), number)
        real(*arguments)

    real = samples_file.write_samples
    monkeypatch.setattr(samples_file, "write_samples", write)
    result = simulated_bench("-o", "r.json")
    assert result.status == 130
    assert "Saved: r.json and, with every sample, r.parquet" in result.out
    assert pyarrow.parquet.read_table(tmp_path / "r.parquet").num_rows > 0
    assert strict((tmp_path / "r.json").read_text())["complete"] is True


def test_without_an_output_each_run_has_files_of_its_own(simulated_bench: Bench, tmp_path: Path) -> None:
    for _ in range(3):
        assert simulated_bench().status == 0
    names = sorted(path.stem for path in (tmp_path / "runs/bench").iterdir())
    assert len(names) == 6
    assert len(set(names)) == 3


@pytest.mark.parametrize("there", ["r.json", "r.parquet"])
def test_nothing_is_replaced_unless_forced(simulated_bench: Bench, tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    refused(simulated_bench("-o", "r.json"), f"{there} exists already", "--force")
    assert (tmp_path / there).read_text() == "mine"
    assert simulated_bench("-o", "r.json", "--force").status == 0
    assert (tmp_path / there).read_bytes() != b"mine"


def test_outputs_that_cannot_be_are_refused_before_anything_runs(simulated_bench: Bench, tmp_path: Path) -> None:
    before = made(tmp_path)
    refused(simulated_bench("-o", "r.parquet"), "r.parquet is where the samples go", "RESULT.json")
    refused(simulated_bench("-o", ""), "names no file")
    refused(simulated_bench("-o", tmp_path), "directory")
    refused(simulated_bench("-o", "model.onnx", "--force"), "model.onnx is the input")
    refused(simulated_bench("-o", "rounded.onnx", "--force"), "rounded.onnx is the input")
    refused(simulated_bench("-o", "model.onnx/r.json"), "not a writable directory")
    assert made(tmp_path) == before


def test_samples_that_would_replace_an_input_are_refused(bench: Bench, precbench: Any, tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes((tmp_path / "model.onnx").read_bytes())
    refused(precbench("bench", "x.parquet", "model.onnx", "-o", "x.json", "--force"), "x.parquet is the input")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--budget", "0"], ["is no time at all", "20s"]),
        (["--budget", "0s"], ["is no time at all"]),
        (["--budget", "-3s"], ["negative"]),
        (["--budget", "soon"], ["is no duration"]),
        (["--budget", "nan"], ["is no duration"]),
        (["--budget", "1ms"], ["of the budget are left for it", "--budget"]),
        (["--margin", "0%"], ["0 % and 100 %"]),
        (["--margin", "1"], ["percent"]),
        (["--margin", "150%"], ["0 % and 100 %"]),
        (["--target-width", "wide"], ["no percentage"]),
        (["--processes", "0"], ["--processes"]),
        (["--processes", "2000"], ["2000 processes is outside 1..1000"]),
        (["--batch", "0"], ["no list of batch sizes"]),
        (["--batch", "4,4"], ["more than once"]),
        (["--batch", "4;8"], ["no list of batch sizes"]),
        (["--threads", "0"], ["--threads"]),
        (["--clock", "device"], ["has no clock 'device'", "--clock end-to-end"]),
        (["--clock", "cuda-graph"], ["has no clock 'cuda-graph'"]),
        (["--clock", "endtoend"], ["no clock 'endtoend'", "end-to-end"]),
        (["--arm", "denormals"], ["--arm", "denormals-off"]),
        (["--protocol", "blox"], ["--protocol"]),
        (["--seed", "-1"], ["--seed"]),
        (["--ep", "gpu"], ["gpu"]),
        (["--replay", "none.json"], ["--replay repeats a record with its own models", "BASE"]),
        (["--protocol", "sequential", "--processes", "3"], ["--processes would be ignored"]),
        (["--protocol", "sequential", "--arm", "denormals-off"], ["--arm would be ignored"]),
        (["--protocol", "sequential", "--profile", "--margin", "2%"], ["--margin, --profile would be ignored"]),
    ],
)
def test_options_that_cannot_be_used(
    precbench: Any, model: Path, tmp_path: Path, options: list[str], words: list[str]
) -> None:
    before = made(tmp_path)
    refused(precbench("bench", model, model, *options), *words)
    assert made(tmp_path) == before


def test_several_batch_sizes_need_inputs_that_have_them(precbench: Any, model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", image=np.zeros((2, 4, 4, 3), np.float32))
    refused(precbench("bench", model, model, "--input", "x.npz", "--batch", "1,32"), "have the batch 2 whatever")
    proto = onnx.load(model)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    onnx.save(proto, tmp_path / "three.onnx")
    refused(precbench("bench", "three.onnx", model, "--batch", "1,32"), "have the batch 3 whatever", "one batch size")


def test_inputs_are_taken_from_a_file_with_the_batch_that_they_have(simulated_bench: Bench, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", image=np.zeros((2, 4, 4, 3), np.float32))
    (measurement,) = strict(simulated_bench("--input", "x.npz", "--json").out)["measurements"]
    assert measurement["batch"] == 2
    assert measurement["inputs"]["kind"] == "file"
    assert measurement["inputs"]["digest"].startswith("sha256:")


def test_two_batch_sizes_share_the_budget(simulated_bench: Bench) -> None:
    result = simulated_bench("--batch", "1,2")
    assert "batch 1 " in result.out
    assert "batch 2 " in result.out
    record = strict(simulated_bench("--batch", "1,2", "--json").out)
    assert [measurement["batch"] for measurement in record["measurements"]] == [1, 2]


def test_one_process_says_what_it_has_not_seen(simulated_bench: Bench) -> None:
    result = simulated_bench("--processes", "1")
    assert "one process: how processes differ" in result.out
    assert "try: leave --processes out, or give 5 or more" in result.out


@pytest.mark.usefixtures("simulated_bench")
def test_a_margin_that_is_not_resolved_says_what_budget_would(precbench: Any) -> None:
    asked = ("--budget", "1s", "--batch", "4", "--margin", "0.001%", "--json")
    record = strict(precbench("bench", "model.onnx", "rounded.onnx", *asked).out)
    (measurement,) = record["measurements"]
    (comparison,) = measurement["comparisons"]
    assert comparison["verdict"] == "inconclusive"
    assert comparison["budget_needed_s"] > measurement["elapsed_s"]
    told = {warning["problem"]: warning["remedy"] for warning in measurement["warnings"]}
    assert "give --budget " in told["this run could not resolve a margin of 0.001 % for rounded"]


@pytest.mark.slow
def test_a_target_width_that_is_reached_ends_early(bench: Bench, precbench: Any) -> None:
    record = strict(
        precbench("bench", "model.onnx", "rounded.onnx", "--budget", "30s", "--target-width", "90%", "--json").out
    )
    measurement = record["measurements"][0]
    assert measurement["ended"] == "width reached"
    assert measurement["elapsed_s"] < 25


def test_a_record_is_replayed(bench: Bench, precbench: Any, tmp_path: Path) -> None:
    first = strict(bench("-o", "r.json", "--json").out)
    second = strict(precbench("bench", "--replay", "r.json", "-o", "again.json", "--json").out)
    assert second["measurements"][0]["plan"] == first["measurements"][0]["plan"]
    assert second["measurements"][0]["ended"] == "plan done"
    assert (tmp_path / "again.parquet").is_file()


def test_a_replay_that_cannot_be_one_is_refused(simulated_bench: Bench, precbench: Any, tmp_path: Path) -> None:
    simulated_bench("-o", "r.json")
    refused(precbench("bench", "--replay", "none.json"), "there is no file none.json")
    refused(precbench("bench", "--replay", "model.onnx"), "model.onnx is no JSON")
    refused(precbench("bench", "--replay", "r.json", "--budget", "3s"), "--budget would be ignored")
    refused(precbench("bench", "--replay", "r.json", "-o", "r.json", "--force"), "is the input r.json")
    (tmp_path / "rounded.onnx").write_bytes((tmp_path / "model.onnx").read_bytes())
    refused(precbench("bench", "--replay", "r.json"), "rounded.onnx is another model than the recorded one")


def test_the_papers_protocol_is_labelled_and_has_no_verdict(bench: Bench, precbench: Any, tmp_path: Path) -> None:
    asked = ("bench", "model.onnx", "rounded.onnx", "--protocol", "sequential", "--budget", "0.5", "-o", "s.json")
    result = precbench(*asked)
    assert result.status == 0, result
    assert "the paper's protocol: one pass each, the base first and cold, no repeats, no interval" in result.out
    assert "control" in result.out
    for word in ("faster", "slower", "equivalent", "inconclusive"):
        assert word not in result.out
    assert strict((tmp_path / "s.json").read_text())["protocol"] == "sequential"
    assert not (tmp_path / "s.parquet").exists()
    assert strict(precbench(*asked, "--force", "--json").out)["protocol"] == "sequential"


def test_the_papers_protocol_needs_no_variant(precbench: Any, model: Path) -> None:
    result = precbench("bench", "model.onnx", "--protocol", "sequential", "--batch", "500", "--json")
    assert result.status == 0, result
    assert list(strict(result.out)["measurements"][0]["passes"]) == ["base", "control"]


@pytest.mark.parametrize("ended", ["interrupted", "killed by SIGKILL"])
def test_the_papers_protocol_prints_and_saves_the_passes_that_were_finished(
    precbench: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    words = reading_words({"arm": "base", "creation_ns": 1, "elapsed_ns": [1000] * 313})
    left = Outcome(ended=ended, failure=None, records=[(Kind.READING, words)], result=None)
    monkeypatch.setattr(sequential_module, "run_child", lambda *_arguments: left)
    result = precbench("bench", "model.onnx", "--protocol", "sequential", "-o", "s.json")
    assert result.status == (130 if ended == "interrupted" else 2)
    assert result.out.startswith("PARTIAL: ")
    assert "\nbase " in result.out
    assert "Traceback" not in result.err
    record = strict((tmp_path / "s.json").read_text())
    assert record["complete"] is False
    assert ended in record["ended"]
    assert list(record["measurements"][0]["passes"]) == ["base"]


def test_a_pass_that_the_budget_cut_is_said_to_be(precbench: Any, model: Path) -> None:
    result = precbench("bench", "model.onnx", "--protocol", "sequential", "--batch", "1", "--budget", "0.005")
    assert result.status == 0
    assert "the budget cut each pass after" in result.out
    assert "try: give --budget " in result.out


def test_a_model_that_only_sometimes_runs_is_an_error_in_two_lines(precbench: Any, model: Path, tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
        g (float[n, 2] x) => (float[n, 2] y) <int64[1] one = {1}, float[1] scale = {1.05}, float[1] zero = {0}>
        { r = RandomUniform <shape = [1]> ()  s = Mul (r, scale)  i = Cast <to = 7> (s)
          g = Gather (zero, i)  y = Add (x, g) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "moody.onnx")
    result = precbench("bench", "moody.onnx", "moody.onnx", *OPTIONS)
    assert result.status == 2
    assert "Traceback" not in result.err
    assert len(result.err.strip().splitlines()) == 2


LONG = "a-name-of-sixty-characters-that-a-stranger-gave-to-the-model"


def test_everything_fits_eighty_columns_and_no_name_is_markup(
    precbench: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulated: Callable[..., None]
) -> None:
    simulated()

    def narrow(*, stderr: bool = False) -> Console:
        return Console(width=80, force_terminal=True, color_system=None, highlight=False, stderr=stderr, emoji=False)

    assert len(LONG) == 60
    for name in (LONG, "[red]v[bold]", "tab\tand\x1b[2J"):
        (tmp_path / f"{name}.onnx").write_bytes(model.read_bytes())
    monkeypatch.setattr(terminal, "make_console", narrow)
    names = [f"{name}.onnx" for name in (LONG, "[red]v[bold]", "tab\tand\x1b[2J")]
    for options in (OPTIONS, ("--protocol", "sequential", "--budget", "0.3")):
        result = precbench("bench", "model.onnx", *names, *options)
        assert result.status == 0, result.err
        out = result.out
        assert max(map(len, out.splitlines())) <= 80
        assert "[red]v[bold]" in out
        assert "\x1b" not in out
        assert "…" not in out
        assert LONG in "".join(line.split(" ")[0] for line in out.splitlines())


@contextmanager
def started(folder: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """A `precbench bench` in a process group of its own, as a terminal starts it."""
    code = "import sys; from precbench.cli import main; sys.argv[0] = 'precbench'; main()"
    command = [sys.executable, "-c", code, "bench", "model.onnx", "rounded.onnx", "-o", "r.json", *options]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def measuring(process: "subprocess.Popen[str]", *, number: int = 0) -> psutil.Process:
    """Wait until the measuring process of that number has a few whole blocks."""
    seen: list[int] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for child in psutil.Process(process.pid).children():
            try:
                arguments = child.cmdline()
            except psutil.Error:
                continue
            if "precbench.bench.child" not in arguments:
                continue
            if child.pid not in seen:
                seen.append(child.pid)
            journal = Path(arguments[-2]).with_name("journal")
            if seen.index(child.pid) == number and sum(kind is Kind.BLOCK for kind, _ in read_journal(journal)) > 3:
                return child
        time.sleep(0.01)
    pytest.fail(f"no measuring process was seen: {process.communicate()}")


@pytest.fixture
def pair(precbench: Any, model: Path, tmp_path: Path) -> Path:
    precbench("round", model, "--dp", "1", "-o", "rounded.onnx")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("whole_group", [True, False], ids=["Ctrl-C in a terminal", "a signal to the command alone"])
def test_ctrl_c_prints_and_saves_what_was_measured_marked_partial(
    pair: Path, whole_group: bool, number: signal.Signals
) -> None:
    with started(pair, "--budget", "60s") as process:
        measuring(process, number=2)
        (os.killpg if whole_group else os.kill)(process.pid, number)
        if whole_group:
            os.killpg(process.pid, number)  # impatience; and `timeout` does so
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "PARTIAL: interrupted" in out
    assert "A/A control" in out
    assert "Traceback" not in err
    record = strict((pair / "r.json").read_text())
    assert (record["complete"], record["ended"]) == (False, "interrupted")
    processes = record["measurements"][0]["processes"]
    assert processes[-1]["ended"] == "interrupted"
    assert record["measurements"][0]["comparisons"][0]["ratio"]["low"] is not None
    rows = pyarrow.parquet.read_table(pair / "r.parquet", columns=["process", "block"]).to_pylist()
    for told in processes:
        blocks = {row["block"] for row in rows if row["process"] == told["process"] and row["block"] >= 0}
        assert blocks == set(range(told["blocks"]))


@pytest.mark.slow
def test_ctrl_c_during_the_papers_protocol_keeps_the_passes_that_were_finished(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
        g (float[n, 2048] x) => (float[n, 2048] y) <float[1] w = {0}> { y = MatMul (x, w) }"""
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.ones((2048, 2048), np.float32), "w"))
    for name in ("model.onnx", "rounded.onnx"):
        onnx.save(proto, tmp_path / name)
    with started(tmp_path, "--protocol", "sequential", "--budget", "9s", "--batch", "1") as process:
        deadline, journals = time.monotonic() + 60, list[Path]()
        while not any(read_journal(path) for path in journals) and time.monotonic() < deadline:
            lines = [child.cmdline() for child in psutil.Process(process.pid).children()]
            journals = [Path(line[-2]).with_name("journal") for line in lines if len(line) > 2]
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert out.startswith("PARTIAL: interrupted")
    record = strict((tmp_path / "r.json").read_text())
    assert (record["complete"], record["ended"]) == (False, "interrupted")
    assert "base" in record["measurements"][0]["passes"]
    assert len(record["measurements"][0]["passes"]) < 3


@pytest.mark.slow
def test_ctrl_c_before_anything_was_measured_leaves_nothing(pair: Path) -> None:
    before = made(pair)
    with started(pair, "--budget", "60s") as process:
        deadline = time.monotonic() + 60
        while not psutil.Process(process.pid).children() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert "interrupted" in err
    assert "Traceback" not in err
    assert made(pair) == before


@pytest.mark.slow
def test_a_measuring_process_that_is_killed_loses_its_block_and_the_rest_stands(pair: Path) -> None:
    with started(pair, "--budget", "8s", "--processes", "3") as process:
        measuring(process, number=1).kill()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    record = strict((pair / "r.json").read_text())
    assert record["complete"] is True
    processes = record["measurements"][0]["processes"]
    killed = [told for told in processes if told["ended"] == "killed by SIGKILL"]
    assert [told["process"] for told in killed] == [1]
    assert killed[0]["lost_block"] == killed[0]["blocks"] > 3
    assert [told["ended"] for told in processes if told["process"] != 1] == ["done"] * (len(processes) - 1)
    assert f"process 1 was killed by SIGKILL in block {killed[0]['lost_block']}, which is lost" in out
    assert "try: if it was killed for memory" in out


@pytest.mark.slow
def test_a_command_that_is_killed_leaves_no_measuring_process(pair: Path) -> None:
    with started(pair, "--budget", "60s") as process:
        child = measuring(process)
        process.kill()
        process.wait()
        assert psutil.wait_procs([child], timeout=10)[1] == []
    assert not (pair / "r.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("variants", [[], ["rounded.onnx"]])
def test_denormals_off_is_timed_alone_and_beside_variants(precbench: Any, pair: Path, variants: list[str]) -> None:
    asked = ("bench", "model.onnx", *variants, "--arm", "denormals-off", "--budget", "6s", "--processes", "2")
    result = precbench(*asked, "-o", "r.json")
    assert result.status == 0, result
    record = strict((pair / "r.json").read_text())
    arms = [comparison["arm"] for comparison in record["measurements"][0]["comparisons"]]
    assert arms == [*(["rounded"] if variants else []), "denormals-off"]
    assert "A/A control alone" in result.out
    assert ("A/A control " in result.out.replace("A/A control alone", "")) is bool(variants)


@pytest.mark.slow
def test_a_profile_is_printed(bench: Bench) -> None:
    result = bench("--profile")
    assert result.status == 0
    assert "Profile of rounded (8 processes): its nodes take" in result.out
