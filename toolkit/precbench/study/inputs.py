"""What the models of a benchmark are fed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from precbench.files import file_digest
from precbench.runtime import SessionSettings, input_recipe, load_inputs, seeded_inputs
from precbench.study.sessions import open_model


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
    specs = open_model(model, settings).inputs
    if file is not None:
        return load_inputs(file, specs), {"kind": "file", "path": str(file), "digest": file_digest(file)}
    drawn = seeded_inputs(specs, seed=seed, batch=batch, shapes=shapes or {})
    return drawn, input_recipe(specs, seed=seed, batch=batch, shapes=shapes or {})
