"""Two recorded runs of `precbench bench` side by side, and what differs between the machines and settings they had."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from precbench.bench.records import ArmResult, BenchRecord, RecordedBatch

_BASE, _SEQUENTIAL = "base", "sequential"
_CONDITIONS = frozenset(
    {"created", "load_average", "load_before", "load_after", "other_cores", "steal_share"}
    | {"cpu_frequency_mhz", "wall_s", "elapsed_s"}
)
"""Keys of what is never the same twice: the time, the load, the clock at one moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPair:
    """One arm in both runs; `matched_by` is "name", or "digest" where the same model has two names."""

    first: ArmResult
    second: ArmResult
    matched_by: str

    @property
    def intervals_overlap(self) -> bool | None:
        """Whether the intervals of the two ratios overlap; no test of whether the runs differ."""
        ratios = self.first.ratio, self.second.ratio
        return None if ratios[0] is None or ratios[1] is None else ratios[0].overlaps(ratios[1])

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "matched_by": self.matched_by,
            "intervals_overlap": self.intervals_overlap,
            "first": asdict(self.first),
            "second": asdict(self.second),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPair:
    """One batch size in both runs, and the arms that only one of them has there."""

    batch: int | None
    arms: tuple[ArmPair, ...]
    only_in_first: tuple[str, ...]
    only_in_second: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "batch": self.batch,
            "arms": [pair.to_json() for pair in self.arms],
            "only_in_first": list(self.only_in_first),
            "only_in_second": list(self.only_in_second),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A recorded value that is not the same in both runs; None: null, or not recorded."""

    key: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Two runs side by side.

    Args:
        first: "A" in the sentences.
        second: "B".
        not_comparable: why figures of the two runs say nothing of each other; empty where they may be compared.
        measurements: the batch sizes that both have.
        batches_only_in_first: the others.
        batches_only_in_second: likewise.
        differences: in versions, settings, session, environment, inputs and models.
        conditions: differences in what is never the same twice, such as the load.
    """

    first: BenchRecord
    second: BenchRecord
    not_comparable: tuple[str, ...]
    measurements: tuple[BatchPair, ...]
    batches_only_in_first: tuple[int | None, ...]
    batches_only_in_second: tuple[int | None, ...]
    differences: tuple[Difference, ...]
    conditions: tuple[Difference, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the record of the comparison."""
        return {
            "first": {"path": str(self.first.path), **self.first.about},
            "second": {"path": str(self.second.path), **self.second.about},
            "comparable": not self.not_comparable,
            "not_comparable": list(self.not_comparable),
            "measurements": [pair.to_json() for pair in self.measurements],
            "batches_only_in_first": list(self.batches_only_in_first),
            "batches_only_in_second": list(self.batches_only_in_second),
            "differences": [asdict(difference) for difference in self.differences],
            "conditions": [asdict(difference) for difference in self.conditions],
        }


def compare_records(first: BenchRecord, second: BenchRecord) -> RunComparison:
    """Set two runs side by side: batch by batch, arm by arm, then all that differs.

    An arm is the one of the same name in the other run, else the one whose model file has the same digest and is run
    with the same treatment of subnormals.
    """
    here, there = ({m.batch: m for m in record.measurements} for record in (first, second))
    pairs = tuple(_pair_batch(here[batch], there[batch]) for batch in here if batch in there)
    differing = _differences(first, second)
    return RunComparison(
        first=first,
        second=second,
        not_comparable=tuple(_reasons(first, second, pairs)),
        measurements=pairs,
        batches_only_in_first=tuple(batch for batch in here if batch not in there),
        batches_only_in_second=tuple(batch for batch in there if batch not in here),
        differences=tuple(d for d in differing if not _is_condition(d.key)),
        conditions=tuple(d for d in differing if _is_condition(d.key)),
    )


def _pair_batch(first: RecordedBatch, second: RecordedBatch) -> BatchPair:
    left = {arm.arm: arm for arm in second.arms}
    pairs: dict[str, ArmPair] = {}
    for arm in first.arms:
        if arm.arm in left:
            pairs[arm.arm] = ArmPair(first=arm, second=left.pop(arm.arm), matched_by="name")
    by_model = {_model_of(arm): arm for arm in reversed(left.values()) if arm.digest is not None}
    for arm in first.arms:
        if arm.arm not in pairs and _model_of(arm) in by_model:
            same = by_model.pop(_model_of(arm))
            pairs[arm.arm] = ArmPair(first=arm, second=left.pop(same.arm), matched_by="digest")
    return BatchPair(
        batch=first.batch,
        arms=tuple(pairs[arm.arm] for arm in first.arms if arm.arm in pairs),
        only_in_first=tuple(arm.arm for arm in first.arms if arm.arm not in pairs),
        only_in_second=tuple(left),
    )


def _model_of(arm: ArmResult) -> tuple[str | None, bool]:
    return arm.digest, arm.denormals_as_zero


def _reasons(first: BenchRecord, second: BenchRecord, pairs: Sequence[BatchPair]) -> Iterable[str]:
    bases = _base_digest(first), _base_digest(second)
    if None in bases:
        yield "it is not recorded which base model was measured"
    elif bases[0] != bases[1]:
        yield "the base is another model in B than in A"
    others = {pair.first.arm: None for batch in pairs for pair in batch.arms if _are_other_models(pair)}
    yield from (f"{arm} is another model in B than in A" for arm in others)
    for name, record in (("A", first), ("B", second)):
        if record.about["protocol"] == _SEQUENTIAL:
            yield f"{name} was measured by the sequential protocol: one pass, and no interval to go by"
    for what, key, here, there in (
        ("protocol", "protocol", first.about, second.about),
        ("execution provider", "provider", first.session, second.session),
        ("number of intra-op threads", "intra_op_threads", first.session, second.session),
        ("clock", "clock", first.settings, second.settings),
    ):
        if not _equal(here.get(key), there.get(key)):
            yield f"the {what} is {_plain(here.get(key))} in A and {_plain(there.get(key))} in B"
    if not pairs:
        sizes = (", ".join(_plain(m.batch) for m in record.measurements) or "none" for record in (first, second))
        yield "no batch size was measured in both: {} in A, {} in B".format(*sizes)
    elif not any(pair.arms for pair in pairs) and _SEQUENTIAL not in (
        first.about["protocol"],
        second.about["protocol"],
    ):
        yield "no variant was measured in both"
    yield from _reasons_in_inputs(first, second, pairs)


def _base_digest(record: BenchRecord) -> str | None:
    """Of what variants were compared with; all bases of a run are one file."""
    bases = [arm.base for measured in record.measurements for arm in measured.arms]
    model = record.models.get(bases[0] if bases else _BASE)
    return None if model is None else model["digest"]


def _are_other_models(pair: ArmPair) -> bool:
    return None not in (pair.first.digest, pair.second.digest) and pair.first.digest != pair.second.digest


def _reasons_in_inputs(first: BenchRecord, second: BenchRecord, pairs: Sequence[BatchPair]) -> Iterable[str]:
    """Inputs of other shapes are other work; other values of one shape are not."""
    here, there = ({m.batch: _shapes(m.inputs) for m in record.measurements} for record in (first, second))
    for pair in pairs:
        if here[pair.batch] and there[pair.batch] and here[pair.batch] != there[pair.batch]:
            yield f"the inputs of batch {_plain(pair.batch)} have other shapes or types in B than in A"


def _shapes(inputs: Mapping[str, Any]) -> dict[str, Any]:
    recipe = inputs.get("inputs")
    if not isinstance(recipe, dict) or not all(isinstance(each, dict) for each in recipe.values()):
        return {}
    return {name: (each.get("dtype"), each.get("shape")) for name, each in recipe.items()}


def _differences(first: BenchRecord, second: BenchRecord) -> list[Difference]:
    shared = first.models.keys() & second.models.keys()
    batches = {m.batch for m in first.measurements} & {m.batch for m in second.measurements}
    here, there = (_flattened(_compared(record, shared, batches)) for record in (first, second))
    keys = dict.fromkeys([*here, *there])
    return [
        Difference(key=key, first=here.get(key), second=there.get(key))
        for key in keys
        if not _equal(here.get(key), there.get(key))
    ]


def _compared(record: BenchRecord, arms: Iterable[str], batches: Iterable[int | None]) -> dict[str, Any]:
    wanted, sizes = set(arms), set(batches)
    return {
        **{key: record.about[key] for key in ("created", "precbench", "protocol")},
        "models": {arm: model for arm, model in record.models.items() if arm in wanted},
        "settings": record.settings,
        "inputs": {f"batch {_plain(m.batch)}": m.inputs for m in record.measurements if m.batch in sizes},
        "session": record.session,
        "environment": record.environment,
    }


def _flattened(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, each in value.items():
        flat |= _flattened(each, f"{prefix}{key}.") if isinstance(each, Mapping) else {f"{prefix}{key}": each}
    return flat


def _is_condition(key: str) -> bool:
    return not _CONDITIONS.isdisjoint(key.split("."))


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _plain(value: Any) -> str:
    return "not recorded" if value is None else value if isinstance(value, str) else json.dumps(value)
