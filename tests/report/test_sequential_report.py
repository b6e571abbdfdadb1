"""What the report of the paper's protocol says of each case."""

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from precbench.report.bench_report import show_sequential


def printed(**changes: Any) -> str:
    one = {"calls": 4, "total_ns": 4 * 10**9, "first_ns": 10**9, "total_over_base": 1.0}
    cut = [{"problem": "the budget cut it", "remedy": "give --budget 48s"}]
    measurement = {"batch": 32, "passes": {"base": one}, "warnings": cut}
    record = {"complete": True, "ended": "complete", "measurements": [measurement], "warnings": [], **changes}
    out = io.StringIO()
    show_sequential(Console(file=out, width=80), record, saved=[Path("s.json")])
    return out.getvalue()


def test_a_warning_of_a_batch_size_is_printed_with_its_remedy() -> None:
    assert "warning: the budget cut it\n  try: give --budget 48s" in printed()
    assert printed().rstrip().endswith("Saved: s.json")
    assert "PARTIAL" not in printed()


def test_a_partial_record_says_so_first() -> None:
    assert printed(complete=False, ended="interrupted").startswith("PARTIAL: interrupted\n")
