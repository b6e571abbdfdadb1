"""What the models of a benchmark are fed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from precbench.bench.sessions import open_model
from precbench.errors import UsageError
from precbench.files import file_digest
from precbench.runtime import SessionSettings, TensorSpec, input_recipe, load_inputs, seeded_inputs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchInputs:
    """What one call is fed.

    Args:
        batch: samples per call; None where that cannot be said.
        feeds: input name to array.
        recipe: by which they can be made again.
    """

    batch: int | None
    feeds: Mapping[str, NDArray[Any]]
    recipe: Mapping[str, Any]

    @classmethod
    def of(cls, feeds: Mapping[str, NDArray[Any]], recipe: Mapping[str, Any]) -> Self:
        """Return feeds with the batch that they have."""
        return cls(batch=_rows(feeds), feeds=feeds, recipe=recipe)

    def save(self, folder: Path) -> Path:
        """Write the feeds for a measuring process, and return the file."""
        path = folder / "feeds.npz"
        np.savez(path, **{name: _plain(array) for name, array in self.feeds.items()})  # type: ignore[arg-type]
        return path


def bench_inputs(
    model: Path,
    settings: SessionSettings,
    *,
    file: Path | None = None,
    seed: int = 0,
    batch: int = 1,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return one call's inputs for a model, with the recipe by which they can be made again.

    Args:
        file: an .npz with one array per input; None draws them from `seed`.
        batch: of drawn inputs.
        shapes: of inputs whose size the model leaves open.

    Raises:
        DataError, UsageError: the file or the shapes do not fit the model.
        ModelError, ProviderError: the model cannot be run.
    """
    return _fed(open_model(model, settings).inputs, file=file, seed=seed, batch=batch, shapes=shapes or {})


def _fed(
    specs: Sequence[TensorSpec], *, file: Path | None, seed: int, batch: int, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    if file is not None:
        return load_inputs(file, specs), {"kind": "file", "path": str(file), "digest": file_digest(file)}
    drawn = seeded_inputs(specs, seed=seed, batch=batch, shapes=shapes)
    return drawn, input_recipe(specs, seed=seed, batch=batch, shapes=shapes)


def inputs_for_batches(
    model: Path,
    settings: SessionSettings,
    batches: Sequence[int],
    *,
    file: Path | None,
    seed: int,
    shapes: Mapping[str, tuple[int, ...]],
) -> list[BatchInputs]:
    """Return one value per batch size; a file, or a model that fixes its batch, gives one.

    Raises:
        UsageError: several batch sizes are asked for and there is but one.
        DataError, UsageError, ModelError, ProviderError: see `bench_inputs`.
    """
    specs = open_model(model, settings).inputs
    found = [BatchInputs.of(*_fed(specs, file=file, seed=seed, batch=batch, shapes=shapes)) for batch in batches]
    if len({inputs.batch for inputs in found}) < len(found):
        raise UsageError(
            f"the inputs have the batch {found[0].batch} whatever --batch says",
            "give one batch size: a file and a model with a fixed batch have but one",
        )
    return found


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Strings as NumPy's own type, so that nothing needs to be pickled."""
    return array.astype(np.str_) if array.dtype.kind == "O" else array


def _rows(feeds: Mapping[str, NDArray[Any]]) -> int | None:
    """The first dimension that all inputs share; None where they have none in common."""
    rows = {array.shape[0] if array.ndim else None for array in feeds.values()}
    return rows.pop() if len(rows) == 1 else None
