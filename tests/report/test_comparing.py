"""A comparison in 80 columns says what its record says."""

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from precbench.bench.comparison import compare_records
from precbench.bench.records import read_record
from precbench.report.comparing import MOST_DIFFERENCES, show_comparison, value_text

Record = dict[str, Any]
Shown = Callable[..., str]


@pytest.fixture
def shown(bench_record: Callable[[], Record], tmp_path: Path) -> Shown:
    def show(change: Callable[[Record], object] = lambda _record: None, width: int = 80) -> str:
        other = bench_record()
        change(other)
        paths = tmp_path / "a.json", tmp_path / "b.json"
        for path, record in zip(paths, (bench_record(), other), strict=True):
            path.write_text(json.dumps(record))
        record = compare_records(*(read_record(path) for path in paths)).to_json()
        before = copy.deepcopy(record)
        out = io.StringIO()
        show_comparison(Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False), record)
        assert record == before
        return out.getvalue()

    return show


def test_a_run_beside_itself(shown: Shown) -> None:
    text = shown()
    assert text.startswith("The runs can be compared")
    assert "time ratio [interval]  0.9991 [0.9975, 1.0007]" in text
    assert "1.0312 [1.0291, 1.0333] 1.0312 [1.0291, 1.0333]" in text
    for words in ("equivalent", "slower", "0.45 %", "3.457 ms", "88.123 ms", "40 processes at 95 %", "overlap"):
        assert words in text
    assert "what differs: nothing." in text
    assert "conditions: nothing." in text


def test_what_makes_runs_incomparable_is_said_first(shown: Shown) -> None:
    text = shown(lambda r: (r["session"].update(provider="cuda"), r["settings"].update(clock="device")))
    lines = text.splitlines()
    assert lines[0].startswith("The two runs are NOT comparable")
    assert "- the execution provider is cpu in A and cuda in B." in lines
    assert "- the clock is end-to-end in A and device in B." in lines


def test_overlap_is_explained_and_never_called_a_test(shown: Shown) -> None:
    def apart(record: Record) -> None:
        record["measurements"][0]["comparisons"][0]["ratio"].update(point=1.2, low=1.1, high=1.3)

    text = " ".join(shown(apart).split())
    assert "the ratios' intervals are apart" in text
    assert "Whether two intervals overlap is no test" in text


def test_what_only_one_run_has_and_what_differs_is_listed(shown: Shown) -> None:
    def change(record: Record) -> None:
        record["measurements"].pop()
        record["measurements"][0]["comparisons"].pop()
        record["environment"].update(cpu_model="Another CPU", load_before=9.5)
        record.update(complete=False, ended="interrupted")

    text = shown(change)
    assert "Only A has the batch size 32." in text
    assert "Only A has base.dp1 (batch 1)." in text
    assert "interrupted (partial)" in text
    differs, conditions = text.split("what differs")[1].split("conditions")
    assert "environment.cpu_model" in differs
    assert "Another CPU" in differs
    assert "load_before" not in differs
    assert "environment.load_before" in conditions


@pytest.mark.parametrize("width", [60, 80])
def test_nothing_is_wider_than_the_terminal(shown: Shown, width: int) -> None:
    def change(record: Record) -> None:
        record["models"]["base"]["digest"] = "sha256:" + "f" * 64
        record["session"]["provider_options"] = {"an_option_with_a_long_name" * 3: "x" * 300}

    text = shown(change, width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "sha256:ffffffffffff…" in "".join(text.split())


def test_figures_that_a_short_run_lacks_are_dashes(shown: Shown) -> None:
    def shorten(record: Record) -> None:
        first, second = record["measurements"][0]["comparisons"]
        first["ratio"].update(low=None, high=None, units=1, unit="batch of blocks", level=None)
        second.update(ratio=None, control_ratio=None, verdict=None, smallest_effect=None)
        record["measurements"][0]["arms"] = {}

    text = shown(shorten)
    assert "1 batch of blocks\n" in text
    assert [line.split()[-1] for line in text.splitlines() if line.startswith(("verdict", "median"))][:4] == [
        "equivalent", "-", "-", "-",
    ]  # fmt: skip


def test_names_from_a_file_steer_nothing_and_are_never_markup(shown: Shown) -> None:
    evil = "[red]x[/red]\x1b[2J\nz"

    def change(record: Record) -> None:
        record["models"][evil] = record["models"].pop("base.dp4")
        for measurement in record["measurements"]:
            measurement["comparisons"][0]["arm"] = evil
            measurement["comparisons"][1].update(arm="[b]y\x07", verdict=evil)
        record.update(ended=evil, protocol=evil)
        record["environment"].update({evil: evil, "cpu_model": "\ud800"})

    text = shown(change, 200)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert text.count(r"[red]x[/red]\x1b[2J z") >= 6
    assert r"\ud800" in text


def test_of_many_differences_the_first_are_shown(shown: Shown) -> None:
    text = shown(lambda r: r["environment"].update({f"key{n:03}": n for n in range(200)}))
    assert text.count("environment.key") == MOST_DIFFERENCES
    assert f"{200 - MOST_DIFFERENCES} more; --json lists them." in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (True, "true"), (3, "3"), ([0, 1], "[0, 1]"), ("words", "words"), ({}, "{}"),
     ("sha256:" + "ab" * 32, "sha256:abababababab…"), ("x" * 200, "x" * 120 + "…")],
)  # fmt: skip
def test_values_are_written_short(value: Any, text: str) -> None:
    assert value_text(value) == text
