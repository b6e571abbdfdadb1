"""The models that are timed: the base, its rounded forms, and its float16 form, made once per folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agreement import agreement

import precbench
from precbench.deploy.fp16.converting import Half, convert_to_half
from precbench.errors import PrecbenchError
from precbench.files import file_digest, write_json
from precbench.graph import load_model, save_model
from precbench.grids import DecimalGrid
from precbench.progress import SILENT, Progress
from precbench.study.rounding import round_file

FP16 = "fp16"
_ENGINE_DECIMALS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """What there is to time.

    Args:
        base: the full-precision model.
        digests: arm to the digest of its file; the base under "base".
        variants: arm to its file: dp1 …, fp16.
        fp16: what was converted and how far the outputs are from the base's, or why there is none.
    """

    base: Path
    digests: Mapping[str, str]
    variants: Mapping[str, Path]
    fp16: Mapping[str, Any]

    def timed_by(self, provider: str) -> dict[str, Path]:
        """Return the variants that a provider times: all, but TensorRT, which builds each for minutes, two."""
        if provider != "tensorrt":
            return dict(self.variants)
        rounded = [name for name in self.variants if name.startswith("dp")]
        kept = {f"dp{_ENGINE_DECIMALS}" if f"dp{_ENGINE_DECIMALS}" in rounded else rounded[0], FP16}
        return {name: path for name, path in self.variants.items() if name in kept}


def make_models(
    base: Path,
    folder: Path,
    *,
    decimals: Sequence[int],
    fp16: bool,
    provider: str,
    also: Mapping[str, Path] | None = None,
    progress: Progress = SILENT,
) -> Models:
    """Round the base to each number of decimals, and convert it; what is there already and whole is left.

    Args:
        folder: for the models, and for models.json, which says what was made of which base.
        fp16: whether to make the float16 form.
        provider: that its outputs are compared on, beside the CPU.
        also: other models of the same inputs to time beside them, by name: deployed forms.

    Raises:
        ModelError, TargetError, OutputError: the base cannot be read or rounded, or nothing can be written.
    """
    digest, told = file_digest(base), folder / "models.json"
    asked = {"base": digest, "decimals": list(decimals), "fp16": fp16, "provider": provider}
    asked["precbench"] = precbench.__version__
    paths = {f"dp{n}": folder / f"dp{n}.onnx" for n in decimals}
    known = _read(told)
    if known.get("asked") != asked or not _are_whole(known["digests"], folder):
        known = {"asked": asked, **_make(base, paths, folder, fp16=fp16, provider=provider, progress=progress)}
        write_json(told, known)
    digests = dict(known["digests"])
    others = dict(also or {})
    return Models(
        base=base,
        digests={"base": digest, **digests, **{name: file_digest(path) for name, path in others.items()}},
        variants={**{name: folder / f"{name}.onnx" for name in digests}, **others},
        fp16=known["fp16"],
    )


def _make(
    base: Path, paths: Mapping[str, Path], folder: Path, *, fp16: bool, provider: str, progress: Progress
) -> dict[str, Any]:
    for name, path in paths.items():
        round_file(base, path, grid=DecimalGrid(int(name.removeprefix("dp"))), force=True, progress=progress)
    about: dict[str, Any] = {"made": False, "reason": "left out with --no-fp16"}
    if fp16:
        about = _make_half(base, folder / f"{FP16}.onnx", provider)
    made = [*paths, FP16] if about["made"] else list(paths)
    return {"digests": {name: file_digest(folder / f"{name}.onnx") for name in made}, "fp16": about}


def _make_half(base: Path, path: Path, provider: str) -> dict[str, Any]:
    """Convert and compare; a model that cannot be converted is timed without."""
    try:
        half = convert_to_half(load_model(base))
        save_model(half.model, path)
        compared = [agreement(base, path, provider=name) for name in dict.fromkeys(["cpu", provider])]
    except PrecbenchError as error:
        return {"made": False, "reason": error.problem}
    return {"made": True, "converted": _converted(half), "against_float32_on_the_cpu": compared}


def _converted(half: Half) -> dict[str, Any]:
    """Counts of the constants that are float16 now, and what is not."""
    converted = [tensor for tensor in half.tensors if tensor.kept is None]
    return {
        "tensors": len(converted),
        "kept": [tensor.name for tensor in half.tensors if tensor.kept is not None],
        "kept_nodes": dict(half.kept_nodes),
        "elements": sum(tensor.elements for tensor in converted),
        "flushed": half.flushed,
        "subnormal": half.subnormal,
        "casts": half.casts,
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _are_whole(digests: Mapping[str, str], folder: Path) -> bool:
    files = {name: folder / f"{name}.onnx" for name in digests}
    return all(file.is_file() and file_digest(file) == digests[name] for name, file in files.items())
