"""Export a user's own Keras file: what is recorded of it, and what it is checked on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from precbench.datasets import Preprocessing, load_dataset
from precbench.errors import DataError, UsageError
from precbench.files import check_named, check_not_input, check_output, file_digest
from precbench.progress import SILENT, Progress
from precbench.runtime import read_arrays
from precbench.study.definition import load_study, shipped_groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An exported file, with the check that it passed."""

    source: Mapping[str, str]
    output: Path
    groups_from: str | None
    check: Any

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return {
            "source": dict(self.source),
            "output": str(self.output),
            "groups_from": self.groups_from,
            "check": asdict(self.check),
        }


def export_file(
    model: Path,
    weights: Path | None = None,
    output: Path | None = None,
    *,
    preprocess: str | None = None,
    class_names: tuple[str, ...] = (),
    groups: str | None = None,
    check_data: Path | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> Exported:
    """Export a `.keras` file, a Keras `.h5`, or an architecture JSON with its weights H5.

    Args:
        output: `model` with the suffix .onnx where None.
        preprocess: a keras.applications mode, recorded: tf, torch, caffe or none; None: not known.
        class_names: recorded; as many as the model has outputs, or none.
        groups: a study whose groups are recorded; None: the first shipped study whose every pattern matches.
        check_data: an .npz with uint8 `images` (needs `preprocess`) or one array per input; None: seeded inputs.
        force: replace the output where it exists.

    Raises:
        PrecbenchError: the file cannot be read, cannot be exported, or does not match Keras; nothing is left then.
    """
    check_named(model)
    path = output or model.with_suffix(".onnx")
    check_not_input(path, [model, weights, check_data])
    check_output(path, force=force)
    with progress.track(f"exporting {model.name}", 3) as advance:
        from precbench.checkpoints.export import export_to_file
        from precbench.checkpoints.loading import load_model
        from precbench.checkpoints.variables import named_variables

        keras_model = load_model(model, weights)
        advance(1)
        found = _groups(groups, [variable.path for variable in named_variables(keras_model)])
        preprocessing = None if preprocess is None else Preprocessing.for_mode(preprocess, _image_size(keras_model))
        _check_class_names(class_names, keras_model)
        source = {file.name: file_digest(file) for file in (model, weights) if file is not None}
        check = export_to_file(
            keras_model,
            path,
            check_inputs=None if check_data is None else _check_inputs(check_data, preprocessing),
            source=source,
            preprocessing=None if preprocessing is None else preprocessing.to_json(),
            class_names=class_names,
            groups=None if found is None else found[1],
        )
        advance(2)
    if found is not None:
        progress.note(f"groups of layers as in the study {found[0]}")
    return Exported(source=source, output=path, groups_from=found and found[0], check=check)


def _groups(study: str | None, names: list[str]) -> tuple[str, Mapping[str, tuple[str, ...]]] | None:
    return shipped_groups(names) if study is None else (study, load_study(study).groups)


def _image_size(keras_model: Any) -> tuple[int, int]:
    shapes = [tuple(tensor.shape) for tensor in keras_model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or not all(isinstance(n, int) for n in shapes[0][1:3]):
        raise UsageError(
            f"--preprocess is for one image input of a fixed size; the model's inputs are {shapes}",
            "leave --preprocess out",
        )
    return int(shapes[0][1]), int(shapes[0][2])


def _check_class_names(class_names: tuple[str, ...], keras_model: Any) -> None:
    classes = keras_model.outputs[0].shape[-1]
    if class_names and len(class_names) != classes:
        raise UsageError(
            f"{len(class_names)} class names are given, the model has {classes} outputs",
            "name every class once, in order",
        )


def _check_inputs(path: Path, preprocessing: Preprocessing | None) -> NDArray[Any] | dict[str, NDArray[Any]]:
    arrays = read_arrays(path)
    if "images" not in arrays:
        return {name: array for name, array in arrays.items() if name != "labels"}
    if preprocessing is None:
        raise DataError(
            f"--check-data {path} holds images, and nothing says how they become inputs",
            "add --preprocess tf, torch, caffe or none",
        )
    return preprocessing.apply(load_dataset(f"npz:{path}").images)
