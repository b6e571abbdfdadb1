"""Every sample of a benchmark in one Parquet file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from precbench.files import write_atomically
from precbench.timing.samples import ProcessSamples, table

_READINGS = ("sm_clock_mhz", "memory_clock_mhz", "temperature_c", "power_w", "throttle_reasons")


def samples_path(record: Path) -> Path:
    """Return where the samples of a record lie: beside it, with the ending .parquet."""
    return record.with_suffix(".parquet")


def write_samples(path: Path, measurements: Sequence[tuple[int | None, Sequence[ProcessSamples]]]) -> None:
    """Write one row per call, in the order the calls were made: raw, in integer nanoseconds.

    Columns: batch, replicate, process, block, position, call, arm, use, started_ns, elapsed_ns, outlier (see
    `timing.samples.table`); on an NVIDIA GPU whose telemetry can be read, what was read after the call's block.

    Args:
        path: of the file.
        measurements: batch size and processes of each.

    Raises:
        OutputError: it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet

    was_read = any(samples.readings for _, processes in measurements for samples in processes)
    parts = [_columns(batch, processes, was_read=was_read) for batch, processes in measurements if processes]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    arrays = {name: _encoded(pa, values) for name, values in columns.items()}
    write_atomically(
        path, lambda temporary: pyarrow.parquet.write_table(pa.table(arrays), temporary, compression="zstd")
    )


def _encoded(pa: Any, values: Any) -> Any:
    array = pa.array(values)
    return array.dictionary_encode() if pa.types.is_string(array.type) else array


def _columns(batch: int | None, processes: Sequence[ProcessSamples], *, was_read: bool) -> Mapping[str, Any]:
    columns = dict(table(processes))
    size = len(columns["process"])
    replicates = {samples.plan.process: samples.plan.replicate for samples in processes}
    return {
        "batch": np.full(size, -1 if batch is None else batch, dtype=np.int32),
        "replicate": np.array([replicates[number] for number in columns["process"].tolist()], dtype=np.int32),
        **columns,
        **(_readings(columns, processes) if was_read else {}),
    }


def _readings(columns: Mapping[str, Any], processes: Sequence[ProcessSamples]) -> Mapping[str, Any]:
    """One value per row, None outside of blocks."""
    read = {
        (samples.plan.process, block): reading
        for samples in processes
        for block, reading in enumerate(samples.readings)
    }
    rows = [read.get(key, {}) for key in zip(columns["process"].tolist(), columns["block"].tolist(), strict=True)]
    return {name: np.array([_plain(row.get(name)) for row in rows], dtype=object) for name in _READINGS}


def _plain(value: Any) -> Any:
    return ",".join(value) if isinstance(value, list) else value
