"""The graph that a session really runs: folded, fused and laid out for this machine by ONNX Runtime."""

from dataclasses import replace
from pathlib import Path

from precbench.runtime.failures import load_error, onnxruntime_errors
from precbench.runtime.noise import captured_noise
from precbench.runtime.providers import import_onnxruntime
from precbench.runtime.session import session_options
from precbench.runtime.settings import AUTO, PROVIDERS, SessionSettings


def save_optimized(model: Path, settings: SessionSettings, output: Path) -> None:
    """Write the graph that a session of a model runs once ONNX Runtime has optimized it, as a model.

    The law: a session of the written model, made with `as_it_is(settings)`, runs the nodes that a session of the model
    made with these settings runs, with the constants that those have: its outputs are the same bit for bit, and so is
    every value inside. The written model is good for this machine and this ONNX Runtime only.

    Args:
        model: an ONNX file.
        settings: of the session, with a provider's name (not "auto").
        output: replaced where it exists.

    Raises:
        ModelError: no session can be made of the model, or its graph cannot be written (over 2 GiB, or a provider
            compiles parts of it).
    """
    if settings.provider == AUTO:
        raise ValueError("the provider that runs the model must be named")
    runtime, options = import_onnxruntime(), session_options(settings)
    options.optimized_model_filepath = str(output)
    providers = [(PROVIDERS[settings.provider], settings.options_for(settings.provider))]
    with captured_noise():  # a warning that the file is for this machine
        try:
            runtime.InferenceSession(
                str(model), options, providers=providers, enable_fallback=0, read_config_from_model=0
            )
        except onnxruntime_errors() as error:
            raise load_error(model, str(error)) from error


def as_it_is(settings: SessionSettings) -> SessionSettings:
    """Return the settings of a session that runs a graph node by node as it is written."""
    return replace(settings, optimization_level="disable")
