"""A study's results as one flat table: a row per point, as CSV or Parquet."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from precbench.errors import DataError, UsageError
from precbench.files import check_output, file_digest, write_atomically
from precbench.study.journal import Journal
from precbench.study.run_folder import RESULTS, check_is_run_folder

SCHEMA_VERSION = 2
_FLIPS = ("gained", "lost", "changed", "variant_correct", "total", "difference_points", "low_points", "high_points")
_DECISION = ("change", "p_within_margin", "p_within_margin_holm", "p_difference", "p_difference_holm")


def read_results(folder: Path) -> dict[str, Any]:
    """Return the results of a finished run.

    Raises:
        OutputError: it is no run folder.
        UsageError: the run is not finished, or its results are of another version or of an earlier form of the study.
        DataError: they are damaged.
    """
    check_is_run_folder(folder, exists=True)
    path = folder / RESULTS
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        version, study = results["schema_version"], results["study"]
    except FileNotFoundError as error:
        raise UsageError(
            f"the run in {folder} is not finished", f"see `precbench status {folder}`, and run it to its end"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path} is damaged: {error}", "run the study again: it is made anew from the journal"
        ) from error
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{path} has schema version {version!r}, this precbench reads {SCHEMA_VERSION}", "run the study again"
        )
    journal = Journal(folder)
    done = journal.stages().get("results")
    if done is None or done.files.get(RESULTS) != file_digest(path):
        raise UsageError(
            f"{path} is not what the run in {folder} came to",
            f"see `precbench status {folder}`, and run it to its end: what is still right is found",
        )
    if study != journal.study():
        raise UsageError(
            f"the study in {folder} is another since these results", "run it to its end: what is still right is found"
        )
    return dict(results)


def flat_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row per point of every experiment; what does not apply is None. Every row has the same keys."""
    return [_flat(one["name"], row) for one in results["experiments"] for row in one["rows"]]


def write_table(rows: Sequence[Mapping[str, Any]], path: Path, *, force: bool) -> None:
    """Write rows as `.csv` or `.parquet`, by the path's suffix.

    Raises:
        UsageError: another suffix.
        OutputError: the file exists, or cannot be written.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise UsageError(f"{path} is neither .csv nor .parquet", "name a file that ends in one of these")
    check_output(path, force=force)
    write_atomically(path, lambda temporary: (_write_csv if path.suffix == ".csv" else _write_parquet)(rows, temporary))


def _flat(experiment: str, row: Mapping[str, Any]) -> dict[str, Any]:
    flips, decision, timing, held = (row[key] or {} for key in ("flips", "decision", "timing", "file"))
    ratio = timing.get("ratio", {})
    return {
        "experiment": experiment,
        "name": row["name"],
        "parts": json.dumps(row["parts"]),
        "decimals": row["decimals"],
        "state": row["state"],
        "detail": row["detail"],
        "elements": row.get("elements"),
        "elements_changed": row.get("changed"),
        "accuracy": flips["variant_correct"] / flips["total"] if flips else None,
        **{("class_changed" if key == "changed" else key): flips.get(key) for key in _FLIPS},
        **{key: decision.get(key) for key in _DECISION},
        "time_ratio": ratio.get("point"),
        "time_ratio_low": ratio.get("low"),
        "time_ratio_high": ratio.get("high"),
        "time_verdict": timing.get("verdict"),
        "file_bytes": held.get("file_bytes"),
        "zstd_bytes": held.get("zstd_bytes"),
    }


def _write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), path)
