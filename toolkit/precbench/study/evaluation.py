"""Evaluate a model: accuracy and confusion where there are labels, fidelity to a reference where there are none."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.accuracy import (
    Accuracy,
    Fidelity,
    Flips,
    accuracy_of,
    check_classes,
    confusion_matrix,
    fidelity,
    flips,
    per_class,
    smallest_margin_points,
    top_classes,
)
from precbench.datasets import DEFAULT_SIZE, Dataset, Preprocessing, load_dataset
from precbench.datasets.sources import is_one_set as source_is_one_set
from precbench.errors import DataError
from precbench.graph import ModelMetadata, OnnxModel, load_model, read_metadata
from precbench.progress import SILENT, Progress
from precbench.runtime import (
    Session,
    TensorSpec,
    fit_inputs,
    fixed_batch,
    input_recipe,
    predict,
    predict_batches,
    read_arrays,
    seeded_inputs,
)
from precbench.runtime.batches import batched_names, rows_of
from precbench.study.definition import Study, load_study, shipped_studies
from precbench.study.material import Material, Places


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationData:
    """What a model is evaluated on.

    Attributes:
        description: where it comes from, recorded.
        images: uint8 RGB images, preprocessed as the model says; or
        inputs: arrays that are fed as they are, one per model input.
        labels: int64 [n], or None.
        class_names: may be empty.
    """

    description: Mapping[str, Any]
    images: NDArray[np.uint8] | None = None
    inputs: Mapping[str, NDArray[Any]] | None = None
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What evaluating one model gave; what does not apply is None.

    Attributes:
        accuracy, confusion: of the model, where there are labels and it is a classifier.
        flips: against the reference, where both classify labelled images.
        fidelity: per output, against the reference.
    """

    data: Mapping[str, Any]
    samples: int
    class_names: tuple[str, ...]
    accuracy: Accuracy | None
    confusion: NDArray[np.int64] | None
    reference_accuracy: Accuracy | None
    flips: Flips | None
    fidelity: Mapping[str, Fidelity] | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON; the confusion matrix has the true classes as rows."""
        return {
            "data": dict(self.data),
            "samples": self.samples,
            "class_names": list(self.class_names),
            "accuracy": self.accuracy and self.accuracy.to_json(),
            "per_class": None if self.confusion is None else [score.to_json() for score in per_class(self.confusion)],
            "confusion": None if self.confusion is None else self.confusion.tolist(),
            "reference_accuracy": self.reference_accuracy and self.reference_accuracy.to_json(),
            "flips": self.flips and self.flips.to_json(),
            "smallest_margin_points": None if self.flips is None else smallest_margin_points(self.samples),
            "fidelity": None if self.fidelity is None else {k: v.to_json() for k, v in self.fidelity.items()},
        }

    def in_short(self) -> dict[str, Any]:
        """Return the figures of `to_json` that are not as many as the classes."""
        long = ("class_names", "per_class", "confusion", "fidelity")
        return {key: value for key, value in self.to_json().items() if key not in long}


def evaluate(
    session: Session,
    data: EvaluationData,
    *,
    reference: Session | None = None,
    preprocessing: Preprocessing | None = None,
    batch: int = 32,
    progress: Progress = SILENT,
) -> Evaluation:
    """Evaluate a model on labelled data, or against a reference, or both.

    Raises:
        DataError: the data does not fit the model, labels lie outside its classes, or there is neither a label nor a
            reference to compare with.
    """
    classifies = is_classifier(session)
    if reference is None and (data.labels is None or not classifies):
        why = "the data has no labels" if classifies else "the model has not one output of scores, one row a sample"
        raise DataError(
            f"there is nothing to compare {session.model} with: {why}", "give the full-precision model with --reference"
        )
    data = with_class_names(data, session.model)
    outputs = run_model(session, data, preprocessing=preprocessing, batch=batch, progress=progress)
    expected = None
    if reference is not None:
        expected = run_model(reference, data, preprocessing=preprocessing, batch=batch, progress=progress)
        _check_same_outputs(session, reference)
    labels, description = data.labels, dict(data.description)
    if labels is not None and not classifies:
        labels, description["labels"] = None, "not used: the model is no classifier"
    return compare(outputs, expected, labels=labels, data=description, class_names=data.class_names)


def compare(
    outputs: Mapping[str, NDArray[Any]],
    expected: Mapping[str, NDArray[Any]] | None,
    *,
    labels: NDArray[np.int64] | None,
    data: Mapping[str, Any],
    class_names: tuple[str, ...] = (),
) -> Evaluation:
    """Turn a model's outputs, and a reference's for the same data, into an evaluation."""
    first = next(iter(outputs.values()))
    close = None if expected is None else {name: fidelity(expected[name], value) for name, value in outputs.items()}
    if labels is None:
        return Evaluation(
            data=data,
            samples=len(first) if first.ndim else 1,
            class_names=class_names,
            accuracy=None,
            confusion=None,
            reference_accuracy=None,
            flips=None,
            fidelity=close,
        )
    classes = first.shape[1]
    truth = check_classes(labels, classes)
    predicted = top_classes(first)
    before = None if expected is None else top_classes(next(iter(expected.values())))
    return Evaluation(
        data=data,
        samples=len(truth),
        class_names=class_names if len(class_names) == classes else tuple(str(i) for i in range(classes)),
        accuracy=accuracy_of(truth, predicted),
        confusion=confusion_matrix(truth, predicted, classes),
        reference_accuracy=None if before is None else accuracy_of(truth, before),
        flips=None if before is None else flips(before, predicted, truth),
        fidelity=close,
    )


def run_model(
    session: Session,
    data: EvaluationData,
    *,
    preprocessing: Preprocessing | None,
    batch: int = 32,
    progress: Progress = SILENT,
) -> dict[str, NDArray[Any]]:
    """Return the model's outputs for all the data; images are preprocessed batch by batch."""
    if data.images is None:
        return predict(session, data.inputs or {}, batch=batch, progress=progress)
    preprocess = preprocessing or model_preprocessing(session)
    images, rows = data.images, fixed_batch(session.inputs) or batch
    batches = (
        image_feeds(session.model, session.inputs, preprocess, images[start : start + rows])
        for start in range(0, len(images), rows)
    )
    return predict_batches(session, batches, rows=len(images), progress=progress)


def image_feeds(
    model: Path, inputs: Sequence[TensorSpec], preprocessing: Preprocessing, images: NDArray[np.uint8]
) -> dict[str, NDArray[Any]]:
    """Return the feeds of a model for some images: preprocessed, in the order of axes that its input has.

    Args:
        model: for messages.
        inputs: of the model.
        preprocessing: from the images to its input.
        images: uint8 [n, height, width, 3].

    Raises:
        DataError: the model does not take one batch of images.
    """
    spec = _image_input(model, inputs)
    return {spec.name: _arrange(preprocessing.apply(images), spec)}


def load_data(
    spec: str | None,
    session: Session,
    *,
    split: str = "test",
    seed: int = 0,
    batch: int = 32,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    directory: Path | None = None,
    on_bad_image: str | None = None,
    progress: Progress = SILENT,
) -> EvaluationData:
    """Find what `--data` means for a model.

    A study's name or file means the split that the study keeps for it; `digits` and `cifar10` that of the shipped
    studies (`directory` is where cifar10 lies); `folder:PATH` is a folder of images, read at the size that the model
    takes, where `on_bad_image` says whether one that cannot be read stops it; an
    .npz with `images` is a labelled set, another .npz holds one array per model input, and labels as `labels`. None
    means inputs drawn from the seed that fit what the model declares.

    Raises:
        DataError: the data cannot be read or does not fit the model.
    """
    if spec is None:
        recipe = input_recipe(session.inputs, seed=seed, batch=batch, shapes=shapes or {})
        inputs = seeded_inputs(session.inputs, seed=seed, batch=batch, shapes=shapes or {})
        return EvaluationData(description=recipe, inputs=inputs)
    study = _study_for(spec)
    if study is not None:
        if on_bad_image is not None:
            study = replace(study, data=replace(study.data, on_bad_image=on_bad_image))
        dataset = Material(study, Places(data=directory), progress).split(split)
        return _from_dataset(dataset, {"source": study.data.source, "split": split, "seed": study.data.seed})
    path = Path(spec.removeprefix("npz:"))
    if path.suffix == ".npz" and path.is_file() and not _has_images(path, session):
        return _from_arrays(path, session)
    if path.suffix == ".npz" and not path.exists():
        raise DataError(f"there is no file {path}", "check the path")
    dataset = load_dataset(
        spec,
        split=split,
        size=max(_image_size(session) or (DEFAULT_SIZE,)) if _takes_images(session) else DEFAULT_SIZE,
        directory=directory,
        on_bad_image=on_bad_image or "stop",
        note=progress.note,
    )
    return _from_dataset(dataset, {"source": spec})


def is_one_set(spec: str, session: Session) -> bool:
    """Whether `load_data` gives the same samples whatever split is asked for."""
    if _study_for(spec) is not None:
        return False
    path = Path(spec.removeprefix("npz:"))
    if path.suffix == ".npz" and path.is_file() and not _has_images(path, session):
        return True
    return source_is_one_set(spec)


def model_preprocessing(session: Session) -> Preprocessing:
    """Return the preprocessing that the model's metadata records.

    Raises:
        DataError: it records none.
    """
    recorded = recorded_preprocessing(session)
    if recorded is None:
        raise DataError(
            f"{session.model} does not say how its images are preprocessed",
            "give --preprocess tf, torch, caffe or none, or feed arrays under the model's input names",
        )
    return recorded


def recorded_preprocessing(session: Session) -> Preprocessing | None:
    """Return the preprocessing that the model's metadata records, if it does."""
    metadata = _metadata(session.model)
    if metadata is None or metadata.preprocessing is None:
        return None
    return Preprocessing.from_json(metadata.preprocessing)


def preprocessing_for(session: Session, mode: str, data: EvaluationData) -> Preprocessing:
    """Return a keras.applications preprocessing mode at the size that the model takes, else the images' own.

    Raises:
        DataError: the mode is unknown, or the model takes no images.
    """
    own = (1, 1) if data.images is None else data.images.shape[1:3]
    height, width = _declared_size(_image_input(session.model, session.inputs).shape)
    return Preprocessing.for_mode(mode, (height or own[0], width or own[1]))


def _takes_images(session: Session) -> bool:
    """Whether a model has one input of four axes; one that has not is refused when it is fed."""
    return len(session.inputs) == 1 and len(session.inputs[0].shape) == 4


def _image_size(session: Session) -> tuple[int, ...]:
    """Sides in pixels of the images that a model takes, as far as it says."""
    metadata = _metadata(session.model)
    if metadata is not None and metadata.preprocessing is not None:
        return Preprocessing.from_json(metadata.preprocessing).size
    declared = _declared_size(_image_input(session.model, session.inputs).shape)
    return tuple(side for side in declared if side is not None)


def _declared_size(shape: tuple[int | str | None, ...]) -> tuple[int | None, int | None]:
    height, width = (shape[2], shape[3]) if _is_nchw(shape) else (shape[1], shape[2])
    return height if isinstance(height, int) else None, width if isinstance(width, int) else None


def _study_for(spec: str) -> Study | None:
    """`digits` is the digits study's data, so that its split is the one the study kept for testing."""
    if spec.endswith(".toml") or spec in shipped_studies():
        return load_study(spec)
    studies = (load_study(name) for name in shipped_studies())
    return next((study for study in studies if study.data.source == spec), None)


def _from_dataset(dataset: Dataset, description: Mapping[str, Any]) -> EvaluationData:
    return EvaluationData(
        description={**description, "images": len(dataset)},
        images=dataset.images,
        labels=dataset.labels,
        class_names=dataset.class_names,
    )


def _has_images(path: Path, session: Session) -> bool:
    """Whether an archive holds labelled images, not arrays under the model's input names; told by names alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "images.npy" in archive.namelist() and "images" not in {spec.name for spec in session.inputs}
    except (OSError, zipfile.BadZipFile):
        return False  # reading it will say what is wrong


def _from_arrays(path: Path, session: Session) -> EvaluationData:
    arrays, inputs = read_arrays(path), {spec.name for spec in session.inputs}
    beside = {name: arrays.pop(name, None) for name in ("labels", "class_names") if name not in inputs}
    fitted = fit_inputs(arrays, session.inputs, source=path, any_batch=True)
    labels, names = beside.get("labels"), beside.get("class_names")
    return EvaluationData(
        description={"source": str(path)},
        inputs=fitted,
        labels=None if labels is None or not is_classifier(session) else _labels_of(fitted, labels, path, session),
        class_names=() if names is None else _class_names_of(names, path),
    )


def _labels_of(
    inputs: Mapping[str, NDArray[Any]], labels: NDArray[Any], path: Path, session: Session
) -> NDArray[np.int64]:
    classes, rows = check_classes(labels), rows_of(inputs, batched_names(session.inputs))
    if len(classes) != rows:
        raise DataError(f"{path} has {len(classes)} labels for {rows} samples", "give one label per sample")
    return classes


def _class_names_of(names: NDArray[Any], path: Path) -> tuple[str, ...]:
    if names.dtype.kind != "U" or names.ndim != 1:
        raise DataError(
            f"the class_names in {path} are {names.dtype} of shape {names.shape}",
            "store a numpy array of text, one name per class",
        )
    return tuple(str(name) for name in names)


def with_class_names(data: EvaluationData, model: Path) -> EvaluationData:
    """Give the labels the model's numbering: by class name where both the data and the model name their classes.

    Raises:
        DataError: the two name different classes.
    """
    loaded = load_model(model)
    metadata = read_metadata(loaded.proto)
    names = metadata.class_names if metadata is not None else ()
    if not names:
        _check_number_of_classes(data, loaded)
        return data
    if names == data.class_names:
        return data
    if not data.class_names:
        return replace(data, class_names=names)
    unknown = sorted(set(data.class_names) - set(names))
    if unknown:
        raise DataError(
            f"the data has the class {unknown[0]!r}, which the model has not: {', '.join(names[:10])}",
            "give the data the model's class names, or leave them out where its labels count in the model's order",
        )
    numbers = np.array([names.index(name) for name in data.class_names], np.int64)
    labels = None if data.labels is None else numbers[data.labels]
    return replace(data, labels=labels, class_names=names)


def _check_number_of_classes(data: EvaluationData, model: OnnxModel) -> None:
    """Refuse named classes that are not as many as the model's scores: labels behind the odd one would be wrong."""
    shape = model.proto.graph.output[0].type.tensor_type.shape.dim
    scores = shape[1].dim_value if len(shape) == 2 else 0
    if scores > 1 and data.class_names and len(data.class_names) != scores:
        few = ", ".join(data.class_names[:10]) + (", …" if len(data.class_names) > 10 else "")
        raise DataError(
            f"the data has {len(data.class_names)} classes ({few}), the model {scores} scores",
            "give a folder for each class of the model, or an .npz whose labels count as the model's scores do",
        )


def _metadata(model: Path) -> ModelMetadata | None:
    return read_metadata(load_model(model).proto)


def is_classifier(session: Session) -> bool:
    """Whether a model has one output of scores, one row an image."""
    if len(session.outputs) != 1:
        return False
    output = session.outputs[0]
    return len(output.shape) == 2 and np.issubdtype(output.dtype, np.floating) and output.shape[1] != 1


def check_classifier(session: Session) -> None:
    """Refuse a model that has not one output of scores.

    Raises:
        DataError: it names the outputs that there are.
    """
    if not is_classifier(session):
        outputs = ", ".join(f"{spec.name} {list(spec.shape)} of {spec.dtype}" for spec in session.outputs)
        raise DataError(f"{session.model} is no classifier with one output of scores: it has {outputs}", "give one")


def _image_input(model: Path, inputs: Sequence[TensorSpec]) -> TensorSpec:
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise DataError(
            f"{model} does not take one batch of images: its inputs are "
            f"{', '.join(f'{spec.name} {list(spec.shape)}' for spec in inputs)}",
            "feed arrays under the model's input names in an .npz file",
        )
    return inputs[0]


def _is_nchw(shape: tuple[int | str | None, ...]) -> bool:
    return shape[1] == 3 and shape[3] != 3


def _arrange(images: NDArray[np.float32], spec: TensorSpec) -> NDArray[Any]:
    arranged = images.transpose(0, 3, 1, 2) if _is_nchw(spec.shape) else images
    return np.ascontiguousarray(arranged, dtype=spec.dtype)


def _check_same_outputs(session: Session, reference: Session) -> None:
    names, expected = [spec.name for spec in session.outputs], [spec.name for spec in reference.outputs]
    if names != expected:
        raise DataError(
            f"the outputs of {session.model} are {', '.join(names)}, those of {reference.model} {', '.join(expected)}",
            "compare a model with its own full-precision form",
        )
