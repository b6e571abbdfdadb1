"""`precbench compare`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def records(bench_record: Callable[[], dict[str, Any]], tmp_path: Path) -> tuple[Path, Path]:
    first, second = bench_record(), bench_record()
    second["environment"].update(cpu_model="Another CPU", load_after=3.0)
    paths = tmp_path / "a.json", tmp_path / "b.json"
    for path, record in zip(paths, (first, second), strict=True):
        path.write_text(json.dumps(record))
    return paths


def test_its_help_has_an_example(precbench) -> None:
    result = precbench("compare", "--help")
    assert result.status == 0
    assert "Example: precbench compare" in result.out


def test_two_runs_are_set_side_by_side(precbench, records: tuple[Path, Path]) -> None:
    result = precbench("compare", *records)
    assert (result.status, result.err) == (0, "")
    for words in ("can be compared", "base.dp4", "equivalent", "what differs", "Another CPU", "conditions"):
        assert words in result.out


def test_the_record_is_printed_as_json(precbench, records: tuple[Path, Path]) -> None:
    record = json.loads(precbench("compare", *records, "--json").out)
    assert (record["schema_version"], record["command"], record["comparable"]) == (1, "compare", True)
    assert [d["key"] for d in record["differences"]] == ["environment.cpu_model"]
    assert [d["key"] for d in record["conditions"]] == ["environment.load_after"]


def test_runs_that_are_not_comparable_are_still_shown(precbench, records: tuple[Path, Path]) -> None:
    record = json.loads(records[1].read_text())
    record["models"]["base"]["digest"] = "sha256:other"
    records[1].write_text(json.dumps(record))
    result = precbench("compare", *records)
    assert result.status == 0
    assert result.out.startswith("The two runs are NOT comparable")
    assert "equivalent" in result.out


@pytest.mark.parametrize("content", ["", "{}", '{"schema_version": 1, "command": "bench"}', '{"a": NaN}', "[[["])
def test_a_file_that_is_no_record_is_refused_in_two_lines(precbench, records: tuple[Path, Path], content: str) -> None:
    records[1].write_text(content)
    for paths in (records, records[::-1]):
        result = precbench("compare", *paths)
        assert result.status == 2
        assert result.out == ""
        problem, remedy = result.err.strip().splitlines()
        assert problem.startswith("error: ")
        assert "b.json" in problem
        assert remedy.startswith("  try: ")


def test_two_files_are_asked_for(precbench, records: tuple[Path, Path]) -> None:
    assert "B.json" in precbench("compare", records[0]).err
    assert "no file" in precbench("compare", records[0], "missing.json").err
