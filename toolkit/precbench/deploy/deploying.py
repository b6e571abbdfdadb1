"""Deploy a model: make it in a form, measure what that costs and gives, and leave a folder that says so."""

import datetime
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import precbench
from precbench.bench.gate import model_digest
from precbench.bench.sessions import open_model
from precbench.deploy.card import model_card
from precbench.deploy.choosing import Choice, choose
from precbench.deploy.data import DeploymentData, reference_feeds
from precbench.deploy.folder import check_folder, nearest_folder, put_in_place
from precbench.deploy.manifest import CARD, MANIFEST, REFERENCE, SCHEMA_VERSION, file_entries
from precbench.deploy.measuring import compare_accuracy
from precbench.deploy.reference import TOLERANCES, write_reference
from precbench.deploy.request import Request
from precbench.deploy.sizes import model_bytes, zstd_bytes
from precbench.errors import OutputError
from precbench.files import write_json, write_text
from precbench.graph import load_model, opset_of
from precbench.progress import SILENT, Progress
from precbench.runtime import Session, SessionSettings, TensorSpec, environment
from precbench.study.compression import ZSTD_LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A deployed folder.

    Args:
        folder: where it lies.
        manifest: as written.
        holds: whether it is shown to lose at most what was asked for, and is smaller or faster; None where nothing was
            asked, or is known.
    """

    folder: Path
    manifest: Mapping[str, Any]
    holds: bool | None


def deploy(request: Request, data: DeploymentData | None, *, progress: Progress = SILENT) -> Deployed:
    """Write a folder with the model in the form asked for, a manifest, a card, and reference inputs and outputs.

    The law: the folder is whole under its name or not there; it is filled beside it and renamed.

    Raises:
        OutputError: the folder exists, or cannot be written.
        ModelError, DataError, UsageError, ProviderError: the model cannot be had so; nothing is left then.
    """
    check_folder(request.output, force=request.force, sources=(request.model, request.compared_with))
    source = open_model(request.model, request.settings)
    if request.reference is not None:
        open_model(request.reference, request.settings)
    with _stage(request.output) as name:
        stage = Path(name)
        choice = choose(request, source, data, stage, progress=progress)
        folder = choice.made.path.parent
        manifest = _manifest(request, choice, source, data, progress)
        write_text(folder / CARD, model_card(manifest))
        manifest["files"] = file_entries(folder)
        write_json(folder / MANIFEST, manifest)
        put_in_place(folder, request.output, force=request.force)
    return Deployed(folder=request.output, manifest=manifest, holds=choice.holds)


def _stage(output: Path) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=nearest_folder(output))
    except OSError as error:
        raise OutputError(
            f"the output {output} cannot be written: {error.strerror}", "choose a folder that you can write to"
        ) from error


def _manifest(
    request: Request, choice: Choice, source: Session, data: DeploymentData | None, progress: Progress
) -> dict[str, Any]:
    """Write the reference and return the manifest, all but the files' digests."""
    path, form = choice.made.path, str(choice.made.form)
    session = open_model(path, SessionSettings())
    asked = request.form is None
    return {
        "schema_version": SCHEMA_VERSION,
        "precbench": precbench.__version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": list(request.command),
        "form": form,
        "source": _source(request.model),
        "reference": _source(request.compared_with),
        "opset": opset_of(load_model(path).proto),
        "inputs": [_spec_json(spec) for spec in session.inputs],
        "outputs": [_spec_json(spec) for spec in session.outputs],
        "preprocessing": None if data is None or data.preprocessing is None else data.preprocessing.to_json(),
        "bytes": _bytes(path, request.compared_with),
        "accuracy": _accuracy(request, path, data, progress),
        "accuracy_not_measured": "without data" if data is None else data.not_judged,
        "time": None if choice.time is None else {**choice.time, "ratios": choice.time["ratios"][form]},
        "reference_outputs": _reference(request, session, source, data, TOLERANCES[form]),
        "about": dict(choice.made.about),
        "max_drop_points": request.limit_points,
        "tried": [dict(row) for row in choice.tried] if asked else [],
        "tensors": [tensor.to_json() for tensor in choice.made.tensors],
        "environment": environment(),
    }


def _accuracy(request: Request, path: Path, data: DeploymentData | None, progress: Progress) -> dict[str, Any] | None:
    """Evaluate on the test part; None where nothing is labelled."""
    if data is None or data.test is None:
        return None
    progress.note("accuracy on the test part")
    found = compare_accuracy(
        path, request.compared_with, data.test, request.settings, preprocessing=data.preprocessing, progress=progress
    )
    return found.in_short()


def _reference(
    request: Request, session: Session, source: Session, data: DeploymentData | None, tolerance: float
) -> dict[str, Any]:
    """Write a few inputs with the outputs on the CPU, and return what the manifest says of them."""
    feeds, drawn = reference_feeds(data, source, seed=request.seed, shapes=request.shapes)
    write_reference(session.model.with_name(REFERENCE), session, feeds)
    return {"file": REFERENCE, "inputs": drawn, "provider": "cpu", "tolerance": tolerance}


def _source(path: Path) -> dict[str, Any]:
    return {"file": path.name, "digest": model_digest(path), "bytes": model_bytes(path)}


def _spec_json(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": str(spec.dtype), "shape": list(spec.shape)}


def _bytes(path: Path, reference: Path) -> dict[str, Any]:
    return {
        "model": model_bytes(path),
        "reference": model_bytes(reference),
        "zstd_level": ZSTD_LEVEL,
        "zstd_model": zstd_bytes(path),
        "zstd_reference": zstd_bytes(reference),
    }
