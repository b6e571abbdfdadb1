"""A study file: what to train on what, which weights to round, how to time. TOML in, checked values out."""

import dataclasses
import math
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import precbench
from precbench.checkpoints.training_settings import Training
from precbench.errors import TargetError, UsageError
from precbench.grids import check_decimals
from precbench.nearest import nearest

SCHEMA_VERSION = 2
DEFAULT_STUDY = "mobilenetv2-digits"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSection:
    """Which images, and how they are split.

    Args:
        source: see `datasets.load_splits`.
        size: pixels a side at which digits and a folder's images are read; None for the network's `input_size`.
        fractions: of train, validation and test, stratified; of train and validation where the source has a test part
            of its own. None: 0.6, 0.2, 0.2, or 0.8, 0.2.
        seed: of the split.
        on_bad_image: of a folder: "stop" or "skip".
    """

    source: str
    size: int | None = None
    fractions: tuple[float, ...] | None = None
    seed: int
    on_bad_image: str = "stop"

    def __post_init__(self) -> None:
        """Check the split."""
        _require(
            self.fractions is None
            or (
                len(self.fractions) in (2, 3)
                and all(f > 0 for f in self.fractions)
                and abs(sum(self.fractions) - 1) < 1e-9
            ),
            f"[data] fractions is {list(self.fractions or ())}",
            "give two or three positive fractions that add up to 1",
        )
        _require(self.size is None or 8 <= self.size <= 1024, f"[data] size is {self.size} pixels", "give 8 to 1024")
        _require(
            self.on_bad_image in ("stop", "skip"),
            f"[data] on_bad_image is {self.on_bad_image!r}",
            'give "stop" or "skip"',
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureSection:
    """Which network: a keras.applications name, AlexNet or GoogLeNet; its width multiplier, its input in pixels, its
    preprocessing mode; `weights` to start from: "random" or "imagenet"; the head's `dropout`, 0 to less than 1."""

    name: str
    alpha: float = 1.0
    input_size: int
    preprocessing: str = "tf"
    weights: str = "random"
    dropout: float | None = None

    def __post_init__(self) -> None:
        """Check the weights."""
        _require(
            self.weights in ("random", "imagenet"),
            f"[architecture] weights is {self.weights!r}",
            'give "random" or "imagenet"',
        )
        _require(
            self.dropout is None or 0 <= self.dropout < 1,
            f"[architecture] dropout is {self.dropout}",
            "give a share from 0 to less than 1",
        )


class Targets(StrEnum):
    """What a point of an experiment rounds: see `experiments.points_of`."""

    ALL = "all"
    EACH_GROUP = "each-group"
    EACH_LAYER = "each-layer"
    COMBINATIONS = "combinations"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentSection:
    """One experiment. `decimals` is for every kind of targets but combinations, which are listed (group to decimals),
    or asked for as a `factorial`: group to the levels that are crossed."""

    name: str
    targets: str
    decimals: tuple[int, ...] = ()
    combinations: tuple[Mapping[str, int], ...] = ()
    factorial: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the decimals, and that what is given is what these targets take."""
        where = f"experiment {self.name!r}"
        _check_name(self.name, "an experiment's name", "it names a table")
        _require(self.targets in [*Targets], f"{where}: targets is {self.targets!r}", nearest(self.targets, [*Targets]))
        lists = [self.decimals, *self.factorial.values()]
        for number in (*(n for one in lists for n in one), *(n for one in self.combinations for n in one.values())):
            check_decimals(number)
        _require(
            all(len(set(one)) == len(one) for one in lists),
            f"{where}: some number of decimals is listed twice",
            "list each once",
        )
        combined = bool(self.combinations) or bool(self.factorial)
        if self.targets == Targets.COMBINATIONS:
            _require(
                combined and not self.decimals and all(self.combinations) and all(self.factorial.values()),
                f"{where}: combinations need groups with decimals of their own",
                "give combinations = [{expand = 4, project = 3}], or factorial = {expand = [3, 4], project = [3, 4]}",
            )
        else:
            _require(bool(self.decimals), f"{where}: there are no decimals", "list at least one, as decimals = [4]")
            _require(
                not combined, f"{where}: combinations are given", 'leave them out, or use targets = "combinations"'
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracySection:
    """What counts as no loss: one shown to be less than `margin_points` percentage points; intervals are at `level`."""

    margin_points: float = 0.5
    level: float = 0.95

    def __post_init__(self) -> None:
        """Check the ranges."""
        _require(
            0 < self.margin_points < 100,
            f"[accuracy] margin_points is {self.margin_points}",
            "give percentage points, such as 0.5",
        )
        _require(0.5 <= self.level < 1, f"[accuracy] level is {self.level}", "give a level such as 0.95")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPoint:
    """Accuracy (0..1) and seconds of inference that a publication gives; `decimals` 0 stands for full precision."""

    decimals: int = 0
    accuracy: float
    time_s: float

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_decimals(self.decimals)
        _require(0 <= self.accuracy <= 1, f"[published] accuracy is {self.accuracy}", "give a share such as 0.8691")
        _require(self.time_s > 0, f"[published] time_s is {self.time_s}", "give seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSection:
    """What a publication found, to be set beside the study's own figures: all groups together, on so many images.

    Args:
        source: where it stands.
        images: that its figures are of.
        elements: weights that it changed; 0 where it does not say.
        full: at full precision.
        rounded: at so many decimals.
    """

    source: str = ""
    images: int = 0
    elements: int = 0
    full: PublishedPoint | None = None
    rounded: tuple[PublishedPoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingSection:
    """Which variants are timed, and how.

    Args:
        experiments: those of which every variant is; None: those of all groups together.
        winners: whether of each other experiment the variant is of the fewest decimals that loses less than the margin.
        provider: execution provider.
        batch_size: images per call.
        intra_op_threads: of one call.
        budget_s: seconds for all variants together.
        margin: a fraction within which a ratio counts as 1.
        seed: of the orders.
    """

    experiments: tuple[str, ...] | None = None
    winners: bool = True
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
        _require(self.seed >= 0, f"[timing] seed is {self.seed}", "give 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study as its file says it; `groups` maps a group's name to globs over initializer names."""

    schema_version: int
    name: str
    data: DataSection
    architecture: ArchitectureSection
    training: Training
    groups: Mapping[str, tuple[str, ...]]
    experiment: tuple[ExperimentSection, ...]
    accuracy: AccuracySection = dataclasses.field(default_factory=AccuracySection)
    published: PublishedSection = dataclasses.field(default_factory=PublishedSection)
    timing: TimingSection

    def __post_init__(self) -> None:
        """Check the version and the name, which becomes a folder's."""
        _check_name(self.name, "name", "it names the run folder")
        _require(bool(self.groups), "[groups] is empty", "name at least one group of initializers")
        names = [experiment.name for experiment in self.experiment]
        _require(
            len(set(names)) == len(names) > 0,
            f"the experiments are {names}",
            "give at least one, each with a name of its own",
        )
        for name in self.timing.experiments or ():
            _require(name in names, f"[timing] experiments names {name!r}", nearest(name, names))
        for experiment in self.experiment:
            for group in (*experiment.factorial, *(group for one in experiment.combinations for group in one)):
                _require(
                    group in self.groups,
                    f"experiment {experiment.name!r} names the group {group!r}",
                    nearest(group, self.groups),
                )

    @property
    def timed_experiments(self) -> tuple[str, ...]:
        """Names of the experiments whose every variant is timed."""
        if self.timing.experiments is not None:
            return self.timing.experiments
        return tuple(one.name for one in self.experiment if one.targets == Targets.ALL)

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
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except FileNotFoundError as error:
        raise UsageError(f"there is no study file {path}", f"write one, or name one of {_names()}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the study file {path} cannot be read: {error}", "see models/ for examples") from error
    version = table.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{path}: schema_version is {version!r}, this precbench reads {SCHEMA_VERSION}",
            "use the precbench that it was written for"
            if isinstance(version, int) and version > SCHEMA_VERSION
            else "see models/ for examples: since version 2 each experiment is a table of its own, [[experiment]]",
        )
    try:
        return typing.cast(Study, _read(Study, table, ""))
    except _AtKeyError as error:
        line = line_of(text, error.key)
        where = f"{path}" if line is None else f"{path}, line {line}"
        raise UsageError(f"{where}: {error.problem}", error.remedy) from error
    except UsageError as error:
        raise UsageError(f"{path}: {error.problem}", error.remedy) from error


def study_from_json(value: Any) -> Study:
    """Return the study that `Study.to_json` gave.

    Raises:
        UsageError: it is none, or of another version.
    """
    study = _read(Study, _without_none(value), "")
    _require(study.schema_version == SCHEMA_VERSION, f"schema_version is {study.schema_version}", "run the study again")
    return typing.cast(Study, study)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list | tuple) else value


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


def _check_name(name: str, what: str, why: str) -> None:
    _require(
        name.replace("-", "").replace("_", "").replace(".", "").isalnum() and name[0] != ".",
        f"{what} is {name!r}",
        f"use letters, digits, '-', '_' and '.': {why}",
    )


class _AtKeyError(UsageError):
    """A problem with one key of the file, such as `experiment[2].decimals`."""

    def __init__(self, key: str, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.key = key


def line_of(text: str, key: str) -> int | None:
    """Return the line, from 1, on which a key of a TOML text is set; that of its table where it is not found.

    The standard library's parser does not say; this finds keys written as `key = …` below `[table]` or `[[table]]`.

    Args:
        text: that could be parsed.
        key: such as `timing.budget_s` or `experiment[2].decimals`; what follows an element of a list is left out.
    """
    head, _, rest = key.partition(".")
    table, index = re.fullmatch(r"([^\[]*)(?:\[(\d+)\])?.*", head).groups()  # type: ignore[union-attr]
    leaf = re.split(r"[.\[]", rest)[0] if rest else table
    wanted, inside, seen, line_of_table = int(index or 0), not rest, -1, None
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line)
        if header and "=" not in line.split("]")[0]:
            seen += header[1] == table
            inside = header[1] == table and seen == wanted if rest else header[1] == leaf
            if inside and line_of_table is None:
                line_of_table = number
            if inside and not rest:
                return number
        elif inside and re.match(rf"\s*[\"']?{re.escape(leaf)}[\"']?\s*[.=]", line):
            return number
    return line_of_table


def _read(kind: Any, value: Any, where: str) -> Any:
    """Turn a TOML value into the annotated type, refusing unknown keys and other types."""
    if dataclasses.is_dataclass(kind):
        return _read_table(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:  # TOML has no null: a key that may be None is left out
        return _read(arguments[0], value, where)
    if origin is Mapping and isinstance(value, dict):
        return {k: _read(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin is tuple and isinstance(value, list):
        return tuple(_read(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise _AtKeyError(where, f"{where} is {value}", "give a finite number")
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise _AtKeyError(where, f"{where} is {value!r}, of type {type(value).__name__}", f"give {_type_name(kind)}")


def _read_table(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _AtKeyError(where, f"{where} is {value!r}, not a table", f"write it as [{where}]")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in value:
        if key not in fields:
            raise _AtKeyError(_join(where, key), f"unknown key {_join(where, key)!r}", nearest(key, fields))
    read = {key: _read(hints[key], item, _join(where, key)) for key, item in value.items()}
    for name, field in fields.items():
        if name not in value and field.default is field.default_factory is dataclasses.MISSING:
            raise _AtKeyError(where, f"the key {_join(where, name)!r} is missing", f"add it: {_type_name(hints[name])}")
    try:
        return kind(**read)
    except _AtKeyError:
        raise
    except UsageError as error:  # a value out of range: its key is among these
        key = next((key for key in read if re.search(rf"\b{re.escape(key)}\b", error.problem)), None)
        raise _AtKeyError(_join(where, key) if key else where, error.problem, error.remedy) from error


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _type_name(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text in quotes", bool: "true or false"}
    return names.get(
        kind, "a table" if dataclasses.is_dataclass(kind) or typing.get_origin(kind) is Mapping else "a list"
    )
