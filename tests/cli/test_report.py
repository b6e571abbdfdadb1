"""`precbench report` as typed: refusals say the remedy; the report itself is tested in report/html and in a browser."""

from pathlib import Path


def test_what_is_no_run_is_refused(precbench, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    result = precbench("report", "photos")
    assert result.status == 2
    assert "photos is no run folder" in result.err
    assert "Traceback" not in result.err
    assert precbench("report", "nowhere").status == 2
    assert precbench("report").status == 2
    assert not list(tmp_path.glob("*.html"))
