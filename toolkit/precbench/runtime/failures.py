"""ONNX Runtime's exceptions, in words a user can act on."""

import re
from pathlib import Path

from precbench.errors import ModelError, PrecbenchError, ProviderError
from precbench.runtime.providers import gist, import_onnxruntime, is_out_of_memory

_ORT_NAMES = (
    "Fail",
    "InvalidArgument",
    "NoSuchFile",
    "NoModel",
    "EngineError",
    "RuntimeException",
    "InvalidProtobuf",
    "ModelLoaded",
    "NotImplemented",
    "InvalidGraph",
    "EPFail",
    "ModelLoadCanceled",
    "ModelRequiresCompilation",
)
_ABOUT_THE_MODEL = re.compile(
    r"Load model from|External data|External initializer|external data|NOT_IMPLEMENTED|INVALID_GRAPH|INVALID_PROTOBUF"
)

_RULES: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r"Fatal error: (?P<op>\S+?)\(-?\d+\) is not a registered function/op"),
        "it uses the custom operator {op}, which ONNX Runtime does not have",
        "export the model with standard ONNX operators only",
    ),
    (
        re.compile(r'\("[^"]*", (?P<op>\w+), "(?P<domain>[^"]*)", -?\d+\).*No opset import for domain'),
        "it uses the custom operator {domain}:{op} without importing that domain's operator set",
        "export the model with standard ONNX operators only",
    ),
    (
        re.compile(r"No Op registered for (?P<op>\w+) with domain_version of (?P<version>\d+)"),
        "it uses the operator {op}, which opset {version} does not have",
        "export the model again, with the opset its operators belong to",
    ),
    (
        re.compile(r"Unsupported model IR version: (?P<got>\d+), max supported IR version: (?P<most>\d+)"),
        "its IR version is {got}, the installed onnxruntime reads up to {most}",
        "pip install --upgrade the onnxruntime package, or save the model with an older IR version",
    ),
    (
        re.compile(r"Opset (?P<got>\d+) is under development.*for domain (?P<domain>\S+) is till opset (?P<most>\d+)"),
        "its opset {got} of {domain} is newer than what the installed onnxruntime has (up to {most})",
        "pip install --upgrade the onnxruntime package, or export the model with a lower opset",
    ),
    (
        re.compile(r'External data path escapes model directory\. External data path: "(?P<path>[^"]*)"'),
        "its external data {path} is outside the model's folder",
        "put the data beside the model and save it again; do not load models that reach elsewhere",
    ),
    (
        re.compile(
            r"for initializer: (?P<name>\S+?)\. Error:.*External data path does not exist: "
            r'"(?:[^"]*[/\\])?(?P<file>[^"/\\]*)"'
        ),
        "its external data {file} (initializer {name}) is missing",
        "put that file into the model's folder",
    ),
    (
        re.compile(r"External initializer: (?P<name>\S+) .*(?:out of bounds|can not be read)"),
        "its external data ends before the initializer {name} is complete",
        "copy the data file again, it is shorter than the model says",
    ),
    (
        re.compile(r"Node input '(?P<name>[^']*)' is not a graph input, initializer, or output of a previous node"),
        "a node reads '{name}', which no earlier node makes",
        "export the model again: nodes are missing, or not in topological order",
    ),
    (
        re.compile(r"graph is not acyclic"),
        "its nodes depend on each other in a circle, so they have no topological order",
        "export the model again",
    ),
    (
        re.compile(r"Could not find an implementation for (?P<op>\w+)\((?P<version>\d+)\)"),
        "ONNX Runtime has no implementation of {op} (opset {version}) for its types here",
        "use another provider, or export the model in float32",
    ),
    (re.compile(r"Type Error: (?P<what>.+?)\.?$"), "its types do not agree: {what}", "export the model again"),
    (
        re.compile(r"No graph was found in the protobuf|Protobuf parsing failed"),
        "it is no ONNX model, or a truncated one",
        "export or download it again",
    ),
)


def onnxruntime_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that ONNX Runtime raises (its own derive from Exception alone)."""
    state = import_onnxruntime().capi.onnxruntime_pybind11_state
    found = [getattr(state, name) for name in _ORT_NAMES if hasattr(state, name)]
    return (*found, RuntimeError, ValueError, MemoryError)


def is_about_the_model(message: str) -> bool:
    """Whether a failure to make a session comes from the model, and would on any provider."""
    return _ABOUT_THE_MODEL.search(message) is not None


def load_error(model: Path, message: str) -> ModelError:
    """Return the error for a model that no session can be made of.

    Args:
        model: its file.
        message: of ONNX Runtime's exception.
    """
    text = " ".join(message.split())
    for pattern, problem, remedy in _RULES:
        if found := pattern.search(text):
            return ModelError(f"{model} cannot be loaded: {problem.format(**found.groupdict())}", remedy)
    if is_out_of_memory(text):
        return ModelError(f"{model} cannot be loaded: memory ran out", "free memory, or use a smaller model")
    return ModelError(f"{model} cannot be loaded: {_without_path(gist(text))}", "export the model again")


def run_error(model: Path, message: str) -> PrecbenchError:
    """Return the error for a run that failed after its inputs were found to fit.

    Args:
        model: its file.
        message: of ONNX Runtime's exception.
    """
    text = " ".join(message.split())
    if is_out_of_memory(text):
        return ProviderError(f"{model} ran out of memory", "use a smaller batch")
    found = re.search(r"while running (?P<op>\w+) node\. Name:'(?P<name>[^']*)' Status Message: (?P<why>.*)", text)
    why = f"{found['op']} {found['name']!r}: {gist(found['why'])}" if found else gist(text)
    return ModelError(
        f"{model} fails while it runs, in {why}" if found else f"{model} fails while it runs: {why}",
        "check the inputs: their shapes (--shape) and their values (--input) have to suit it; or export it again",
    )


def _without_path(text: str) -> str:
    return re.sub(r"^Load model from .*? failed:\s*", "", text)
