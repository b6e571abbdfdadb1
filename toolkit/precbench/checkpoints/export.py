"""Keras model → ONNX model whose initializers are the Keras variables, bit for bit, under their Keras names.

The steps: trace (variables as inputs), tag (running numbers in place of values), convert (tf2onnx), tidy (values and
names put back, each layout read off the tags), describe (metadata). Each is a module beside this one.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from precbench import __version__
from precbench.checkpoints.checking import ERROR_LIMIT, ExportCheck, check_export, seeded_check_inputs
from precbench.checkpoints.cleanup import tidy
from precbench.checkpoints.conversion import convert
from precbench.checkpoints.tags import tag_variables
from precbench.checkpoints.tracing import trace_model
from precbench.checkpoints.variables import NamedVariable, named_variables
from precbench.errors import ModelError
from precbench.files import write_atomically
from precbench.graph.metadata import InitializerOrigin, ModelMetadata, assign_groups, write_metadata

__all__ = [
    "ERROR_LIMIT",
    "ExportCheck",
    "check_export",
    "export_model",
    "export_to_file",
    "seeded_check_inputs",
    "unused_variables",
]

MAX_WEIGHT_BYTES = 2_000_000_000  # protobuf ends at 2**31 - 1 bytes for the whole file


def export_model(
    model: Any,
    *,
    source: Mapping[str, str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    class_names: Sequence[str] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
) -> onnx.ModelProto:
    """Return the inference graph of a Keras model as ONNX, with precbench's metadata.

    The laws: every variable that inference uses is one initializer, named by its Keras path; transposing the Keras
    array by the recorded permutation and reshaping it gives the initializer bit for bit; a batch normalisation is one
    node and nothing is folded into a kernel. The Keras model is not changed. Preprocessing is recorded, not built in.

    Args:
        model: a built Keras model with declared inputs, float32.
        source: file name to digest (`sha256:…`) of what the model was loaded from.
        preprocessing: `datasets.Preprocessing.to_json()`; None where it is not known.
        class_names: in the order of the outputs.
        groups: group name to globs over the initializers' names.

    Raises:
        ModelError: the model cannot be exported: no declared inputs, not float32, more than 2 GB of weights, or
            operations that ONNX does not have.
        TargetError: a group's pattern matches no initializer, or two groups claim one.
        MissingDependencyError: TensorFlow or tf2onnx is not installed.
    """
    variables = named_variables(model)
    _check_size(variables)
    _check_finite(variables)
    trace = trace_model(model)
    tags = tag_variables([variable.shape for variable in variables])
    exported, permutations = tidy(convert(trace, tags), trace, tags, variables)
    exported.graph.name = model.name
    exported.producer_name, exported.producer_version = "precbench", __version__
    write_metadata(
        exported,
        ModelMetadata(
            versions=_versions(),
            source=dict(source or {}),
            preprocessing=preprocessing,
            class_names=tuple(class_names),
            groups={group: tuple(patterns) for group, patterns in (groups or {}).items()},
            initializers=_origins(variables, permutations, groups or {}),
        ),
    )
    return exported


def export_to_file(
    model: Any,
    path: Path,
    *,
    check_inputs: Mapping[str, NDArray[Any]] | NDArray[Any] | None = None,
    source: Mapping[str, str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    class_names: Sequence[str] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
) -> ExportCheck:
    """Export to a file that is only there when it computes what Keras computes.

    The model is written beside `path`, checked there by `onnx.checker` and against Keras, and renamed when it passed.

    Args:
        model: a built Keras model.
        path: where the ONNX file goes; what is there is replaced.
        check_inputs: as `check_export` takes them; None: eight seeded ones.
        source: see `export_model`, as for the others.
        preprocessing: recorded in the metadata.
        class_names: recorded in the metadata.
        groups: recorded in the metadata.

    Raises:
        ModelError: as `export_model`, or the exported model does not match Keras; nothing is left then.
        OutputError: the file cannot be written.
    """
    exported = export_model(model, source=source, preprocessing=preprocessing, class_names=class_names, groups=groups)
    inputs = seeded_check_inputs(model) if check_inputs is None else check_inputs
    checks: list[ExportCheck] = []

    def write(temporary: Path) -> None:
        onnx.save(exported, temporary)
        checks.append(_checked(model, temporary, inputs))

    write_atomically(path, write)
    check = checks[0]
    return ExportCheck(
        max_error_relative=check.max_error_relative,
        top1_same=check.top1_same,
        images=check.images,
        left_out=unused_variables(model, exported),
    )


def unused_variables(model: Any, exported: onnx.ModelProto) -> tuple[str, ...]:
    """Return the paths of the Keras variables that inference does not use (a dropout's seed), so are not exported."""
    present = {item.name for item in exported.graph.initializer}
    return tuple(variable.path for variable in named_variables(model) if variable.path not in present)


def _checked(model: Any, path: Path, inputs: Mapping[str, NDArray[Any]] | NDArray[Any]) -> ExportCheck:
    onnx.checker.check_model(path, full_check=True)
    check = check_export(model, path, inputs)
    if not check.accepted:
        classes = " and classes change" if check.top1_same is False else ""
        raise ModelError(
            "the exported model does not match Keras: outputs differ by "
            f"{check.max_error_relative:.2g} of the largest (at most {ERROR_LIMIT:g}){classes}",
            "report the model's architecture to precbench; nothing was written",
        )
    return check


def _check_size(variables: Sequence[NamedVariable]) -> None:
    held = sum(4 * int(np.prod(variable.shape, dtype=np.int64)) for variable in variables)
    if held > MAX_WEIGHT_BYTES:
        raise ModelError(
            f"the model holds {held:,} bytes of weights; one ONNX file takes at most {MAX_WEIGHT_BYTES:,}",
            "export a smaller model, or its parts",
        )


def _check_finite(variables: Sequence[NamedVariable]) -> None:
    for variable in variables:
        if variable.dtype.startswith("float"):
            values = variable.values()
            bad = int(values.size - np.count_nonzero(np.isfinite(values)))
            if bad:
                raise ModelError(
                    f"the variable {variable.path!r} holds {bad:,} NaN or infinite values of {values.size:,}",
                    "repair or train the model again; nothing was written",
                )


def _origins(
    variables: Sequence[NamedVariable], permutations: Mapping[str, tuple[int, ...]], groups: Mapping[str, Sequence[str]]
) -> dict[str, InitializerOrigin]:
    assigned = assign_groups(permutations, groups)
    return {
        variable.path: InitializerOrigin(
            layer=variable.layer,
            variable=variable.variable,
            keras_shape=variable.shape,
            permutation=permutations[variable.path],
            group=assigned[variable.path],
        )
        for variable in variables
        if variable.path in permutations
    }


def _versions() -> dict[str, str]:
    packages = ("keras", "tensorflow", "tf2onnx", "onnx")
    return {"precbench": __version__, **{package: version(package) for package in packages}}
