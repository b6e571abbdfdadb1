"""What must hold before anything is timed, and what must be known of the models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import DataError, ModelError
from precbench.files import file_digest, value_digest
from precbench.graph import OnnxModel, check_finite, count_subnormals, graph_difference, load_model
from precbench.runtime import Session, SessionSettings, open_session
from precbench.runtime.clocks import TimedClock

Feeds = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedModel:
    """A model that may be timed.

    Args:
        digest: of the file, and of the files with its external data.
        file_bytes: of all of them.
        subnormals: subnormal numbers among its floating-point initializers.
        difference: how its graph differs from the base's apart from initializers; None where it does not.
        files: of all of them the path, and what tells without reading that it was written to since.
    """

    path: Path
    digest: str
    file_bytes: int
    subnormals: int
    difference: str | None
    files: tuple[tuple[Path, tuple[int, ...]], ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "path": str(self.path),
            "digest": self.digest,
            "file_bytes": self.file_bytes,
            "subnormals": self.subnormals,
            "same_graph": self.difference is None,
            "graph_difference": self.difference,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What passed.

    Args:
        models: by path.
        session: the base's `Session.record`.
        provider: that runs them all; what "auto" stands for.
    """

    models: Mapping[Path, GatedModel]
    session: Mapping[str, Any]
    provider: str

    def check_unchanged(self) -> None:
        """See that the files are still what passed: every measuring process reads them anew.

        Raises:
            ModelError: one is gone, or holds something else.
        """
        for model in self.models.values():
            touched = any(_stamp(file) != stamp for file, stamp in model.files)
            if touched and _digest([file for file, _ in model.files]) != model.digest:
                raise ModelError(
                    f"{model.path} is another model than when the measurement began",
                    "leave the files alone while they are measured; what was measured before is kept",
                )


def pass_gate(
    base: Path, others: Sequence[Path], settings: SessionSettings, feeds: Sequence[Feeds], clock: TimedClock
) -> Gate:
    """Check every model, run each once on each set of feeds, and compare its graph with the base's.

    Held in memory: two graphs without their external data, and one session, at a time.

    Raises:
        ModelError: a model fails a check, cannot be run, or has an output that is not finite.
        ProviderError: the provider does not run the whole of a model.
        UsageError: the provider has not the clock asked for.
    """
    base_model = load_model(base)
    session = _checked_session(base, base_model, settings.for_clock(clock), feeds)
    record, provider = session.record(clock=clock), session.provider
    del session
    models = {base: _gated(base, base_model, None)}
    for path in others:
        if path not in models:
            model = load_model(path)
            _checked_session(path, model, settings.for_clock(clock), feeds)
            models[path] = _gated(path, model, graph_difference(base_model, model))
    return Gate(models=models, session=record, provider=provider)


def _checked_session(path: Path, model: OnnxModel, settings: SessionSettings, feeds: Sequence[Feeds]) -> Session:
    check_finite(model, path)
    session = open_session(path, settings)
    for some in feeds:
        try:
            outputs = session.run(some)
        except DataError as error:  # says which input, not of which model
            raise DataError(f"{path}: {error.problem}", error.remedy) from error
        for name, value in outputs.items():
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise ModelError(
                    f"the output {name!r} of {path} is not finite for these inputs: what would be timed is no result",
                    "give inputs that the model is made for with --input",
                )
    return session


def model_digest(path: Path) -> str:
    """Return the digest of a model: of its file, and of the files with its external data where it has any.

    Raises:
        ModelError: it fails a check.
    """
    return _digest([path, *_external_files(load_model(path))])


def _digest(files: Sequence[Path]) -> str:
    digests = [file_digest(file) for file in files]
    return digests[0] if len(digests) == 1 else value_digest(digests)


def _gated(path: Path, model: OnnxModel, difference: str | None) -> GatedModel:
    files = [path, *_external_files(model)]
    stamps = [_stamp(file) for file in files]
    return GatedModel(
        path=path,
        digest=_digest(files),
        file_bytes=sum(file.stat().st_size for file in files),
        subnormals=count_subnormals(model),
        difference=difference,
        files=tuple(zip(files, stamps, strict=True)),
    )


def _stamp(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError as error:
        raise ModelError(
            f"{file} cannot be read any more: {error.strerror}", "leave the files alone while they are measured"
        ) from error
    return found.st_size, found.st_mtime_ns, found.st_ino


def _external_files(model: OnnxModel) -> list[Path]:
    """The files with a model's external data; `load_model` has checked that they lie in its folder."""
    names = {entry.value for held in model.tensors() for entry in held.proto.external_data if entry.key == "location"}
    return [model.folder / name for name in sorted(names)]
