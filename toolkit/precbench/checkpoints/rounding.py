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
from precbench.grids import check_decimals, round_to_decimals
from precbench.nearest import nearest

_ROUNDABLE = ("float16", "float32", "float64")


def round_checkpoint(
    path: Path, output: Path, decimals: Mapping[str, int], *, architecture: Path | None = None
) -> tuple[Outcome, ...]:
    """Write a copy of a checkpoint in which the named variables are rounded; return one outcome per variable.

    The law: the values are `grids.round_to_decimals` of the old ones; every other dataset, attribute and archive
    member is equal, and the copy is complete or absent under its name. An output that exists is replaced: the caller
    asks first.

    Args:
        path: a weights `.h5` of Keras 1, 2 or 3, a whole-model `.h5` or a `.keras` file.
        output: of the same format; it may be `path` itself.
        decimals: N, 0 to 12, for each variable to round, by its name in `list_variables`.
        architecture: see `list_variables`.

    Raises:
        UsageError: an N is no whole number from 0 to 12.
        TargetError: the checkpoint has no variable of that name.
        ModelError: the checkpoint cannot be read, or a variable to round holds NaN or infinity.
        OutputError: the output cannot be written.
        MissingDependencyError: h5py is not installed.
    """
    plan = {name: check_decimals(number) for name, number in decimals.items()}
    with open_weights(path) as weights:
        variables = read_variables(weights, architecture=architecture)
        _check_names(plan, variables, path)
        outcomes = _round_on_paper(weights, variables, plan)
        rounded = [variable for variable, outcome in zip(variables, outcomes, strict=True) if outcome.skipped is None]
        replace_weights(weights, output, lambda file: _round_in_place(file, rounded, plan))
    return outcomes


def _check_names(plan: Mapping[str, int], variables: Sequence[CheckpointVariable], path: Path) -> None:
    known = [variable.name for variable in variables]
    unknown = sorted(plan.keys() - set(known))
    if unknown:
        raise TargetError(f"{path} has no variable {unknown[0]!r}", nearest(unknown[0], known))


def _round_on_paper(
    weights: WeightsFile, variables: Sequence[CheckpointVariable], plan: Mapping[str, int]
) -> tuple[Outcome, ...]:
    """Find what will change and what cannot be rounded, before anything is written."""
    with open_for_reading(weights) as file:
        return tuple(_outcome(file, variable, plan.get(variable.name), weights.source) for variable in variables)


def _outcome(file: Any, variable: CheckpointVariable, decimals: int | None, path: Path) -> Outcome:
    skipped, changed = _reason_to_skip(variable, decimals), 0
    if skipped is None and decimals is not None:
        before = _native(file[variable.dataset_path][()])
        _check_finite(before, variable, path)
        changed = int(np.count_nonzero(before != round_to_decimals(before, decimals)))
    return Outcome(
        initializer=variable.name,
        layer=variable.layer,
        group=None,
        decimals=decimals if skipped is None else None,
        skipped=skipped,
        elements=int(np.prod(variable.shape, dtype=np.int64)),
        changed=changed,
    )


def _reason_to_skip(variable: CheckpointVariable, decimals: int | None) -> str | None:
    if decimals is None:
        return NOT_TARGETED
    if variable.dtype not in _ROUNDABLE:
        return f"{variable.dtype} is not rounded to decimals; {', '.join(_ROUNDABLE)} are"
    return None


def _check_finite(values: NDArray[Any], variable: CheckpointVariable, path: Path) -> None:
    bad = int(values.size - np.count_nonzero(np.isfinite(values)))
    if bad:
        raise ModelError(
            f"{variable.name} in {path} holds {bad} NaN or infinite values of {values.size}",
            "repair the checkpoint, or leave that variable out",
        )


def _round_in_place(path: Path, variables: Sequence[CheckpointVariable], plan: Mapping[str, int]) -> None:
    """Round in a private copy; an error of HDF5 here is one of writing, since everything was read before."""
    h5py = import_quietly("h5py")
    with h5py.File(path, "r+", locking=False) as file:
        for variable in variables:
            dataset = file[variable.dataset_path]
            dataset[()] = round_to_decimals(_native(dataset[()]), plan[variable.name])
    with h5py.File(path, "r", locking=False) as file:  # opened again: a filter works only when values leave the cache
        for variable in variables:
            _check_kept(_native(file[variable.dataset_path][()]), variable, plan[variable.name])


def _check_kept(values: NDArray[Any], variable: CheckpointVariable, decimals: int) -> None:
    if not np.array_equal(values, round_to_decimals(values, decimals)):
        raise ModelError(
            f"the dataset {variable.dataset_path} does not keep the values written to it",
            "its HDF5 filter loses bits: save the checkpoint again without it",
        )


def _native(values: Any) -> NDArray[Any]:
    array = np.asarray(values)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
