"""manifest.json of a deployed folder: what the model is, what it was made of, and what was measured."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from precbench.deploy.reference import TOLERANCES
from precbench.errors import ModelError
from precbench.files import file_digest

SCHEMA_VERSION = 1
MANIFEST, MODEL, REFERENCE, CARD = "manifest.json", "model.onnx", "reference.npz", "model_card.md"
_MOST_MANIFEST_BYTES = 64 << 20
_MOST_NAME = 200
_REMEDY = "copy the folder again from where it was made, or deploy the model again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest that was read and makes sense.

    Args:
        folder: of the deployed model.
        value: the JSON.
    """

    folder: Path
    value: Mapping[str, Any]

    @property
    def form(self) -> str:
        """How the model is stored: packed, int8 or fp16."""
        return str(self.value["form"])

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.folder / MODEL

    @property
    def files(self) -> dict[str, str]:
        """File name to digest, of all files but the manifest."""
        return {str(name): str(entry["digest"]) for name, entry in self.value["files"].items()}


def file_entries(folder: Path) -> dict[str, dict[str, Any]]:
    """Return name, bytes and digest of every file in a folder but the manifest."""
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    return {path.name: {"bytes": path.stat().st_size, "digest": file_digest(path)} for path in files}


def read_manifest(folder: Path) -> Manifest:
    """Read a deployed folder's manifest; nothing in it is believed that leads out of the folder.

    Raises:
        ModelError: it is missing, damaged, or of a newer precbench.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}", "name the folder that `precbench deploy` wrote")
    if path.is_symlink() or not path.is_file():
        raise ModelError(
            f"{folder} is no deployed model: it has no {MANIFEST} of its own",
            "name the folder that `precbench deploy` wrote",
        )
    if path.stat().st_size > _MOST_MANIFEST_BYTES:
        raise ModelError(f"{path} has {path.stat().st_size:,} bytes, no manifest has so many", _REMEDY)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: {type(error).__name__}: {error}", _REMEDY) from error
    _check(value, path)
    return Manifest(folder=folder, value=value)


def _check(value: object, path: Path) -> None:
    version = value.get("schema_version") if isinstance(value, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ModelError(
            f"{path} has schema version {version}, this precbench reads {SCHEMA_VERSION}",
            "use the precbench that deployed the model, or a newer one",
        )
    if not isinstance(value, dict) or version != SCHEMA_VERSION:
        raise ModelError(f"{path} is no manifest of a deployed model: its schema_version is {version!r}", _REMEDY)
    if not isinstance(value.get("form"), str) or value["form"] not in TOLERANCES:
        raise ModelError(f"{path} has the form {value.get('form')!r}, none of {', '.join(TOLERANCES)}", _REMEDY)
    files, reference = value.get("files"), value.get("reference_outputs")
    if not isinstance(files, dict) or not {MODEL, REFERENCE} <= files.keys() or not isinstance(reference, dict):
        raise ModelError(f"{path} does not name the model and its reference outputs", _REMEDY)
    for name, entry in files.items():
        if len(name) > _MOST_NAME or not name.isprintable():
            raise ModelError(f"{path} names a file of {len(name)} characters, or of some that cannot be shown", _REMEDY)
        if Path(name).name != name or name in ("", ".", ".."):
            raise ModelError(f"{path} names the file {name!r}, which is outside its folder", _REMEDY)
        if not isinstance(entry, dict) or not isinstance(entry.get("digest"), str):
            raise ModelError(f"{path} has no digest of {name!r}", _REMEDY)
    tolerance = reference.get("tolerance")
    if not isinstance(tolerance, int | float) or isinstance(tolerance, bool) or not 0 <= tolerance <= 1:
        raise ModelError(f"{path} has the tolerance {tolerance!r}, not a number from 0 to 1", _REMEDY)
