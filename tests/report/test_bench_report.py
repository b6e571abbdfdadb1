"""What a benchmark's report says of each case, from a record."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from precbench.report.bench_report import ratio_text, show_benchmark

Make = Callable[[], dict[str, Any]]


@pytest.fixture
def record(bench_record: Make) -> dict[str, Any]:
    """The common record with what only this report reads."""
    record = bench_record()
    record["asked"] = {"base": "runs/base.onnx", "variants": ["runs/base.dp4.onnx", "runs/base.dp1.onnx"]}
    for measurement in record["measurements"]:
        measurement |= {"ended": "budget spent", "elapsed_s": 29.6}
    return record


def printed(record: dict[str, Any], width: int = 80) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False, emoji=False)
    show_benchmark(console, record, saved=[Path("r.json"), Path("r.parquet")])
    return out.getvalue()


def flat(text: str) -> str:
    return " ".join(text.split())


def test_both_batch_sizes_are_printed_with_control_verdicts_and_what_could_be_called(record: dict[str, Any]) -> None:
    out = printed(record)
    assert max(map(len, out.splitlines())) <= 80
    assert out.count("A/A control") == 2
    assert "batch 32" in out
    line = next(line for line in out.splitlines() if line.startswith("base.dp1"))
    assert line.split() == ["base.dp1", "1.0312", "[1.0291,", "1.0333]", "slower", "0.45", "%"]
    assert "base.dp4: equivalent; the whole interval lies within 1 %." in flat(out)


def test_verdicts_of_one_reason_stand_together(record: dict[str, Any]) -> None:
    for comparison in record["measurements"][0]["comparisons"]:
        comparison |= {"verdict": "inconclusive", "reason": "too wide"}
    assert "base.dp4, base.dp1: inconclusive; too wide." in flat(printed(record))


def test_a_partial_record_says_so_once_and_first(record: dict[str, Any]) -> None:
    assert "PARTIAL" not in printed(record)
    record |= {"complete": False, "ended": "failed: it broke"}
    out = printed(record)
    assert out.startswith("PARTIAL: failed: it broke\n")
    assert out.count("PARTIAL") == 1


def test_a_warning_is_printed_once_with_its_remedy(record: dict[str, Any]) -> None:
    for measurement in record["measurements"]:
        measurement["warnings"] = [{"problem": "it is [red]hot[/red]", "remedy": "cool it"}]
    out = printed(record)
    assert out.count("warning: it is [red]hot[/red]\n  try: cool it") == 1
    assert "warning: the governor is not known" in out


def test_a_warning_about_one_of_several_batch_sizes_names_it(record: dict[str, Any]) -> None:
    record["measurements"][1]["warnings"] = [{"problem": "it is hot", "remedy": "cool it"}]
    assert "warning: batch 32: it is hot" in printed(record)
    del record["measurements"][0]
    assert "warning: it is hot" in printed(record)


def test_a_mean_call_that_says_otherwise_than_the_usual_one_is_told(record: dict[str, Any]) -> None:
    usual, mean = record["measurements"][0]["comparisons"]
    usual["mean_ratio"] = {"point": 0.9985, "low": 0.98, "high": 1.02}
    mean["mean_ratio"] = {"point": 1.2, "low": 0.9, "high": 1.6}
    out = flat(printed(record))
    assert "Ratio of the mean call, slow calls and all, which 'per s' goes by: base.dp1 1.2000 [0.9000, 1.6000]." in out


def test_what_was_not_measured_has_no_figures(record: dict[str, Any]) -> None:
    none = {"point": None, "low": None, "high": None}
    record["measurements"][0]["comparisons"][0] |= {"ratio": none, "control_ratio": none, "smallest_effect": None}
    arm = record["measurements"][0]["arms"]["base"]
    arm |= dict.fromkeys(("median_ns", "p90_ns", "p99_ns", "throughput_per_s", "creation_ns", "first_run_ns"))
    assert "not measured" in printed(record)
    assert ratio_text({"point": 1.0, "low": None, "high": None}) == "1.0000 [no interval]"


def interval(point: float, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    return {"point": point, "low": low, "high": high}


def node(name: str, difference_ns: float, *, differs: bool = True) -> dict[str, Any]:
    return {"name": name, "op_type": "Conv", "difference_ns": interval(difference_ns, 0, 9e6), "differs": differs}


def profile(*nodes: dict[str, Any]) -> dict[str, Any]:
    differing = [one for one in nodes if one["differs"]]
    one = {
        "arm": "base.dp1", "base": "base", "gap_ns": interval(5000, 4000, 6000), "base_ns": 100_000,
        "control": interval(-100.0), "accounted_ns": 4500.0, "accounted_share": 0.9,
        "nodes_that_differ": len(differing), "nodes": list(nodes),
    }  # fmt: skip
    return {"replicates": 8, "comparisons": [one]}


def test_a_profile_names_the_nodes_that_account_for_the_gap(record: dict[str, Any]) -> None:
    record["measurements"][0]["profile"] = profile(node("stem", 4500), node("head", 3, differs=False))
    out = flat(printed(record))
    assert (
        "Profile of base.dp1 (8 processes): its nodes take +5.0 [+4.0, +6.0] µs a call more than the base's (+5.00 %); "
        "the control's -0.1 µs. 1 node(s) differ and account for 90 % of it, +4.5 µs: "
        "Conv stem +4.5 [+0.0, +9000.0] µs."
    ) in out
    assert "head" not in out


def test_the_share_of_no_gap_is_not_said(record: dict[str, Any]) -> None:
    told = profile(node("stem", 4500), node("head", -4500))
    told["comparisons"][0] |= {"accounted_share": None, "accounted_ns": 0.0}
    record["measurements"][0]["profile"] = told
    assert "2 node(s) differ and account for +0.0 µs: Conv" in flat(printed(record))


def test_callable_from_is_said_to_be_of_the_ratio_observed(record: dict[str, Any]) -> None:
    assert "a true effect of that size is called in about half of such runs" in flat(printed(record))


def test_a_profile_without_a_difference_says_so_and_many_are_cut(record: dict[str, Any]) -> None:
    record["measurements"][0]["profile"] = profile(node("stem", 1, differs=False))
    assert "No node's time differs between the two." in flat(printed(record))
    record["measurements"][0]["profile"] = profile(*(node(f"n{i}", 1000 - i) for i in range(7)))
    out = flat(printed(record))
    assert "Conv n4" in out
    assert "Conv n5" not in out
    assert "; …." in out


def test_names_of_strangers_neither_steer_the_terminal_nor_break_the_tables(record: dict[str, Any]) -> None:
    name = "\x1b[2J[bold]" + "n" * 70
    record["measurements"][0]["comparisons"][0]["arm"] = name
    record["measurements"][0]["arms"] = {name: record["measurements"][0]["arms"]["base"]}
    out = printed(record)
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert "[bold]" in out
