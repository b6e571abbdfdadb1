"""Repeat a recorded benchmark exactly as it was carried out: same models, inputs, orders, processes and blocks."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from precbench.bench.arms import line_up
from precbench.bench.benchmark import PROTOCOL, Benchmark, TimingOptions, benchmark
from precbench.bench.gate import model_digest
from precbench.bench.inputs import BatchInputs, bench_inputs
from precbench.bench.records import read_json_record
from precbench.errors import DataError, PrecbenchError
from precbench.progress import SILENT, Progress
from precbench.runtime import SessionSettings
from precbench.timing.schedule import ProcessPlan

_Kind = TypeVar("_Kind")
_NOT_AS_EXPECTED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
_REMEDY = "name a record that `precbench bench` wrote, in the folder that it was run in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a record says of how it was made."""

    base: Path
    variants: tuple[Path, ...]
    settings: SessionSettings
    options: TimingOptions
    recipes: tuple[Mapping[str, Any], ...]
    plans: tuple[tuple[ProcessPlan, ...], ...]
    digests: Mapping[str, str]


def repeat(path: Path, *, progress: Progress = SILENT) -> Benchmark:
    """Repeat what a record says, block for block; nothing stops it early, and its budget does not matter.

    Warm-up goes on until a steady state is seen this time.

    Raises:
        DataError: the file is no record, or a model or an input file is another than then.
        UsageError, ModelError, ProviderError: as `benchmark`.
    """
    recorded = read_recorded(path)
    _check_digests(recorded)
    inputs = [_inputs(path, recorded, recipe) for recipe in recorded.recipes]
    return benchmark(
        recorded.base,
        recorded.variants,
        settings=recorded.settings,
        inputs=inputs,
        options=recorded.options,
        plans=recorded.plans,
        progress=progress,
    )


def read_recorded(path: Path) -> Recorded:
    """Read how a record was made.

    Raises:
        DataError: it is no such record.
    """
    record = read_json_record(path)
    if record.get("protocol") != PROTOCOL:
        raise DataError(f"{path} was not measured in blocks: there is no plan to repeat", "repeat its command")
    try:
        asked = record["asked"]
        recorded = Recorded(
            base=Path(asked["base"]),
            variants=tuple(Path(variant) for variant in asked["variants"]),
            settings=_built(SessionSettings, asked["session"]),
            options=_built(TimingOptions, record["settings"]),
            recipes=tuple(dict(measurement["inputs"]) for measurement in record["measurements"]),
            plans=tuple(
                tuple(ProcessPlan.from_json(plan) for plan in measurement["plan"])
                for measurement in record["measurements"]
            ),
            digests={str(model["path"]): str(model["digest"]) for model in record["models"].values()},
        )
        _check(recorded)
    except PrecbenchError as error:
        raise DataError(f"{path} cannot be repeated: {error.problem}", _REMEDY) from error
    except _NOT_AS_EXPECTED as error:
        raise _damaged(path, error) from error
    return recorded


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} does not say how it was made ({type(error).__name__}: {error})", _REMEDY)


def _built(kind: type[_Kind], value: Mapping[str, Any]) -> _Kind:
    """Build settings from a record's values, each of the type that the field has."""
    hints = typing.get_type_hints(kind)
    for name, item in value.items():
        origin = typing.get_origin(hints[name])
        wanted = str if origin is typing.Literal else Mapping if origin is Mapping else hints[name]
        if not isinstance(item, wanted):
            raise TypeError(f"{name} is {item!r}")
    return kind(**value)


def _check(recorded: Recorded) -> None:
    """Refuse a record whose parts do not belong together."""
    paths = recorded.base, *recorded.variants
    unknown = [str(path) for path in paths if str(path) not in recorded.digests]
    if unknown:
        raise DataError(f"it has no digest of {unknown[0]}", _REMEDY)
    groups = line_up(recorded.base, recorded.variants, denormals_off=recorded.options.denormals_off).groups
    for plans in recorded.plans:
        if {plan.arms for plan in plans} != set(groups):
            raise DataError("its plan times other sessions than its models give", _REMEDY)
        if any(plan.blocks is None or plan.calls is None for plan in plans):
            raise DataError("its plan does not say how many blocks and calls to make", _REMEDY)
    if not recorded.plans:
        raise DataError("nothing was measured", _REMEDY)


def _inputs(path: Path, recorded: Recorded, recipe: Mapping[str, Any]) -> BatchInputs:
    try:
        return _made_again(recorded, recipe)
    except _NOT_AS_EXPECTED as error:
        raise _damaged(path, error) from error


def _made_again(recorded: Recorded, recipe: Mapping[str, Any]) -> BatchInputs:
    if recipe.get("kind") == "file":
        feeds, found = bench_inputs(recorded.base, recorded.settings, file=Path(str(recipe["path"])))
        if found["digest"] != recipe["digest"]:
            raise DataError(f"{recipe['path']} is another file than the recorded one", "measure anew")
        return BatchInputs.of(feeds, recipe)
    if recipe.get("kind") != "seeded":
        raise DataError("the record's inputs cannot be made again from it", "repeat the command that made it")
    shapes = {name: tuple(one["shape"]) for name, one in recipe["inputs"].items()}
    feeds, _ = bench_inputs(
        recorded.base, recorded.settings, seed=int(recipe["seed"]), batch=int(recipe["batch"]), shapes=shapes
    )
    return BatchInputs.of(feeds, recipe)


def _check_digests(recorded: Recorded) -> None:
    for path, digest in recorded.digests.items():
        if model_digest(Path(path)) != digest:
            raise DataError(
                f"{path} is another model than the recorded one", "measure anew, or bring the model back that it was"
            )
