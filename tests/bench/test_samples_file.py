"""Every sample in one Parquet file, raw and in order."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from precbench.bench.benchmark import Benchmark
from precbench.bench.samples_file import samples_path, write_samples
from precbench.errors import OutputError
from precbench.timing.samples import ProcessSamples

COLUMNS = ["batch", "replicate", "process", "block", "position", "call", "arm", "use", "started_ns", "elapsed_ns",
           "outlier"]  # fmt: skip
READING = {"sm_clock_mhz": 1980, "memory_clock_mhz": 2619, "temperature_c": 41, "power_w": 212.5,
           "throttle_reasons": ["gpu_idle", "sw_power_cap"]}  # fmt: skip
READINGS = list(READING)

ProcessOf = Callable[..., ProcessSamples]


@pytest.fixture(scope="module")
def written(measured: Benchmark, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("samples") / "r.parquet"
    write_samples(path, measured.samples())
    return pa.parquet.read_table(path)


def read(path: Path, *measurements: Any) -> Any:
    write_samples(path, measurements)
    return pa.parquet.read_table(path)


def test_the_samples_lie_beside_the_record() -> None:
    assert samples_path(Path("x/r.json")) == Path("x/r.parquet")
    assert samples_path(Path("x/r")) == Path("x/r.parquet")


def test_numbers_are_integers_and_words_are_dictionaries(written: Any) -> None:
    assert written.column_names == COLUMNS
    types = {name: written.schema.field(name).type for name in COLUMNS}
    assert all(types[name] == pa.int32() for name in COLUMNS[:6])
    assert types["started_ns"] == types["elapsed_ns"] == pa.int64()
    assert all(pa.types.is_dictionary(types[name]) for name in ("arm", "use", "outlier"))


def test_the_timed_calls_read_back_are_the_samples_in_their_order(written: Any, measured: Benchmark) -> None:
    columns = {name: np.asarray(written[name].to_pylist()) for name in COLUMNS}
    for result in measured.batches:
        for samples in result.measurement.processes:
            mine = (columns["batch"] == result.inputs.batch) & (columns["process"] == samples.plan.process)
            timed = mine & (columns["block"] >= 0)
            np.testing.assert_array_equal(columns["elapsed_ns"][timed], samples.elapsed_ns.ravel())
            np.testing.assert_array_equal(columns["started_ns"][timed], samples.started_ns.ravel())
            assert (np.diff(columns["started_ns"][timed]) > 0).all()
            assert set(columns["replicate"][mine]) == {samples.plan.replicate}
            for index, arm in enumerate(samples.plan.arms):
                measured_calls = timed & (columns["arm"] == arm) & (columns["use"] == "measured")
                np.testing.assert_array_equal(columns["elapsed_ns"][measured_calls], samples.of(arm).ravel())
                cold = mine & (columns["arm"] == arm) & (columns["use"] == "cold")
                assert columns["elapsed_ns"][cold].tolist() == [samples.first_run_ns[arm]]
                warm = mine & (columns["arm"] == arm) & (columns["use"] == "warm-up")
                assert sorted(columns["elapsed_ns"][warm]) == sorted(
                    samples.warmup_ns[samples.warmup_order == index].tolist()
                )


def test_nothing_else_is_in_the_file(written: Any, measured: Benchmark) -> None:
    rows = sum(
        s.elapsed_ns.size + s.warmup_ns.size + len(s.first_run_ns)
        for result in measured.batches
        for s in result.measurement.processes
    )
    assert written.num_rows == rows
    assert set(written["use"].to_pylist()) == {"cold", "warm-up", "switch", "measured"}


def test_an_unknown_batch_is_minus_one(tmp_path: Path, process_of: ProcessOf) -> None:
    assert set(read(tmp_path / "r.parquet", (None, [process_of([[5, 5, 5]])]))["batch"].to_pylist()) == {-1}


def test_readings_stand_with_every_call_of_their_block_and_nowhere_else(tmp_path: Path, process_of: ProcessOf) -> None:
    samples = process_of([[5, 5, 5], [6, 6, 6]], readings=[READING, {**READING, "sm_clock_mhz": 1500}])
    rows = read(tmp_path / "r.parquet", (1, [samples])).to_pylist()
    assert list(rows[0]) == [*COLUMNS, *READINGS]
    clocks = {(row["block"], row["sm_clock_mhz"], row["throttle_reasons"]) for row in rows}
    assert clocks == {
        (-2, None, None), (-1, None, None), (0, 1980, "gpu_idle,sw_power_cap"), (1, 1500, "gpu_idle,sw_power_cap"),
    }  # fmt: skip


def test_a_batch_without_readings_beside_one_that_has_them(tmp_path: Path, process_of: ProcessOf) -> None:
    read_out = process_of([[5, 5, 5]], readings=[READING])
    cut = process_of([], ended="interrupted")
    for measurements in (((1, [read_out]), (2, [cut])), ((2, [cut]), (1, [read_out]))):
        rows = read(tmp_path / "r.parquet", *measurements).to_pylist()
        assert {row["batch"]: row["power_w"] for row in rows if row["block"] == 0} == {1: 212.5}
        assert {row["power_w"] for row in rows if row["batch"] == 2} == {None}


def test_a_reading_that_tells_nothing_is_empty(tmp_path: Path, process_of: ProcessOf) -> None:
    samples = process_of([[5, 5, 5]], readings=[dict.fromkeys(READINGS)])
    rows = read(tmp_path / "r.parquet", (1, [samples])).to_pylist()
    assert {row["sm_clock_mhz"] for row in rows} == {None}


def test_what_was_not_throttled_has_an_empty_text(tmp_path: Path, process_of: ProcessOf) -> None:
    samples = process_of([[5, 5, 5]], readings=[{**READING, "throttle_reasons": []}])
    rows = read(tmp_path / "r.parquet", (1, [samples])).to_pylist()
    assert {row["throttle_reasons"] for row in rows if row["block"] == 0} == {""}


def test_processes_that_measured_nothing_still_have_a_file(tmp_path: Path, process_of: ProcessOf) -> None:
    assert read(tmp_path / "r.parquet", (1, [])).num_rows == 0
    assert read(tmp_path / "r.parquet", (1, [process_of([])])).num_rows == 6


def test_each_process_is_a_row_group_of_its_own(tmp_path: Path, process_of: ProcessOf) -> None:
    first = [process_of([[5, 5, 5]], process=number) for number in range(3)]
    write_samples(tmp_path / "r.parquet", [(1, first), (None, [process_of([[6, 6, 6]], process=0)])])
    file = pa.parquet.ParquetFile(tmp_path / "r.parquet")
    groups = [file.read_row_group(number).to_pydict() for number in range(file.num_row_groups)]
    assert [({*group["batch"]}, {*group["process"]}) for group in groups] == [
        ({1}, {0}), ({1}, {1}), ({1}, {2}), ({-1}, {0}),
    ]  # fmt: skip


def test_memory_does_not_grow_with_processes(tmp_path: Path, process_of: ProcessOf) -> None:
    samples = [process_of([[5, 5, 5]] * 400, process=number) for number in range(12)]

    def peak(processes: Any) -> int:
        tracemalloc.start()
        write_samples(tmp_path / "r.parquet", [(1, processes)])
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(samples[:1])  # what the first write loads
    assert peak(samples) < 1.5 * peak(samples[:2])


def test_a_file_has_its_columns_whatever_was_measured(tmp_path: Path, process_of: ProcessOf) -> None:
    full = read(tmp_path / "r.parquet", (1, [process_of([[5, 5, 5]])])).schema
    for nothing in ([], [(1, [])], [(1, [process_of([])])]):
        assert read(tmp_path / "r.parquet", *nothing).schema.equals(full)
    telling, silent = (
        read(tmp_path / "r.parquet", (1, [process_of([[5, 5, 5]], readings=[reading])])).schema
        for reading in (READING, dict.fromkeys(READINGS))
    )
    assert telling.equals(silent)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, process_of: ProcessOf) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_samples(tmp_path / "file" / "r.parquet", [(1, [process_of([[5, 5, 5]])])])
