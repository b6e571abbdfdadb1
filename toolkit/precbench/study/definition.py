"""A study file: what to train on what, which weights to round, how to time. TOML in, checked values out."""

import dataclasses
import math
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import precbench
from precbench.errors import TargetError, UsageError
from precbench.grids import check_decimals
from precbench.nearest import nearest

SCHEMA_VERSION = 1
DEFAULT_STUDY = "mobilenetv2-digits"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSection:
    """Which images, and how they are split: `fractions` of train, validation and test, stratified, from `seed`."""

    source: str
    size: int
    fractions: tuple[float, ...]
    seed: int

    def __post_init__(self) -> None:
        """Check the split."""
        _require(
            len(self.fractions) == 3 and all(f > 0 for f in self.fractions) and abs(sum(self.fractions) - 1) < 1e-9,
            f"[data] fractions is {list(self.fractions)}",
            "give three positive fractions that add up to 1",
        )
        _require(1 <= self.size <= 4096, f"[data] size is {self.size} pixels", "give 1 to 4096")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureSection:
    """Which network: a keras.applications name, its width multiplier, its input in pixels, its preprocessing mode."""

    name: str
    alpha: float = 1.0
    input_size: int
    preprocessing: str = "tf"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSection:
    """How it is trained: AdamW with cosine decay, images shifted at random by up to `shift_pixels` each way."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    bn_momentum: float = 0.99
    shift_pixels: int = 0
    seed: int

    def __post_init__(self) -> None:
        """Check the ranges."""
        _require(self.epochs >= 1, f"[training] epochs is {self.epochs}", "give 1 or more")
        _require(self.batch_size >= 1, f"[training] batch_size is {self.batch_size}", "give 1 or more")
        _require(self.learning_rate > 0, f"[training] learning_rate is {self.learning_rate}", "give a positive rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentSection:
    """Experiment 1: all groups together at each of these decimals."""

    decimals: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check the decimals."""
        for number in self.decimals:
            check_decimals(number)
        _require(
            len(set(self.decimals)) == len(self.decimals) > 0,
            f"[experiment] decimals is {list(self.decimals)}",
            "list each number of decimals once, at least one",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingSection:
    """How the variants are timed: images per call, threads of one call, seconds for all variants together, the margin
    (a fraction) within which a ratio counts as 1, seed."""

    provider: str = "cpu"
    batch_size: int
    intra_op_threads: int = 1
    budget_s: float
    margin: float = 0.01
    seed: int

    def __post_init__(self) -> None:
        """Check the ranges."""
        _require(self.batch_size >= 1, f"[timing] batch_size is {self.batch_size}", "give 1 or more")
        _require(self.intra_op_threads >= 1, f"[timing] intra_op_threads is {self.intra_op_threads}", "give 1 or more")
        _require(self.budget_s > 0, f"[timing] budget_s is {self.budget_s}", "give a positive number of seconds")
        _require(0 < self.margin < 1, f"[timing] margin is {self.margin}", "give a fraction, such as 0.01 for 1 %")


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study as its file says it; `groups` maps a group's name to globs over initializer names."""

    schema_version: int
    name: str
    data: DataSection
    architecture: ArchitectureSection
    training: TrainingSection
    groups: Mapping[str, tuple[str, ...]]
    experiment: ExperimentSection
    timing: TimingSection

    def __post_init__(self) -> None:
        """Check the version and the name, which becomes a folder's."""
        _require(
            self.schema_version == SCHEMA_VERSION,
            f"schema_version is {self.schema_version}",
            f"this precbench reads version {SCHEMA_VERSION}",
        )
        _require(
            self.name.replace("-", "").replace("_", "").replace(".", "").isalnum() and self.name[0] != ".",
            f"name is {self.name!r}",
            "use letters, digits, '-', '_' and '.': it names the run folder",
        )
        _require(bool(self.groups), "[groups] is empty", "name at least one group of initializers")

    def to_json(self) -> dict[str, Any]:
        """Return the study as JSON."""
        return dataclasses.asdict(self)


def load_study(name: str) -> Study:
    """Read a study file, or one of the studies that come with precbench by its name.

    Raises:
        UsageError: no such study, not TOML, an unknown or missing key, or a value of another type or out of range.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = shipped_studies().get(name) or _no_study(name)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"there is no study file {path}", f"write one, or name one of {_names()}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the study file {path} cannot be read: {error}", "see models/ for examples") from error
    try:
        return typing.cast(Study, _read(Study, table, ""))
    except UsageError as error:
        raise UsageError(f"{path}: {error.problem}", error.remedy) from error


def shipped_studies() -> dict[str, Path]:
    """Return the studies that come with precbench, name to file: the project's `models/` folder."""
    package = Path(precbench.__file__).parent
    folders = (package / "models", package.parents[1] / "models")  # in a wheel; in a checkout
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def shipped_groups(names: typing.Iterable[str]) -> tuple[str, Mapping[str, tuple[str, ...]]] | None:
    """Return the first shipped study, with its groups, whose every pattern matches one of these initializer names."""
    from precbench.graph import assign_groups

    known = list(names)
    for name in shipped_studies():
        study = load_study(name)
        try:
            assign_groups(known, study.groups)
        except TargetError:
            continue
        return name, study.groups
    return None


def _no_study(name: str) -> typing.NoReturn:
    raise UsageError(f"there is no study {name!r}", f"{nearest(name, shipped_studies())}; or name a .toml file")


def _names() -> str:
    return ", ".join(shipped_studies())


def _require(holds: bool, problem: str, remedy: str) -> None:
    if not holds:
        raise UsageError(problem, remedy)


def _read(kind: Any, value: Any, where: str) -> Any:
    """Turn a TOML value into the annotated type, refusing unknown keys and other types."""
    if dataclasses.is_dataclass(kind):
        return _read_table(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Mapping and isinstance(value, dict):
        return {k: _read(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin is tuple and isinstance(value, list):
        return tuple(_read(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        _require(math.isfinite(value), f"{where} is {value}", "give a finite number")
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise UsageError(f"{where} is {value!r}, of type {type(value).__name__}", f"give {_type_name(kind)}")


def _read_table(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise UsageError(f"{where} is {value!r}, not a table", f"write it as [{where}]")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in value:
        if key not in fields:
            raise UsageError(f"unknown key {_join(where, key)!r}", nearest(key, fields))
    read = {key: _read(hints[key], item, _join(where, key)) for key, item in value.items()}
    for name, field in fields.items():
        if name not in value and field.default is dataclasses.MISSING:
            raise UsageError(f"the key {_join(where, name)!r} is missing", f"add it: {_type_name(hints[name])}")
    return kind(**read)


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _type_name(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text in quotes"}
    return names.get(
        kind, "a table" if dataclasses.is_dataclass(kind) or typing.get_origin(kind) is Mapping else "a list"
    )
