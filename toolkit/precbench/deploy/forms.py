"""The forms that a model can be shipped in, each made from the same float model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from precbench.deploy.data import DeploymentData
from precbench.deploy.stored import StoredTensor
from precbench.errors import ModelError, UsageError
from precbench.graph import OnnxModel, save_model
from precbench.nearest import nearest
from precbench.progress import SILENT, Progress
from precbench.runtime import Session


class Form(StrEnum):
    """How a model is stored and executed."""

    PACKED = "packed"
    INT8 = "int8"
    FP16 = "fp16"


AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A model in a form.

    Args:
        form: which.
        path: its file.
        tensors: how each is stored.
        about: facts of that form for the record.
    """

    form: Form
    path: Path
    tensors: tuple[StoredTensor, ...]
    about: Mapping[str, Any] = field(default_factory=dict)


def parse_form(text: str) -> Form | None:
    """Return the form, None for "auto".

    Raises:
        UsageError: there is no such form.
    """
    if text == AUTO:
        return None
    if text not in tuple(Form):
        known = (*Form, AUTO)
        raise UsageError(f"there is no form {text!r}", f"{nearest(text, known)}; choose {', '.join(known)}")
    return Form(text)


def make(
    form: Form,
    model: OnnxModel,
    path: Path,
    *,
    session: Session,
    data: DeploymentData | None,
    method: str,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Made:
    """Write a model in a form.

    Args:
        form: which.
        model: in float32; not modified.
        path: to write to; external data goes beside it.
        session: of the model as it is.
        data: to calibrate on; int8 needs it, fp16 uses it to find what overflows.
        method: of calibration, for int8.
        seed: of what is drawn.
        progress: told of the steps.

    Raises:
        UsageError: int8 without data.
        ModelError: the model cannot be had in that form; the message says why.
    """
    if form is Form.PACKED:
        from precbench.deploy.packed.packing import pack

        packed = pack(model)
        save_model(packed.model, path)
        return Made(form=form, path=path, tensors=packed.tensors)
    if form is Form.FP16:
        return _make_half(model, path, session, data, progress)
    from precbench.deploy.int8.quantizing import quantize

    if data is None:
        raise UsageError("int8 has to see data: its activations are calibrated", "name some images with --data")
    quantized = quantize(model, data.calibration_for(session), method=method, seed=seed, progress=progress)
    save_model(quantized.model, path)
    return Made(form=form, path=path, tensors=quantized.tensors, about=quantized.about)


def _make_half(model: OnnxModel, path: Path, session: Session, data: DeploymentData | None, progress: Progress) -> Made:
    from precbench.deploy.fp16.converting import convert_to_half
    from precbench.deploy.fp16.observing import observe_values

    ranges = None if data is None else observe_values(model, data.calibration_for(session), progress=progress)
    half = convert_to_half(model, ranges)
    if not any(tensor.dtype == "FLOAT16" for tensor in half.tensors):
        raise ModelError(
            "nothing becomes float16: no float32 constant of the model can be converted", "deploy it in another form"
        )
    save_model(half.model, path)
    about = {
        "kept_in_float32": dict(half.kept_nodes),
        "overflow": "looked for on calibration data" if ranges is not None else "not looked for: no data",
        "flushed_to_zero": half.flushed,
        "subnormal": half.subnormal,
        "casts": half.casts,
    }
    return Made(form=Form.FP16, path=path, tensors=half.tensors, about=about)
