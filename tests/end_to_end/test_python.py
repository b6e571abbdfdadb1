"""A whole study from Python: what `precbench run`, `report` and `compare` do."""

from pathlib import Path

import pytest

import precbench as pb
from precbench.errors import OutputError

pytestmark = pytest.mark.slow


def test_a_study_that_is_done_gives_its_results_again_and_ends_in_a_report(copied_run: Path, tiny_study: Path) -> None:
    results = pb.run_study(str(tiny_study), copied_run)
    assert [one["name"] for one in results["experiments"]] == ["all", "groups", "combinations", "layers"]
    assert (copied_run / "report.html").stat().st_size > 100_000


def test_a_report_is_written_where_it_is_asked_for_and_once(copied_run: Path, tmp_path: Path) -> None:
    written = pb.write_report(copied_run, output=tmp_path / "r.html")
    assert "To repeat it" in written.read_text(encoding="utf-8")
    with pytest.raises(OutputError, match="exists already"):
        pb.write_report(copied_run, output=written)
    assert pb.write_report(copied_run, output=written, force=True) == written


def test_a_record_is_that_of_itself(copied_run: Path) -> None:
    found = pb.compare(copied_run / "timing.json", copied_run / "timing.json").to_json()
    assert found["comparable"]
    assert found["differences"] == []
