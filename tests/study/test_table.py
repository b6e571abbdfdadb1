"""A row per point, for other programs."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from precbench.errors import DataError, OutputError, UsageError
from precbench.study.run_folder import RunFolder
from precbench.study.table import flat_rows, read_results, write_table

DONE: dict[str, Any] = {
    "name": "dp4", "parts": {"all": 4}, "decimals": 4, "state": "done", "detail": "", "elements": 90, "changed": 80,
    "flips": {"gained": 1, "lost": 2, "changed": 5, "variant_correct": 93, "total": 100, "difference_points": -1.0,
              "low_points": -3.0, "high_points": 1.0},
    "decision": {"change": "undecided", "p_within_margin": 0.3, "p_within_margin_holm": 0.6, "p_difference": 1.0,
                 "p_difference_holm": 1.0},
    "timing": {"ratio": {"point": 1.0, "low": 0.99, "high": 1.01}, "verdict": "equivalent"},
    "file": {"file_bytes": 900, "zstd_bytes": 300},
}  # fmt: skip
FAILED: dict[str, Any] = {
    "name": "a,b\"c", "parts": {"x": 1}, "decimals": 1, "state": "failed", "detail": "NaN", "flips": None,
    "decision": None, "timing": None, "file": None,
}  # fmt: skip
RESULTS: dict[str, Any] = {
    "schema_version": 2,
    "study": {"name": "s"},
    "experiments": [{"name": "all", "rows": [DONE]}, {"name": "layers", "rows": [FAILED]}],
}


def test_every_row_has_the_same_keys() -> None:
    done, failed = flat_rows(RESULTS)
    assert list(done) == list(failed)
    assert (done["experiment"], done["accuracy"], done["class_changed"], done["elements_changed"]) == (
        "all",
        0.93,
        5,
        80,
    )
    assert (failed["experiment"], failed["accuracy"], failed["time_ratio"]) == ("layers", None, None)


def test_csv_and_parquet_hold_the_rows(tmp_path: Path) -> None:
    rows = flat_rows(RESULTS)
    write_table(rows, tmp_path / "r.csv", force=False)
    write_table(rows, tmp_path / "r.parquet", force=False)
    with (tmp_path / "r.csv").open(newline="", encoding="utf-8") as stream:
        read = list(csv.DictReader(stream))
    assert [row["name"] for row in read] == ["dp4", 'a,b"c']
    assert [row["lost"] for row in read] == ["2", ""]
    assert pyarrow.parquet.read_table(tmp_path / "r.parquet").to_pylist() == rows


def test_an_output_that_exists_or_is_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_table(flat_rows(RESULTS), tmp_path / "r.csv", force=False)
    with pytest.raises(UsageError, match=r"neither \.csv nor \.parquet"):
        write_table(flat_rows(RESULTS), tmp_path / "r.xlsx", force=False)


def finish(run: Path, results: dict[str, Any]) -> None:
    folder = RunFolder(run, study={"name": "s"})
    (run / "results.json").write_text(json.dumps(results))
    folder.finish("results", "key", ["results.json"])
    folder.close()


def test_results_are_read_of_a_finished_run_alone(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run", study={"name": "s"}).close()
    with pytest.raises(UsageError, match=r"is not finished\nsee `precbench status"):
        read_results(tmp_path / "run")
    path = tmp_path / "run" / "results.json"
    finish(tmp_path / "run", RESULTS)
    assert read_results(tmp_path / "run") == RESULTS
    finish(tmp_path / "run", {**RESULTS, "study": {"name": "s", "seed": 2}})
    with pytest.raises(UsageError, match="is another since these results"):
        read_results(tmp_path / "run")
    path.write_text(json.dumps(RESULTS))
    with pytest.raises(UsageError, match=r"is not what the run in .* came to"):
        read_results(tmp_path / "run")
    path.write_text(json.dumps({**RESULTS, "schema_version": 3}))
    with pytest.raises(UsageError, match="has schema version 3"):
        read_results(tmp_path / "run")
    folder = RunFolder(tmp_path / "run", study={"name": "s"})
    folder.forget("results", "no such stage")
    folder.close()
    path.write_text(json.dumps(RESULTS))
    with pytest.raises(UsageError, match=r"is not what the run in .* came to"):
        read_results(tmp_path / "run")
    for damaged in ("", "[]", "{", '{"schema_version": 2}'):
        path.write_text(damaged)
        with pytest.raises(DataError, match="is damaged"):
            read_results(tmp_path / "run")
