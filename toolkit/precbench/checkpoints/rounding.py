"""Round the variables of a Keras checkpoint, the paper's own object, in a copy of it. TensorFlow is not needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.checkpoints.checkpoint_variables import CheckpointVariable, read_variables
from precbench.checkpoints.tensorflow_quietly import import_quietly
from precbench.checkpoints.weights_file import WeightsFile, open_for_reading, open_weights, replace_weights
from precbench.errors import ModelError, TargetError
from precbench.graph import Outcome
from precbench.graph.rounding import NOT_TARGETED
from precbench.grids import DecimalGrid, Grid
from precbench.nearest import nearest

_ROUNDABLE = ("float16", "float32", "float64")


def round_checkpoint(
    path: Path, output: Path, grids: Mapping[str, Grid], *, architecture: Path | None = None
) -> tuple[Outcome, ...]:
    """Write a copy of a checkpoint in which the named variables are rounded; return one outcome per variable.

    The law: the values are the nearest points of the grid fitted to the old ones; every other dataset, attribute and
    archive member is equal, and the copy is complete or absent under its name. An output that exists is replaced: the
    caller asks first.

    Args:
        path: a weights `.h5` of Keras 1, 2 or 3, a whole-model `.h5` or a `.keras` file.
        output: of the same format; it may be `path` itself.
        grids: of each variable to round, by its name in `list_variables`.
        architecture: see `list_variables`.

    Raises:
        UsageError: a grid has a step per channel: a checkpoint does not say which axis these are.
        TargetError: the checkpoint has no variable of that name.
        ModelError: the checkpoint cannot be read, or a variable to round holds NaN or infinity.
        OutputError: the output cannot be written.
        MissingDependencyError: h5py is not installed.
    """
    with open_weights(path) as weights:
        variables = read_variables(weights, architecture=architecture)
        _check_names(grids, variables, path)
        outcomes, fitted = _round_on_paper(weights, variables, grids)
        rounded = [variable for variable in variables if variable.name in fitted]
        replace_weights(weights, output, lambda file: _round_in_place(file, rounded, fitted))
    return outcomes


def _check_names(plan: Mapping[str, Grid], variables: Sequence[CheckpointVariable], path: Path) -> None:
    known = [variable.name for variable in variables]
    unknown = sorted(plan.keys() - set(known))
    if unknown:
        raise TargetError(f"{path} has no variable {unknown[0]!r}", nearest(unknown[0], known))


def _round_on_paper(
    weights: WeightsFile, variables: Sequence[CheckpointVariable], plan: Mapping[str, Grid]
) -> tuple[tuple[Outcome, ...], dict[str, Grid]]:
    """Find what will change, to which grids, and what cannot be rounded, before anything is written."""
    fitted, outcomes = dict[str, Grid](), list[Outcome]()
    with open_for_reading(weights) as file:
        for variable in variables:
            skipped, changed = _reason_to_skip(variable, plan.get(variable.name)), 0
            if skipped is None:
                before = _native(file[variable.dataset_path][()])
                _check_finite(before, variable, weights.source)
                fitted[variable.name] = plan[variable.name].fitted(before)
                changed = int(np.count_nonzero(before != fitted[variable.name].nearest(before)))
            outcomes.append(_outcome(variable, fitted.get(variable.name), skipped, changed))
    return tuple(outcomes), fitted


def _outcome(variable: CheckpointVariable, grid: Grid | None, skipped: str | None, changed: int) -> Outcome:
    return Outcome(
        initializer=variable.name,
        layer=variable.layer,
        group=None,
        grid=None if grid is None else str(grid),
        decimals=grid.decimals if isinstance(grid, DecimalGrid) else None,
        skipped=skipped,
        elements=int(np.prod(variable.shape, dtype=np.int64)),
        changed=changed,
    )


def _reason_to_skip(variable: CheckpointVariable, grid: Grid | None) -> str | None:
    if grid is None:
        return NOT_TARGETED
    if variable.dtype not in _ROUNDABLE:
        return f"{variable.dtype} is not rounded; {', '.join(_ROUNDABLE)} are"
    return None


def _check_finite(values: NDArray[Any], variable: CheckpointVariable, path: Path) -> None:
    bad = int(values.size - np.count_nonzero(np.isfinite(values)))
    if bad:
        raise ModelError(
            f"{variable.name} in {path} holds {bad} NaN or infinite values of {values.size}",
            "repair the checkpoint, or leave that variable out",
        )


def _round_in_place(path: Path, variables: Sequence[CheckpointVariable], fitted: Mapping[str, Grid]) -> None:
    """Round in a private copy; an error of HDF5 here is one of writing, since everything was read before."""
    h5py = import_quietly("h5py")
    with h5py.File(path, "r+", locking=False) as file:
        for variable in variables:
            dataset = file[variable.dataset_path]
            dataset[()] = fitted[variable.name].nearest(_native(dataset[()]))
    with h5py.File(path, "r", locking=False) as file:  # opened again: a filter works only when values leave the cache
        for variable in variables:
            _check_kept(_native(file[variable.dataset_path][()]), variable, fitted[variable.name])


def _check_kept(values: NDArray[Any], variable: CheckpointVariable, grid: Grid) -> None:
    if not np.array_equal(values, grid.nearest(values)):
        raise ModelError(
            f"the dataset {variable.dataset_path} does not keep the values written to it",
            "its HDF5 filter loses bits: save the checkpoint again without it",
        )


def _native(values: Any) -> NDArray[Any]:
    array = np.asarray(values)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
