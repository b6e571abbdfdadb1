"""The look at the samples is at what the estimate is made of."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

pytest.importorskip("altair", reason="the extra report is not installed")

from precbench.report.html.evidence import _blocks


def test_calls_that_only_switch_are_left_out_and_blocks_are_numbered_in_order(tmp_path: Path) -> None:
    rows = [
        {"replicate": 0, "process": p, "block": b, "arm": arm, "use": use, "elapsed_ns": ns}
        for p in (0, 1)
        for b, use, ns in (
            (-1, "cold", 9),
            (0, "switch", 10**9),
            (0, "measured", 2_000_000),
            (1, "measured", 4_000_000),
        )
        for arm in ("base", "control")
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    found = _blocks(tmp_path / "t.parquet")
    assert [(row["block"], row["process"], row["arm"], row["ms"]) for row in found] == [
        (1, "0.0", "base", 2.0), (1, "0.0", "control", 2.0), (2, "0.0", "base", 4.0), (2, "0.0", "control", 4.0),
        (3, "0.1", "base", 2.0), (3, "0.1", "control", 2.0), (4, "0.1", "base", 4.0), (4, "0.1", "control", 4.0),
    ]  # fmt: skip


def test_samples_that_are_missing_or_damaged_are_done_without(tmp_path: Path) -> None:
    assert _blocks(tmp_path / "none.parquet") == []
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    assert _blocks(tmp_path / "torn.parquet") == []
