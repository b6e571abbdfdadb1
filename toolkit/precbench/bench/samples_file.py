"""Every sample of a benchmark in one Parquet file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from precbench.files import write_atomically
from precbench.timing.samples import ProcessSamples, table

_NUMBERS = ("batch", "replicate", "process", "block", "position", "call")
_READINGS = ("sm_clock_mhz", "memory_clock_mhz", "temperature_c", "power_w", "throttle_reasons")


def samples_path(record: Path) -> Path:
    """Return where the samples of a record lie: beside it, with the ending .parquet."""
    return record.with_suffix(".parquet")


def write_samples(path: Path, measurements: Sequence[tuple[int | None, Sequence[ProcessSamples]]]) -> None:
    """Write one row per call, in the order the calls were made: raw, in integer nanoseconds.

    Columns: batch, replicate, process, block, position, call, arm, use, started_ns, elapsed_ns, outlier (see
    `timing.samples.table`); on an NVIDIA GPU whose telemetry can be read, what was read after the call's block. Each
    process is a row group, and no more than one of them is a table in memory.

    Args:
        path: of the file.
        measurements: batch size and processes of each.

    Raises:
        OutputError: it cannot be written.
    """
    write_atomically(path, lambda temporary: _write(temporary, measurements))


def _write(path: Path, measurements: Sequence[tuple[int | None, Sequence[ProcessSamples]]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    schema = _schema(pa, was_read=any(samples.readings for _, processes in measurements for samples in processes))
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch, processes in measurements:
            for samples in processes:
                rows = _rows(pa, schema, batch, samples)
                if len(rows):
                    writer.write_table(rows, row_group_size=len(rows))


def _schema(pa: Any, *, was_read: bool) -> Any:
    word, number = pa.dictionary(pa.int32(), pa.string()), pa.int64()
    types = dict.fromkeys(_NUMBERS, pa.int32())
    types |= {"arm": word, "use": word, "started_ns": number, "elapsed_ns": number, "outlier": word}
    if was_read:
        types |= dict(zip(_READINGS, (number, number, number, pa.float64(), word), strict=True))
    return pa.schema(types.items())


def _rows(pa: Any, schema: Any, batch: int | None, samples: ProcessSamples) -> Any:
    columns: dict[str, Any] = dict(table([samples]))
    size = len(columns["block"])
    columns["batch"] = np.full(size, -1 if batch is None else batch, dtype=np.int32)
    columns["replicate"] = np.full(size, samples.plan.replicate, dtype=np.int32)
    columns = {name: _encoded(pa, values) for name, values in columns.items()}
    if _READINGS[0] in schema.names:
        columns |= _readings(pa, schema, samples, columns["block"])
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _encoded(pa: Any, values: Any) -> Any:
    array = pa.array(values)
    return array.dictionary_encode() if pa.types.is_string(array.type) else array


def _readings(pa: Any, schema: Any, samples: ProcessSamples, blocks: Any) -> Mapping[str, Any]:
    """One value per row, null outside of blocks and where none was read."""
    places = blocks.to_numpy()
    is_read = (places >= 0) & (places < len(samples.readings))
    index = pa.array(places, mask=~is_read)
    return {name: _read(pa, schema.field(name).type, name, samples).take(index) for name in _READINGS}


def _read(pa: Any, kind: Any, name: str, samples: ProcessSamples) -> Any:
    values = [_plain(reading.get(name)) for reading in samples.readings]
    return pa.array(values, pa.string()).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(values, kind)


def _plain(value: Any) -> Any:
    return ",".join(value) if isinstance(value, list) else value
