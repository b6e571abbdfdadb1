"""Every time taken in one process."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precbench.errors import DataError
from precbench.timing.journal import Kind
from precbench.timing.measurement import measure
from precbench.timing.samples import ProcessSamples, outlier_labels, table
from precbench.timing.schedule import ProcessPlan
from precbench.timing.simulation import Machine, Noise

few = settings(max_examples=50, deadline=None)

COLUMNS = {
    "process": np.dtype(np.int32),
    "block": np.dtype(np.int32),
    "position": np.dtype(np.int32),
    "call": np.dtype(np.int32),
    "arm": "U",
    "use": "U",
    "started_ns": np.dtype(np.int64),
    "elapsed_ns": np.dtype(np.int64),
    "outlier": "U",
}


QUIET = Noise()


def plan_of(*arms, **changes):
    return ProcessPlan(**{"replicate": 0, "process": 0, "arms": arms, "seed": 2, "blocks": 3, "calls": 2, **changes})


def on_machine(*, process=0, blocks=3, noise=QUIET):
    machine = Machine(times_s={"base": 1e-3, "variant": 2e-3}, noise=noise, seed=process)
    return machine.run_process(plan_of("base", "variant", process=process, replicate=process, blocks=blocks))


def test_the_table_has_every_call_of_every_process_in_the_order_made():
    processes = [on_machine(process=3), on_machine(process=4, blocks=1)]
    columns = table(processes)
    assert list(columns) == list(COLUMNS)
    assert {len(column) for column in columns.values()} == {
        sum(2 + s.warmup_ns.size + s.elapsed_ns.size for s in processes)
    }
    for name, kind in COLUMNS.items():
        assert columns[name].dtype.kind == kind if isinstance(kind, str) else columns[name].dtype == kind
    assert columns["process"].tolist() == sorted(columns["process"].tolist())
    for samples in processes:
        of_it = columns["process"] == samples.plan.process
        uses = columns["use"][of_it].tolist()
        assert uses[:2] == ["cold"] * 2
        assert uses[2 : 2 + samples.warmup_ns.size] == ["warm-up"] * samples.warmup_ns.size
        assert uses[2 + samples.warmup_ns.size :] == ["switch", "measured", "measured"] * 4 * samples.blocks
        started = columns["started_ns"][of_it & (columns["block"] >= 0)]
        assert (np.diff(started) > 0).all()
        assert (columns["started_ns"][of_it & (columns["block"] < 0)] == -1).all()


def test_the_table_gives_the_whole_numbers_of_the_clock_under_their_block_position_call_and_arm(clock):
    plan, records, durations = plan_of("a", "b"), [], {"a": [], "b": []}
    numbers = iter(range(10**15 + 1, 10**15 + 1000))

    def make(arm):
        return clock.callable(arm, lambda: durations[arm].append(next(numbers)) or durations[arm][-1])

    measure(make, plan, lambda kind, words: records.append((kind, list(words))), clock=clock)
    samples = ProcessSamples.from_records(plan, records)
    columns = table([samples])
    single = columns["use"] != "warm-up"  # a round of the warm-up is one call here: two calls per position, a quarter
    for arm in "ab":
        assert columns["elapsed_ns"][columns["arm"] == arm].tolist() == durations[arm]
    rows = zip(*(columns[name][single].tolist() for name in ("block", "position", "call", "arm")), strict=True)
    blocks = [row for row in rows if row[0] >= 0]
    assert blocks == [
        (block, position, call, "ab"[samples.order[block, position]])
        for block in range(3)
        for position in range(4)
        for call in range(3)
    ]
    assert (
        columns["position"][columns["use"] == "warm-up"].tolist()
        == np.repeat(range(len(samples.warmup_ns)), 2).tolist()
    )


def test_the_table_of_nothing_has_its_columns():
    columns = table([])
    assert list(columns) == list(COLUMNS)
    assert {len(column) for column in columns.values()} == {0}


def test_a_process_that_died_before_its_first_block_has_the_rows_that_it_told():
    plan = plan_of("a", "b")
    samples = ProcessSamples.from_records(plan, [(Kind.CREATION, [5, 6]), (Kind.FIRST_RUN, [7, 8])], ended="killed")
    assert table([samples])["elapsed_ns"].tolist() == [7, 8][:: 1 if plan.creation_order() == ["a", "b"] else -1]
    assert (samples.blocks, samples.lost_block, samples.steady) == (0, None, False)


def test_a_process_without_any_record_is_empty_and_no_error():
    samples = ProcessSamples.from_records(plan_of("a", "b"), [], ended="killed by SIGKILL")
    assert (samples.blocks, samples.lost_block, samples.creation_ns) == (0, None, {})
    assert samples.of("b").shape == (0, 2, 1)
    assert samples.log_times().shape == (0, 2)


def test_outliers_are_labelled_in_the_table_and_never_dropped():
    samples = on_machine(blocks=60, noise=Noise(jitter=0.01, spikes=0.05, spike_size=3.0))
    columns = table([samples])
    measured = columns["use"] == "measured"
    assert measured.sum() == 60 * 4 * 2
    severe = columns["outlier"] == "severe"
    assert 10 < severe.sum() < 50
    assert not (columns["outlier"] != "")[~measured].any()
    for arm in ("base", "variant"):
        here = measured & (columns["arm"] == arm)
        assert columns["elapsed_ns"][here & severe].min() > columns["elapsed_ns"][here & ~severe].max() * 0.99
        assert sorted(columns["elapsed_ns"][here].tolist()) == sorted(samples.of(arm).ravel().tolist())


def test_outliers_are_those_beyond_tukeys_fences_of_the_logs():
    times = np.array([900, 950, 1000, 1050, 1100] * 2 + [1500, 5000, 700, 300])
    assert outlier_labels(times).tolist() == [""] * 10 + ["mild", "severe", "mild", "severe"]


@few
@given(st.lists(st.integers(0, 10**12), max_size=30))
def test_labels_have_the_shape_of_the_times_and_do_not_depend_on_their_order(times):
    labels = outlier_labels(np.array(times, dtype=np.int64))
    assert labels.shape == (len(times),)
    assert set(labels) <= {"", "mild", "severe"}
    backwards = outlier_labels(np.array(times[::-1], dtype=np.int64))
    assert backwards[::-1].tolist() == labels.tolist()


def test_log_times_are_the_median_of_the_logs_of_both_positions_as_one():
    plan = plan_of("a", "b", blocks=1, calls=3)
    order = next(plan.block_orders())
    of_arm = {0: [[9999, 10, 20, 1000], [9999, 40, 30, 50]], 1: [[9999, 1, 1, 1], [9999, 4, 4, 4]]}
    positions = [of_arm[arm][order[:place].count(arm)] for place, arm in enumerate(order)]
    block = [*order, *[0] * 16, *np.ravel(positions).tolist()]
    samples = ProcessSamples.from_records(plan, [(Kind.CALLS, [3]), (Kind.BLOCK, block)])
    expected = [[(np.log(30) + np.log(40)) / 2, np.log(2)]]
    np.testing.assert_allclose(samples.log_times(), expected, rtol=1e-15)
    assert samples.of("a").tolist() == [[[10, 20, 1000], [40, 30, 50]]]


def test_calls_that_took_no_time_cannot_be_compared(process_of):
    with pytest.raises(DataError, match="a call took no time that the clock could see") as caught:
        process_of([[1, 0]] * 3).log_times()
    assert caught.value.remedy == "time a larger batch"


@pytest.mark.parametrize(
    "records",
    [
        [(Kind.CREATION, [1])],
        [(Kind.CALLS, [])],
        [(Kind.CALLS, [1]), (Kind.BLOCK, [0, 1, 1, 0])],
        [(Kind.CALLS, [1]), (Kind.BLOCK, [0] * 20), (Kind.BLOCK, [0] * 19)],
        [(Kind.CALLS, [1]), (Kind.BLOCK, [0, 0, 0, 0, *[1] * 16])],
        [(Kind.CALLS, [1]), (Kind.BLOCK, [0, 1, 2, 0, *[1] * 16])],
        [(Kind.CALLS, [0])],
        [(Kind.WARM, [1])],
        [(Kind.WARMUP, [0, 1, 5])],
        [(Kind.WARMUP, [0, 7, 5, 5])],
        [(Kind.READING, [123])],
        [(Kind.READING, [1000])],
    ],
)
def test_records_that_do_not_fit_the_plan_are_refused(records):
    with pytest.raises(DataError, match="the journal of process 0 does not fit its plan") as caught:
        ProcessSamples.from_records(plan_of("a", "b"), records)
    assert caught.value.remedy == "measure again"
