"""The script that measures on a GPU, rehearsed on the CPU: from a model to its summary, and on where it stopped."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu" / "measure.py"
PARTS = ("--ep", "cpu", "--budget", "2s", "--batch", "2", "--decimals", "1,4")


def measure(model, output, *more):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "toolkit")}
    command = [sys.executable, str(SCRIPT), "--model", str(model), "-o", str(output), *PARTS, *more]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)


@pytest.mark.slow
def test_a_rehearsal_on_the_cpu_makes_the_variants_times_them_and_goes_on_where_it_stopped(conv_model, tmp_path):
    output = tmp_path / "out"
    done = measure(conv_model, output)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((output / "rehearsal.json").read_text())
    assert summary["complete"]
    assert summary["tests"]["command"] == "pytest tests/gpu -m gpu"
    assert "in " in summary["tests"]["summary"]
    assert set(summary["models"]) == {"base", "dp1", "dp4", "fp16"}
    [combination] = summary["combinations"]
    assert [row["variant"] for row in combination["rows"]] == ["dp1", "dp4", "fp16"]
    assert {row["verdict"] for row in combination["rows"]} <= {"faster", "slower", "equivalent", "inconclusive"}
    assert combination["state"] == "measured"
    assert combination["control_ratio"]["point"] > 0
    [compared] = summary["fp16"]["against_float32_on_the_cpu"]
    assert compared["top1_agreement"] > 0.9
    assert 0 < compared["largest_difference"] < 0.05 * compared["largest_output"]
    text = (output / "rehearsal.md").read_text()
    assert "| cpu | - | end-to-end | 2 | A/A |" in text
    for published in (text, (output / "rehearsal.json").read_text()):
        assert str(tmp_path) not in published

    record = output / "cpu.end-to-end.batch-2.json"
    before = record.read_bytes()
    assert "0 to measure" in measure(conv_model, output, "--no-tests").stdout
    assert record.read_bytes() == before

    (output / "rehearsal.json").unlink()
    assert measure(conv_model, output, "--summarize").returncode == 0
    assert json.loads((output / "rehearsal.json").read_text())["combinations"] == summary["combinations"]

    refused = measure(conv_model, output, "--no-tests", "--no-fp16")
    assert refused.returncode == 2
    assert "other models" in refused.stderr


@pytest.mark.slow
def test_a_part_that_does_not_exist_and_a_model_without_float16_form(conv_model, tmp_path):
    refused = measure(conv_model, tmp_path / "none", "--only", "clock=devise")
    assert refused.returncode == 2
    assert "--only 'clock=devise' picks nothing" in refused.stderr

    old = onnx.load(conv_model)
    old.opset_import[0].version = 10
    onnx.save(old, tmp_path / "old.onnx")
    done = measure(tmp_path / "old.onnx", tmp_path / "out", "--no-tests")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "out" / "rehearsal.json").read_text())
    assert set(summary["models"]) == {"base", "dp1", "dp4"}
    assert "opset 10, the float16 form needs 11" in summary["fp16"]["reason"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_shell_script_runs_the_python_script_with_what_is_installed(conv_model, tmp_path):
    command = ["bash", str(SCRIPT.with_name("run.sh")), "--installed", "--model", str(conv_model), "-o", str(tmp_path)]
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(
        [*command, *PARTS, "--no-tests"], capture_output=True, text=True, env=environment, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "rehearsal.md").is_file()
