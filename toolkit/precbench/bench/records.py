"""Read a record of `precbench bench`, which a stranger may have written: every value that is used is checked."""

import json
import math
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from precbench.errors import DataError

SCHEMA_VERSION = 2
"""Of the records that are written and read."""

MAX_FILE_BYTES = 64 << 20
_MOST_NESTED = 32
_LARGEST = 1e300
_NO_RECORD = "name a record that `precbench bench` wrote (RESULT.json)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A time ratio as a record holds it; below 1 is faster. None: the run was too short for that figure.

    Args:
        point: the estimate, above 0.
        low: lower end of the interval.
        high: upper end, at least `low`.
        level: of the interval, such as 0.95.
        units: how many independent units it rests on.
        unit: of what kind: "process" or "batch of blocks".
    """

    point: float | None
    low: float | None
    high: float | None
    level: float | None
    units: int | None
    unit: str | None

    def overlaps(self, other: "Interval") -> bool | None:
        """Whether two intervals have a point in common; None where one of them is not known."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return None
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """What a run found of one arm against its base; None where the record does not say.

    Args:
        arm: its name in that run.
        base: what it was compared with.
        digest: of the arm's model file.
        denormals_as_zero: whether it flushes subnormal floats to zero.
        ratio: time of the arm over time of its base.
        control_ratio: the base against itself (A/A control).
        verdict: faster, slower, equivalent or inconclusive.
        smallest_effect: the smallest that the run could have called, as a fraction.
        base_median_ns: median time of one call of the base.
    """

    arm: str
    base: str
    digest: str | None
    denormals_as_zero: bool
    ratio: Interval | None
    control_ratio: Interval | None
    verdict: str | None
    smallest_effect: float | None
    base_median_ns: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedBatch:
    """What a run found at one batch size (None: the models have none), and what the models were fed."""

    batch: int | None
    inputs: Mapping[str, Any]
    arms: tuple[ArmResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRecord:
    """A record of `precbench bench`, as far as two of them are compared.

    Args:
        path: the file.
        about: created, precbench, protocol, complete, ended; what is missing is None.
        models: arm to its model: digest, denormals_as_zero.
        settings: of the measurement.
        session: of the sessions.
        environment: of the machine.
        measurements: one per batch size.
    """

    path: Path
    about: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    session: Mapping[str, Any]
    environment: Mapping[str, Any]
    measurements: tuple[RecordedBatch, ...]


def read_record(path: Path) -> BenchRecord:
    """Read a record that `precbench bench -o` wrote, and check all that is used of it.

    Raises:
        DataError: the file is missing, too large, no JSON, no record of `bench`, of another schema version, or a value
            in it is of another type or out of range; the message says which.
    """
    record = read_json_record(path)
    try:
        return _record(_Part(record, ""), path)
    except DataError as error:
        raise DataError(f"{path}: {error.problem}", error.remedy) from error


def read_json_record(path: Path) -> dict[str, Any]:
    """Read a record's JSON as it is; only its kind and version are checked.

    Raises:
        DataError: the file is missing, too large, no JSON, no record of `bench`, or of another schema version.
    """
    record = _read_json(path)
    _check_kind(record, path)
    return dict(record)


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"there is no file {path}", _NO_RECORD)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "check its permissions") from error
    if len(data) > MAX_FILE_BYTES:
        raise DataError(f"{path} has more than {MAX_FILE_BYTES >> 20} MiB, which no record has", _NO_RECORD)
    if data.startswith(b"PAR1"):
        raise DataError(f"{path} is a Parquet file", "name the .json beside it, which holds the record")
    try:
        value = json.loads(data, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON, or a damaged one: {error}", _NO_RECORD) from error
    if _is_nested_deeper(value, _MOST_NESTED):
        raise DataError(f"{path} is nested deeper than {_MOST_NESTED} levels, which no record is", _NO_RECORD)
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _is_nested_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inside = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_nested_deeper(each, levels - 1) for each in inside)


def _check_kind(record: Any, path: Path) -> None:
    if not isinstance(record, dict) or not {"schema_version", "command"} <= record.keys():
        raise DataError(f"{path} is JSON, but no record of precbench", _NO_RECORD)
    if record["command"] != "bench":
        raise DataError(
            f"{path} is a record of the command {reprlib.repr(record['command'])}, not of bench", _NO_RECORD
        )
    version = record["schema_version"]
    if isinstance(version, bool) or version != SCHEMA_VERSION:
        is_newer = isinstance(version, int) and version > SCHEMA_VERSION
        raise DataError(
            f"{path} has schema version {reprlib.repr(version)}, this precbench reads {SCHEMA_VERSION}",
            "use the precbench that wrote it, or a newer one" if is_newer else "measure again: precbench bench … -o",
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """An object in a record, and where in it; a value is handed out only as the type that is asked for."""

    value: Mapping[str, Any]
    where: str

    def text(self, key: str) -> str | None:
        value = self.value.get(key)
        return value if value is None or isinstance(value, str) else self.wrong(key, "a text")

    def name(self, key: str) -> str:
        text = self.text(key)
        return text if text is not None else self.wrong(key, "a text")

    def number(self, key: str, *, least: float = -math.inf) -> float | None:
        value = self.value.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _LARGEST or value < least:
            self.wrong(key, "a number" if least == -math.inf else f"a number from {least:g}")
        return float(value)

    def whole(self, key: str, *, least: int) -> int | None:
        value = self.value.get(key)
        if value is not None and (type(value) is not int or not least <= value <= _LARGEST):
            self.wrong(key, f"a whole number from {least}")
        return value

    def truth(self, key: str) -> bool | None:
        value = self.value.get(key)
        return value if value is None or isinstance(value, bool) else self.wrong(key, "true or false")

    def part(self, key: str) -> "_Part":
        value = self.value.get(key)
        return _Part(value, self._place(key)) if isinstance(value, dict) else self.wrong(key, "an object")

    def optional_part(self, key: str) -> "_Part | None":
        return None if self.value.get(key) is None else self.part(key)

    def parts(self, key: str) -> "list[_Part]":
        value = self.value.get(key)
        if not isinstance(value, list):
            self.wrong(key, "a list")
        return [_Part({"": each}, f"{self._place(key)}[{index}]").part("") for index, each in enumerate(value)]

    def wrong(self, key: str, wanted: str) -> NoReturn:
        what = f"is {reprlib.repr(self.value[key])}" if key in self.value else "is missing"
        raise DataError(f"{self._place(key)} {what}, where {wanted} belongs", _NO_RECORD)

    def _place(self, key: str) -> str:
        return f"{self.where}.{key}".strip(".")


def _record(part: _Part, path: Path) -> BenchRecord:
    about = {key: part.text(key) for key in ("created", "precbench", "protocol", "ended")}
    models = part.part("models")
    facts = {name: _model(models.part(name)) for name in models.value}
    measurements = tuple(_measurement(each, facts) for each in part.parts("measurements"))
    _check_once([str(m.batch) for m in measurements], "the batch size", "measurements")
    return BenchRecord(
        path=path,
        about={**about, "complete": part.truth("complete")},
        models=facts,
        settings=part.part("settings").value,
        session=part.part("session").value,
        environment=part.part("environment").value,
        measurements=measurements,
    )


def _model(part: _Part) -> dict[str, Any]:
    return {"digest": part.text("digest"), "denormals_as_zero": bool(part.truth("denormals_as_zero"))}


def _measurement(part: _Part, models: Mapping[str, Mapping[str, Any]]) -> RecordedBatch:
    results: tuple[ArmResult, ...] = ()
    if "passes" not in part.value:  # what the sequential protocol has in place of comparisons
        arms = part.part("arms")
        results = tuple(_arm(each, arms, models) for each in part.parts("comparisons"))
    _check_once([result.arm for result in results], "the arm", part.where)
    inputs = part.optional_part("inputs")
    return RecordedBatch(
        batch=part.whole("batch", least=1), inputs={} if inputs is None else inputs.value, arms=results
    )


def _arm(part: _Part, arms: _Part, models: Mapping[str, Mapping[str, Any]]) -> ArmResult:
    base, model = part.name("base"), models.get(part.name("arm"), {})
    timed = arms.optional_part(base)
    return ArmResult(
        arm=part.name("arm"),
        base=base,
        digest=model.get("digest"),
        denormals_as_zero=model.get("denormals_as_zero", False),
        ratio=_interval(part.optional_part("ratio")),
        control_ratio=_interval(part.optional_part("control_ratio")),
        verdict=part.text("verdict"),
        smallest_effect=part.number("smallest_effect", least=0),
        base_median_ns=None if timed is None else timed.number("median_ns", least=0),
    )


def _interval(part: _Part | None) -> Interval | None:
    if part is None:
        return None
    point, low, high = (part.number(key, least=0) for key in ("point", "low", "high"))
    if low is not None and high is not None and low > high:
        part.wrong("low", "a number that is at most `high`")
    return Interval(
        point=point,
        low=low,
        high=high,
        level=part.number("level"),
        units=part.whole("units", least=0),
        unit=part.text("unit"),
    )


def _check_once(names: Sequence[str], what: str, where: str) -> None:
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{where} has {what} {reprlib.repr(twice)} more than once", _NO_RECORD)
