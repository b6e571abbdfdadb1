"""Two records side by side: what is matched, what differs, and what a stranger's file may not do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from precbench.bench import records
from precbench.bench.comparison import RunComparison, compare_records
from precbench.bench.records import Interval, read_record
from precbench.errors import DataError

Record = dict[str, Any]
Make = Callable[[], Record]
Change = Callable[[Record], object]


@pytest.fixture
def compared(bench_record: Make, tmp_path: Path) -> Callable[..., RunComparison]:
    """Compare the record with itself after a change."""

    def compare(change: Change = lambda _record: None, before: Change = lambda _record: None) -> RunComparison:
        one, other = bench_record(), bench_record()
        before(one)
        change(other)
        paths = tmp_path / "a.json", tmp_path / "b.json"
        for path, record in zip(paths, (one, other), strict=True):
            path.write_text(json.dumps(record))
        return compare_records(*(read_record(path) for path in paths))

    return compare


def test_a_run_compared_with_itself_differs_in_nothing(compared) -> None:
    found = compared()
    assert found.not_comparable == found.differences == found.conditions == ()
    assert [pair.batch for pair in found.measurements] == [1, 32]
    assert [(pair.first.arm, pair.matched_by) for pair in found.measurements[0].arms] == [
        ("base.dp4", "name"),
        ("base.dp1", "name"),
    ]
    assert all(pair.intervals_overlap and pair.first == pair.second for m in found.measurements for pair in m.arms)


def test_what_was_measured_is_read_as_it_is_recorded(compared, bench_record: Make) -> None:
    arm = compared().measurements[1].arms[1].second
    expected = bench_record()["measurements"][1]["comparisons"][1]
    assert arm.ratio is not None
    assert (arm.ratio.point, arm.ratio.low, arm.ratio.high) == (1.0312, 1.0291, 1.0333)
    assert (arm.ratio.units, arm.ratio.unit, arm.ratio.level) == (40, "process", 0.95)
    assert (arm.verdict, arm.smallest_effect) == (expected["verdict"], expected["smallest_effect"])
    assert arm.base_median_ns == 88_123_456
    assert arm.digest == f"sha256:{'1' * 64}"


def test_the_comparison_is_json(compared) -> None:
    record = json.loads(json.dumps(compared(lambda r: r["session"].update(provider="cuda")).to_json(), allow_nan=False))
    assert record["comparable"] is False
    assert record["not_comparable"] == ["the execution provider is cpu in A and cuda in B"]
    assert record["first"]["created"] == "2026-11-24T08:30:00+00:00"
    assert record["measurements"][0]["arms"][0]["first"]["verdict"] == "equivalent"
    assert record["differences"] == [{"key": "session.provider", "first": "cpu", "second": "cuda"}]


def of_both(key: str, value: Any) -> Change:
    return lambda record: [m["inputs"]["inputs"]["input"].update({key: value}) for m in record["measurements"]]


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (lambda r: r["models"]["base"].update(digest="sha256:other"), ("the base is another model in B than in A",)),
        (lambda r: r["models"]["base"].update(digest=None), ("it is not recorded which base model was measured",)),
        (lambda r: r["models"]["base.dp4"].update(digest="sha256:b"), ("base.dp4 is another model in B than in A",)),
        (lambda r: r["session"].update(intra_op_threads=2), ("the number of intra-op threads is 1 in A and 2 in B",)),
        (lambda r: r["settings"].update(clock="device"), ("the clock is end-to-end in A and device in B",)),
        (lambda r: r["settings"].pop("clock"), ("the clock is end-to-end in A and not recorded in B",)),
        (lambda r: r.update(protocol="sequential"),
         ("B was measured by the sequential protocol: one pass, and no interval to go by",
          "the protocol is blocks in A and sequential in B")),
        (lambda r: [m.update(comparisons=[]) for m in r["measurements"]], ("no variant was measured in both",)),
        (lambda r: [m.update(batch=m["batch"] + 1) for m in r["measurements"]],
         ("no batch size was measured in both: 1, 32 in A, 2, 33 in B",)),
        (lambda r: r.update(measurements=[]), ("no batch size was measured in both: 1, 32 in A, none in B",)),
        (of_both("shape", [1, 96, 96, 3]),
         tuple(f"the inputs of batch {n} have other shapes or types in B than in A" for n in (1, 32))),
        (of_both("distribution", "uniform"), ()),
        (lambda r: r["settings"].update(budget_s=120, seed=7), ()),
        (lambda r: r["environment"].update(cpu_model="another"), ()),
    ],
)  # fmt: skip
def test_runs_of_other_models_or_other_work_are_not_comparable(compared, change: Change, reasons: tuple) -> None:
    assert compared(change).not_comparable == reasons


def rename(record: Record) -> None:
    record["models"]["four"] = record["models"].pop("base.dp4")
    for measurement in record["measurements"]:
        measurement["comparisons"][0]["arm"] = "four"


def test_a_model_under_another_name_is_matched_by_its_digest(compared) -> None:
    pair = compared(rename).measurements[0].arms[0]
    assert (pair.first.arm, pair.second.arm, pair.matched_by) == ("base.dp4", "four", "digest")
    assert compared(rename).differences == ()


def denormals_off(record: Record) -> None:
    """As `--arm denormals-off` without variants: other bases, in processes of their own."""
    base = record["models"]["base"]
    flushed = {**base, "denormals_as_zero": True}
    record["models"] = {"base alone": base, "control alone": base, "denormals-off": flushed}
    for measurement in record["measurements"]:
        measurement["arms"] = dict.fromkeys(record["models"], measurement["arms"]["base"])
        measurement["comparisons"] = measurement["comparisons"][:1]
        measurement["comparisons"][0].update(arm="denormals-off", base="base alone", control="control alone")


def test_a_base_of_another_name_is_known_by_the_comparisons(compared) -> None:
    found = compared(denormals_off, denormals_off)
    assert found.not_comparable == ()
    assert found.measurements[0].arms[0].first.base_median_ns == 3_456_789


def test_the_base_with_subnormals_flushed_is_not_the_same_as_a_copy_of_the_base(compared) -> None:
    def copy_of_base(record: Record) -> None:
        record["models"]["base.dp4"]["digest"] = record["models"]["base"]["digest"]

    pair = compared(copy_of_base, denormals_off).measurements[0]
    assert (pair.arms, pair.only_in_first, pair.only_in_second) == ((), ("denormals-off",), ("base.dp4", "base.dp1"))


def sequential(record: Record) -> None:
    record["protocol"] = "sequential"
    for measurement in record["measurements"]:
        for key in ("comparisons", "arms", "plan", "processes"):
            del measurement[key]
        measurement["passes"] = {"base": {"calls": 3, "elapsed_ns": [1, 2, 3]}}


def test_a_run_of_the_sequential_protocol_has_nothing_to_compare_but_its_surroundings(compared) -> None:
    found = compared(lambda r: (sequential(r), r["environment"].update(python="3")), sequential)
    assert found.not_comparable == (
        "A was measured by the sequential protocol: one pass, and no interval to go by",
        "B was measured by the sequential protocol: one pass, and no interval to go by",
    )
    assert [d.key for d in found.differences] == ["environment.python"]


def test_a_name_goes_before_a_digest(compared) -> None:
    def swap(record: Record) -> None:
        models = record["models"]
        models["base.dp4"], models["base.dp1"] = models["base.dp1"], models["base.dp4"]

    found = compared(swap)
    assert {pair.matched_by for pair in found.measurements[0].arms} == {"name"}
    assert found.not_comparable == tuple(f"base.dp{n} is another model in B than in A" for n in (4, 1))
    assert [d.key for d in found.differences] == ["models.base.dp4.digest", "models.base.dp1.digest"]


def test_what_only_one_run_has_is_said(compared) -> None:
    found = compared(lambda r: (r["measurements"].pop(), r["measurements"][0]["comparisons"].pop(0)))
    assert (found.batches_only_in_first, found.batches_only_in_second) == ((32,), ())
    assert (found.measurements[0].only_in_first, found.measurements[0].only_in_second) == (("base.dp4",), ())
    found = compared(before=lambda r: (r["measurements"].pop(0), r["measurements"][0]["comparisons"].pop()))
    assert (found.batches_only_in_first, found.batches_only_in_second) == ((), (1,))
    assert (found.measurements[0].only_in_first, found.measurements[0].only_in_second) == ((), ("base.dp1",))


def test_differences_are_told_from_conditions(compared) -> None:
    def change(record: Record) -> None:
        record["created"] = "2026-11-25T08:30:00+00:00"
        record["environment"].update(
            load_average=[2.0, 1.0, 1.0], load_after=2.1, steal_share=0.1, other_cores=0.9, python="3"
        )
        record["environment"]["packages"]["onnxruntime"] = "1.32.0"
        record["settings"]["seed"] = 3
        record["measurements"][0]["inputs"]["seed"] = 3
        record["measurements"][0]["processes"][0]["load_before"] = 3.0

    found = compared(change)
    assert [(d.key, d.first, d.second) for d in found.differences] == [
        ("settings.seed", 0, 3),
        ("inputs.batch 1.seed", 0, 3),
        ("environment.python", "3.12.3", "3"),
        ("environment.packages.onnxruntime", "1.31.0", "1.32.0"),
    ]
    assert [d.key for d in found.conditions] == [
        "created", "environment.load_average", "environment.load_after", "environment.other_cores",
        "environment.steal_share",
    ]  # fmt: skip


def test_missing_and_null_are_one_and_true_is_not_1(compared) -> None:
    assert compared(lambda r: r["environment"].pop("governor")).differences == ()
    assert [d.second for d in compared(lambda r: r["session"].update(intra_op_threads=True)).differences] == [True]


finite = st.floats(0.1, 10)


@given(st.tuples(finite, finite), st.tuples(finite, finite))
def test_two_intervals_overlap_where_a_point_lies_in_both(one: tuple[float, float], other: tuple[float, float]) -> None:
    a, b = (
        Interval(point=1, low=min(ends), high=max(ends), level=0.95, units=9, unit="process") for ends in (one, other)
    )
    points = [*one, *other]
    expected = any(min(one) <= p <= max(one) and min(other) <= p <= max(other) for p in points)
    assert a.overlaps(b) == b.overlaps(a) == expected


def test_a_run_too_short_for_an_interval_is_read(compared) -> None:
    def shorten(record: Record) -> None:
        for measurement in record["measurements"]:
            first, second = measurement["comparisons"]
            first["ratio"].update(low=None, high=None, units=1)
            second.update(ratio=None, control_ratio=None, verdict=None, smallest_effect=None)
            measurement["arms"] = {}
        record["measurements"][0].update(batch=None, inputs=None)

    found = compared(shorten, shorten)
    assert [pair.batch for pair in found.measurements] == [None, 32]
    assert {pair.intervals_overlap for m in found.measurements for pair in m.arms} == {None}


def refused(path: Path, content: bytes | str, match: str) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=match) as error:
        read_record(path)
    assert str(path) in error.value.problem
    assert error.value.remedy


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b"PAR1\x15\x04", r"is a Parquet file\nname the .json beside it"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": 1e999}', "the number 1e999 is too large"),
        (f'{{"a": {"9" * 5000}}}', "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[" * 40 + "]" * 40, "nested deeper than 32"),
        ("[]", "is JSON, but no record of precbench\nname a record that"),
        ('{"schema_version": 2}', "is JSON, but no record"),
        ('{"schema_version": 2, "command": "round"}', "is a record of the command 'round', not of bench"),
        ('{"schema_version": 1, "command": "bench"}',
         "schema version 1, this precbench reads 2\nmeasure again: precbench bench"),
        ('{"schema_version": 3, "command": "bench"}', "schema version 3, .*\nuse the precbench that wrote it"),
        ('{"schema_version": [], "command": "bench"}', r"schema version \[\]"),
        ('{"schema_version": 2, "command": "bench"}', "models is missing, where an object belongs"),
    ],
)  # fmt: skip
def test_what_is_no_record_is_refused(tmp_path: Path, content: bytes | str, match: str) -> None:
    refused(tmp_path / "stranger.json", content, match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda r: r.update(measurements={}), "measurements is {}, where a list belongs"),
        (lambda r: r.update(measurements=[3]), r"measurements\[0\] is 3, where an object belongs"),
        (lambda r: r.update(complete="yes"), "complete is 'yes', where true or false belongs"),
        (lambda r: r.update(created=5), "created is 5, where a text belongs"),
        (lambda r: r.pop("environment"), "environment is missing, where an object belongs"),
        (lambda r: r["models"].update(base="x"), "models.base is 'x', where an object belongs"),
        (lambda r: r["models"]["base"].update(digest=1), "models.base.digest is 1, where a text belongs"),
        (lambda r: r["measurements"][0].update(batch=0), r"measurements\[0\].batch is 0, where a whole number from 1"),
        (lambda r: r["measurements"][0].update(batch=True), "batch is True, where a whole number from 1"),
        (lambda r: r["measurements"][1].update(batch=1), "measurements has the batch size '1' more than once"),
        (lambda r: r["measurements"][0]["comparisons"][0].pop("arm"), r"comparisons\[0\].arm is missing"),
        (lambda r: r["measurements"][0]["comparisons"][0].update(arm="base.dp1"), "has the arm 'base.dp1' more than"),
        (lambda r: r["measurements"][0]["comparisons"][0].update(verdict=[]), r"verdict is \[\], where a text"),
        (lambda r: r["measurements"][0]["comparisons"][0]["ratio"].update(low="x"), "ratio.low is 'x', where a number"),
        (
            lambda r: r["measurements"][0]["comparisons"][0]["ratio"].update(point=-1),
            "point is -1, where a number from 0",
        ),
        (
            lambda r: r["measurements"][0]["comparisons"][0]["ratio"].update(low=2),
            "low is 2, where a number that is at",
        ),
        (lambda r: r["measurements"][0]["comparisons"][0].update(smallest_effect=10**400), "smallest_effect is 1000"),
        (lambda r: r["measurements"][0]["arms"]["base"].update(median_ns="3"), "arms.base.median_ns is '3', where"),
    ],
)
def test_a_damaged_record_is_refused_where_it_is_damaged(
    bench_record: Make, tmp_path: Path, change: Change, match: str
) -> None:
    record = bench_record()
    change(record)
    refused(tmp_path / "damaged.json", json.dumps(record), match)


def test_files_that_cannot_be_records_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (tmp_path, tmp_path / "missing.json", Path("/dev/null")):
        with pytest.raises(DataError, match="there is no file"):
            read_record(path)
    monkeypatch.setattr(records, "MAX_FILE_BYTES", 1 << 20)
    refused(tmp_path / "large.json", b" " * (1 << 20) + b" ", "has more than 1 MiB")


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every key or index in a record, with what holds it."""
    found = []
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        found += [(value, key), *places(value[key])]
    return found


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_stands_in_a_record_it_is_compared_or_refused(bench_record: Make, tmp_path: Path, data: Any) -> None:
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    )
    record = bench_record()
    holder, key = data.draw(st.sampled_from(places(record)))
    holder[key] = data.draw(values)
    for path, content in ((tmp_path / "a.json", bench_record()), (tmp_path / "b.json", record)):
        path.write_text(json.dumps(content))
    try:
        found = compare_records(read_record(tmp_path / "a.json"), read_record(tmp_path / "b.json"))
    except DataError:
        return
    json.dumps(found.to_json(), allow_nan=False)
