"""Repeat a recorded benchmark exactly as it was carried out: same models, inputs, orders, processes and blocks."""

import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from precbench.bench.arms import line_up
from precbench.bench.benchmark import PROTOCOL, Benchmark, Repetition, benchmark
from precbench.bench.gate import model_digest
from precbench.bench.inputs import BatchInputs, bench_inputs
from precbench.bench.options import TimingOptions
from precbench.bench.records import read_json_record
from precbench.errors import DataError, PrecbenchError
from precbench.progress import SILENT, Progress
from precbench.runtime import SessionSettings
from precbench.timing.schedule import ProcessPlan

_Kind = TypeVar("_Kind")
_NOT_AS_EXPECTED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
_HARMLESS_OPTIONS = frozenset(
    {"device_id", "gpu_mem_limit", "arena_extend_strategy", "use_tf32", "prefer_nhwc", "fuse_conv_bias", "sdpa_kernel"}
    | {"cudnn_conv_algo_search", "cudnn_conv_use_max_workspace", "cudnn_conv1d_pad_to_nc1d"}
    | {"do_copy_in_default_stream", "enable_cuda_graph", "enable_skip_layer_norm_strict_mode"}
    | {"trt_fp16_enable", "trt_bf16_enable", "trt_int8_enable", "trt_sparsity_enable", "trt_layer_norm_fp32_fallback"}
    | {"trt_builder_optimization_level", "trt_build_heuristics_enable", "trt_force_sequential_engine_build"}
    | {"trt_max_workspace_size", "trt_max_partition_iterations", "trt_min_subgraph_size", "trt_auxiliary_streams"}
    | {"trt_context_memory_sharing_enable", "trt_cuda_graph_enable", "trt_dla_enable", "trt_dla_core"}
)
"""Provider options that are taken from a record: numbers and switches. The others load libraries
(trt_extra_plugin_lib_paths, trt_engine_decryption_lib_path), are addresses in memory (user_compute_stream,
gpu_external_alloc), or read and write files (trt_engine_cache_…, trt_timing_cache_…, trt_dump_…, trt_ep_context_…)."""
_PLAIN = re.compile(r"-?[A-Za-z0-9_]{1,32}")
_REMEDY = "name a record that `precbench bench` wrote, in the folder that it was run in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a record says of how it was made."""

    base: Path
    variants: tuple[Path, ...]
    settings: SessionSettings
    options: TimingOptions
    recipes: tuple[Mapping[str, Any], ...]
    repetitions: tuple[Repetition, ...]
    digests: Mapping[str, str]


def repeat(path: Path, *, keep: Callable[[Benchmark], None] | None = None, progress: Progress = SILENT) -> Benchmark:
    """Repeat what a record says, block for block; nothing stops it early, and its budget does not matter.

    Warm-up goes on until a steady state is seen this time.

    Args:
        path: of the record.
        keep: as for `benchmark`.

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
        repetitions=recorded.repetitions,
        keep=keep,
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
            repetitions=tuple(_repetition(measurement) for measurement in record["measurements"]),
            digests={str(model["path"]): str(model["digest"]) for model in record["models"].values()},
        )
        _check(recorded)
    except PrecbenchError as error:
        raise DataError(f"{path} cannot be repeated: {error.problem}", _REMEDY) from error
    except _NOT_AS_EXPECTED as error:
        raise _damaged(path, error) from error
    _check_provider_options(path, recorded.settings)
    return recorded


def _repetition(measurement: Mapping[str, Any]) -> Repetition:
    family = measurement["family"]
    if type(family) is not int:
        raise TypeError(f"family is {family!r}")
    return Repetition(plans=tuple(ProcessPlan.from_json(plan) for plan in measurement["plan"]), family=family)


def _check_provider_options(path: Path, settings: SessionSettings) -> None:
    """Refuse what could make the provider load, read or write something: a stranger may have written the record."""
    for name, value in settings.provider_options.items():
        if name not in _HARMLESS_OPTIONS or not _PLAIN.fullmatch(value):
            raise DataError(
                f"{path} sets the provider option {name} to {value!r}, which a replay takes from no record",
                f"if you trust it, run the command yourself, with --ep-option {name}=VALUE",
            )


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
    line = line_up(recorded.base, recorded.variants, denormals_off=recorded.options.denormals_off)
    for repetition in recorded.repetitions:
        if {plan.arms for plan in repetition.plans} != set(line.groups):
            raise DataError("its plan times other sessions than its models give", _REMEDY)
        if any(plan.blocks is None or plan.calls is None for plan in repetition.plans):
            raise DataError("its plan does not say how many blocks and calls to make", _REMEDY)
        if repetition.family < len(line.comparisons):
            raise DataError(f"its family is {repetition.family}, fewer than the comparisons in it", _REMEDY)
    if not recorded.repetitions:
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
