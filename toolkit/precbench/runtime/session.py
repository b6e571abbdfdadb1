"""A session that runs where it was asked to, or is not made."""

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import MissingDependencyError, ModelError, ProviderError, UsageError
from precbench.runtime.binding import BoundRun, DeviceRun, HostRun
from precbench.runtime.clocks import CLOCK_MEANINGS, TimedClock, check_clock
from precbench.runtime.failures import is_about_the_model, load_error, onnxruntime_errors, run_error
from precbench.runtime.noise import captured_noise
from precbench.runtime.placement import (
    PlacedNode,
    check_placement,
    count_by_provider,
    count_memcpy,
    placed_nodes,
)
from precbench.runtime.providers import check_listed, import_onnxruntime, preload_cuda, provider_failure
from precbench.runtime.settings import AUTO, PROVIDERS, SessionSettings
from precbench.runtime.tensors import TensorSpec, check_feeds, spec_from

AUTO_ORDER = ("cuda", "cpu")
"""What "auto" tries. TensorRT is left out: it compiles for minutes and chooses its own precision (TF32)."""

_LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_WARNING, _FATAL = 2, 4
_NO_GRAPH = "-1"
_graph_ids = itertools.count(1)  # 0 is ONNX Runtime's own; one id never stands for two sets of buffers
_MODES = {"sequential": "ORT_SEQUENTIAL", "parallel": "ORT_PARALLEL"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Session:
    """A model ready to run, with what is known of how it runs.

    Args:
        model: its file.
        settings: as asked for.
        provider: short name of the provider that runs it.
        inputs: declared inputs, in the model's order.
        outputs: declared outputs, in the model's order.
        placement: ONNX Runtime's provider name -> number of nodes it runs, after ONNX Runtime's own folding.
        cpu_shape_nodes: shape computations that ONNX Runtime put on the CPU beside a GPU.
        memcpy_nodes: copies between devices that it added; None where it said nothing of them.
        passed_over: with "auto", the providers that came first and why they could not be used.
    """

    model: Path
    settings: SessionSettings
    provider: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    placement: Mapping[str, int]
    cpu_shape_nodes: tuple[PlacedNode, ...] = ()
    memcpy_nodes: int | None = None
    passed_over: Mapping[str, str] = field(default_factory=dict)
    _session: Any = field(repr=False)
    _errors: tuple[type[Exception], ...] = field(repr=False)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the model once.

        Args:
            feeds: one array per input, of the declared type and a shape that fits.

        Returns:
            Output name -> array, in the model's order.

        Raises:
            DataError: the feeds do not fit the inputs.
            ModelError: ONNX Runtime refuses or fails.
            ProviderError: memory ran out.
        """
        check_feeds(feeds, self.inputs)
        names = [spec.name for spec in self.outputs]
        try:
            values = self._session.run(
                names, {name: np.asarray(array) for name, array in feeds.items()}, run_options(self.settings)
            )
        except self._errors as error:
            raise run_error(self.model, str(error)) from error
        return dict(zip(names, values, strict=True))

    def bind(self, feeds: Mapping[str, NDArray[Any]], *, clock: TimedClock = "end-to-end") -> BoundRun:
        """Return one timed call: the same feeds and buffers each time, done when it returns.

        Args:
            feeds: as for `run`.
            clock: what the call spans. "end-to-end": arrays on the host in and out; on a GPU that includes the copies
                both ways and the waits. "device": the feeds are copied to the GPU once, the outputs stay there, the
                call waits for it. "cuda-graph": as "device", replaying the captured kernels as one; needs settings
                made with `SessionSettings.for_clock`, and calls from the thread that binds. Read the outputs right
                after the call: a replay may write over what another call of the same session left on the device.

        Raises:
            UsageError: the provider has not the clock, or the session was made without CUDA graphs.
            DataError: the feeds do not fit the inputs.
            ModelError: ONNX Runtime refuses or fails.
        """
        self._check_clock(clock)
        check_feeds(feeds, self.inputs)
        names, options = [spec.name for spec in self.outputs], run_options(self.settings)
        if clock == "end-to-end":
            return HostRun(self.model, self._session, feeds, names, options=options)
        graph = run_options(self.settings, graph_id=str(next(_graph_ids))) if clock == "cuda-graph" else None
        device_id = int(self.settings.options_for(self.provider)["device_id"])
        return DeviceRun(
            self.model,
            self._session,
            feeds,
            names,
            device="cuda",
            device_id=device_id,
            options=options,
            graph_options=graph,
        )

    def end_profiling(self) -> Path:
        """Stop ONNX Runtime's profiler of a session opened with a `profile_prefix`, and return the file it wrote."""
        return Path(self._session.end_profiling())

    def record(self, *, clock: TimedClock = "end-to-end") -> dict[str, Any]:
        """Return what a result must be read with: provider, options, threads, placement, versions. Strict JSON.

        Args:
            clock: that the calls were timed with, see `bind`.

        Raises:
            UsageError: no call of this session can have been timed so.
        """
        self._check_clock(clock)
        effective = self._session.get_provider_options().get(PROVIDERS[self.provider], {})
        return {
            **self.settings.to_json(),
            "requested_provider": self.settings.provider,
            "provider": self.provider,
            "provider_options": self.settings.options_for(self.provider),
            "effective_provider_options": dict(sorted(effective.items())),
            "tf32": tf32_state(self.provider, effective, os.environ.get("NVIDIA_TF32_OVERRIDE")),
            "passed_over": dict(self.passed_over),
            "placement": dict(self.placement),
            "cpu_shape_nodes": [f"{node.op_type} {node.name}".strip() for node in self.cpu_shape_nodes],
            "memcpy_nodes": self.memcpy_nodes,
            "clock": clock,
            "timed_call": CLOCK_MEANINGS[clock],
            "onnxruntime": import_onnxruntime().__version__,
        }

    def _check_clock(self, clock: TimedClock) -> None:
        check_clock(clock, self.provider)
        if clock == "cuda-graph" and not self.settings.captures_cuda_graphs:
            raise UsageError(
                "the session was made without CUDA graphs",
                "open it with settings.for_clock('cuda-graph'), or use --clock device",
            )


def open_session(model: Path, settings: SessionSettings, *, profile_prefix: Path | None = None) -> Session:
    """Make a session of a model; it runs on the provider asked for or is not made.

    After it is made every node's placement is read back (see `placement`), so that a silent fallback is an error.
    What ONNX Runtime writes to the terminal meanwhile is kept off it and used as the reason.

    Args:
        model: an ONNX file.
        settings: all that it is made with.
        profile_prefix: how the files begin that ONNX Runtime's profiler writes (see `profiling`); None: no profiler,
            which costs time in every run.

    Raises:
        ModelError: the file is missing, empty, damaged, too new, or uses operators that ONNX Runtime has not.
        ProviderError: the provider cannot be used here, or does not run the whole model.
        MissingDependencyError: onnxruntime is missing or too old.
    """
    _check_file(model)
    if settings.provider != AUTO:
        return _open_on(settings.provider, model, settings, {}, profile_prefix)
    passed_over: dict[str, str] = {}
    for provider in AUTO_ORDER[:-1]:
        try:
            return _open_on(provider, model, settings, passed_over, profile_prefix)
        except ProviderError as error:
            passed_over[provider] = error.problem
    return _open_on(AUTO_ORDER[-1], model, settings, passed_over, profile_prefix)


def tf32_state(provider: str, effective: Mapping[str, str], override: str | None) -> str:
    """Return "off", "allowed" or "no GPU": whether float32 products may lose 13 of their 23 mantissa bits.

    Args:
        provider: short name.
        effective: the provider's options as ONNX Runtime reports them.
        override: the environment's NVIDIA_TF32_OVERRIDE; "0" switches TF32 off in all of NVIDIA's libraries.
    """
    if provider == "cpu":
        return "no GPU"
    if override == "0" or (provider == "cuda" and effective.get("use_tf32") == "0"):
        return "off"
    return "allowed"


def _open_on(
    provider: str, model: Path, settings: SessionSettings, passed_over: Mapping[str, str], profile_prefix: Path | None
) -> Session:
    check_listed(provider)
    noise = preload_cuda() if provider != "cpu" else ""
    made, more = _make(provider, model, settings, profile_prefix)
    noise += more
    if PROVIDERS[provider] not in made.get_providers():
        raise provider_failure(provider, noise)
    nodes = placed_nodes(made)
    return Session(
        model=model,
        settings=settings,
        provider=provider,
        inputs=tuple(spec_from(i.name, i.type, i.shape, what="input") for i in made.get_inputs()),
        outputs=tuple(spec_from(o.name, o.type, o.shape, what="output") for o in made.get_outputs()),
        placement=count_by_provider(nodes),
        cpu_shape_nodes=check_placement(provider, nodes, model),
        memcpy_nodes=count_memcpy(noise),
        passed_over=passed_over,
        _session=made,
        _errors=onnxruntime_errors(),
    )


def _make(provider: str, model: Path, settings: SessionSettings, profile_prefix: Path | None) -> tuple[Any, str]:
    runtime, options = import_onnxruntime(), session_options(settings)
    if profile_prefix is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile_prefix)
    providers = [(PROVIDERS[provider], settings.options_for(provider))]
    failure: Exception | None = None
    with captured_noise() as noise:
        try:
            made = runtime.InferenceSession(
                str(model), options, providers=providers, enable_fallback=0, read_config_from_model=0
            )
        except onnxruntime_errors() as error:
            failure = error
    if failure is None:
        return made, noise.text
    if provider == "cpu" or is_about_the_model(str(failure)):
        raise load_error(model, str(failure)) from failure
    raise provider_failure(provider, f"{noise.text}\n{failure}") from failure


def session_options(settings: SessionSettings) -> Any:
    """Return onnxruntime.SessionOptions with every setting made explicit."""
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = settings.intra_op_threads
    options.inter_op_num_threads = settings.inter_op_threads
    options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, _LEVELS[settings.optimization_level])
    options.execution_mode = getattr(runtime.ExecutionMode, _MODES[settings.execution_mode])
    options.log_severity_level = settings.log_severity
    spinning = str(int(settings.allow_spinning))
    options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    options.add_session_config_entry("session.inter_op.allow_spinning", spinning)
    options.add_session_config_entry("session.force_spinning_stop", str(int(settings.force_spinning_stop)))
    options.add_session_config_entry("session.set_denormal_as_zero", str(int(settings.denormals_as_zero)))
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if not hasattr(runtime.InferenceSession, "get_provider_graph_assignment_info"):
        raise MissingDependencyError(
            f"onnxruntime {runtime.__version__} cannot say which provider runs which node",
            "pip install --upgrade the onnxruntime package to 1.24 or later",
        )
    return options


def run_options(settings: SessionSettings, *, graph_id: str = _NO_GRAPH) -> Any:
    """Return onnxruntime.RunOptions that log nothing: a failing run raises, and would else print its reason as well.

    Args:
        settings: that the session was made with.
        graph_id: of the CUDA graph to capture and replay, where the session can; "-1" for a run without. A plain run
            needs that: its buffers are others each time, and a replay would write into old ones.

    Source: ONNX Runtime's onnxruntime_run_options_config_keys.h (gpu_graph_id).
    """
    options = import_onnxruntime().RunOptions()
    options.log_severity_level = _FATAL if settings.log_severity >= _WARNING else settings.log_severity
    if settings.captures_cuda_graphs:
        options.add_run_config_entry("gpu_graph_id", graph_id)
    return options


def _check_file(model: Path) -> None:
    if model.is_dir():
        raise ModelError(f"{model} is a directory, not an ONNX file", "name the .onnx file in it")
    if not model.exists():
        raise ModelError(f"there is no model {model}", "check the path")
    if not os.access(model, os.R_OK):
        raise ModelError(f"the model {model} cannot be read", "check its permissions")
    if model.stat().st_size == 0:
        raise ModelError(f"the model {model} is empty", "export or download it again")
