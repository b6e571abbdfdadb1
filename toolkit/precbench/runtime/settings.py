"""What a session is made with, all of it explicit: nothing is left to a default that a record would not show."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from precbench.errors import UsageError
from precbench.nearest import nearest
from precbench.runtime.clocks import TimedClock, check_clock

PROVIDERS: Mapping[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""Short name -> ONNX Runtime's name."""

AUTO = "auto"
OPTIMIZATION_LEVELS = ("disable", "basic", "extended", "all")
EXECUTION_MODES = ("sequential", "parallel")
MAX_THREADS = 1024
CUDA_GRAPH = "enable_cuda_graph"

# As onnxruntime 1.31 parses them. HEURISTIC: EXHAUSTIVE times the convolution algorithms at the first run of every
# session, so that two sessions of one model can end up with different ones: no fair pair.
PROVIDER_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "cpu": {},
    "cuda": {"device_id": "0", "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},
    "tensorrt": {"device_id": "0"},
}
_CUDA_OPTIONS = (
    "device_id",
    "has_user_compute_stream",
    "user_compute_stream",
    "gpu_mem_limit",
    "arena_extend_strategy",
    "cudnn_conv_algo_search",
    "cudnn_conv_use_max_workspace",
    "cudnn_conv1d_pad_to_nc1d",
    "do_copy_in_default_stream",
    "enable_cuda_graph",
    "enable_cudnn",
    "enable_skip_layer_norm_strict_mode",
    "fuse_conv_bias",
    "gpu_external_alloc",
    "gpu_external_empty_cache",
    "gpu_external_free",
    "prefer_nhwc",
    "sdpa_kernel",
    "tunable_op_enable",
    "tunable_op_max_tuning_duration_ms",
    "tunable_op_tuning_enable",
    "use_ep_level_unified_stream",
    "use_tf32",
)
_TENSORRT_OPTIONS = (
    "device_id",
    "has_user_compute_stream",
    "user_compute_stream",
    "trt_auxiliary_streams",
    "trt_bf16_enable",
    "trt_build_heuristics_enable",
    "trt_builder_optimization_level",
    "trt_context_memory_sharing_enable",
    "trt_cuda_graph_enable",
    "trt_detailed_build_log",
    "trt_dla_core",
    "trt_dla_enable",
    "trt_dump_ep_context_model",
    "trt_dump_subgraphs",
    "trt_engine_cache_enable",
    "trt_engine_cache_path",
    "trt_engine_cache_prefix",
    "trt_engine_decryption_enable",
    "trt_engine_decryption_lib_path",
    "trt_engine_hw_compatible",
    "trt_ep_context_embed_mode",
    "trt_ep_context_file_path",
    "trt_extra_plugin_lib_paths",
    "trt_force_sequential_engine_build",
    "trt_force_timing_cache",
    "trt_fp16_enable",
    "trt_int8_calibration_table_name",
    "trt_int8_enable",
    "trt_int8_use_native_calibration_table",
    "trt_layer_norm_fp32_fallback",
    "trt_load_user_initializer",
    "trt_max_partition_iterations",
    "trt_max_workspace_size",
    "trt_min_subgraph_size",
    "trt_onnx_model_folder_path",
    "trt_op_types_to_exclude",
    "trt_preview_features",
    "trt_profile_max_shapes",
    "trt_profile_min_shapes",
    "trt_profile_opt_shapes",
    "trt_sparsity_enable",
    "trt_tactic_sources",
    "trt_timing_cache_enable",
    "trt_timing_cache_path",
    "trt_weight_stripped_engine_enable",
)
PROVIDER_OPTIONS: Mapping[str, tuple[str, ...]] = {"cpu": (), "cuda": _CUDA_OPTIONS, "tensorrt": _TENSORRT_OPTIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """How a session is to run. A value that cannot be used cannot be built.

    Args:
        provider: "cpu", "cuda", "tensorrt", or "auto" for CUDA where it works and else the CPU; ONNX Runtime's own
            names ("CUDAExecutionProvider") are taken too and become the short ones.
        provider_options: the provider's own options, laid over `PROVIDER_DEFAULTS`; none with "auto".
        intra_op_threads: threads inside an operator, 1..1024.
        inter_op_threads: threads over operators, 1..1024; matters in "parallel" mode only.
        optimization_level: ONNX Runtime's graph optimizations: "disable", "basic", "extended", "all".
        execution_mode: "sequential" or "parallel".
        allow_spinning: whether intra-op threads spin while they wait for work within a run.
        force_spinning_stop: whether they stop when the run ends. Without it the threads of idle sessions slow down
            every other session of the process (14 ms became 35 with four sessions at two threads).
        denormals_as_zero: flush subnormal floats to zero. The flag of a process's first session governs all its later
            sessions, and NumPy, whatever they ask for: a session with another flag needs a process of its own.
        log_severity: of ONNX Runtime's log, 0 (verbose) to 4 (fatal).

    Raises:
        UsageError: a value is unknown or out of range; the message names the nearest.
    """

    provider: str = "cpu"
    provider_options: Mapping[str, str] = field(default_factory=dict)
    intra_op_threads: int = 1
    inter_op_threads: int = 1
    optimization_level: str = "all"
    execution_mode: str = "sequential"
    allow_spinning: bool = True
    force_spinning_stop: bool = True
    denormals_as_zero: bool = False
    log_severity: int = 2

    def __post_init__(self) -> None:
        """Refuse values that cannot be used."""
        object.__setattr__(self, "provider", _short_provider(self.provider))
        object.__setattr__(self, "provider_options", {str(k): str(v) for k, v in self.provider_options.items()})
        _check_options(self.provider, self.provider_options)
        _check_threads("intra-op", self.intra_op_threads)
        _check_threads("inter-op", self.inter_op_threads)
        _check_choice("optimization level", self.optimization_level, OPTIMIZATION_LEVELS)
        _check_choice("execution mode", self.execution_mode, EXECUTION_MODES)
        if self.log_severity not in range(5):
            raise UsageError(f"the log severity {self.log_severity} is outside 0..4", "give 0 (verbose) to 4 (fatal)")

    def options_for(self, provider: str) -> dict[str, str]:
        """Return the options a provider is made with: the defaults with the user's laid over them."""
        return {**PROVIDER_DEFAULTS[provider], **self.provider_options}

    def for_clock(self, clock: TimedClock) -> "SessionSettings":
        """Return the settings that a session needs whose calls are timed with this clock.

        A CUDA graph must be asked for when the session is made; the other clocks change nothing.

        Raises:
            UsageError: the provider cannot have the clock.
        """
        check_clock(clock, self.provider)
        if clock != "cuda-graph":
            return self
        return replace(self, provider_options={**self.provider_options, CUDA_GRAPH: "1"})

    @property
    def captures_cuda_graphs(self) -> bool:
        """Whether a session made so can capture CUDA graphs."""
        return self.provider_options.get(CUDA_GRAPH, "0").lower() in ("1", "true")

    def to_json(self) -> dict[str, Any]:
        """Return plain values, under the fields' names."""
        return {
            "provider": self.provider,
            "provider_options": dict(self.provider_options),
            "intra_op_threads": self.intra_op_threads,
            "inter_op_threads": self.inter_op_threads,
            "optimization_level": self.optimization_level,
            "execution_mode": self.execution_mode,
            "allow_spinning": self.allow_spinning,
            "force_spinning_stop": self.force_spinning_stop,
            "denormals_as_zero": self.denormals_as_zero,
            "log_severity": self.log_severity,
        }


def _short_provider(name: str) -> str:
    by_full_name = {full.lower(): short for short, full in PROVIDERS.items()}
    lowered = str(name).lower()
    short = by_full_name.get(lowered, lowered)
    if short not in (AUTO, *PROVIDERS):
        raise UsageError(
            f"there is no execution provider {name!r} here",
            f"{nearest(lowered, (AUTO, *PROVIDERS))}; give auto, cpu, cuda or tensorrt",
        )
    return short


def _check_options(provider: str, options: Mapping[str, str]) -> None:
    if not options:
        return
    if provider == AUTO:
        raise UsageError("provider options need a named provider, not auto", "name it, for example with --ep cuda")
    if provider == "cpu":
        raise UsageError(
            f"the cpu provider has no options, {next(iter(options))!r} was given",
            "leave provider options out, or choose another provider with --ep",
        )
    for name in options:
        if name not in PROVIDER_OPTIONS[provider]:
            raise UsageError(
                f"the {provider} provider has no option {name!r}", nearest(name, PROVIDER_OPTIONS[provider])
            )
    if not options.get("device_id", "0").isdecimal():
        raise UsageError(f"the device_id {options['device_id']!r} is no whole number", "give 0 for the first GPU")


def _check_threads(what: str, threads: int) -> None:
    if not 1 <= threads <= MAX_THREADS:
        raise UsageError(
            f"{threads} {what} threads is outside 1..{MAX_THREADS}",
            "give the number itself, from 1 to the cores that you have",
        )


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"there is no {what} {value!r}", f"give one of {', '.join(choices)}")
