"""A variant: a model with other values in some of its tensors."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.graph import Initializer, OnnxModel, Plan, list_initializers
from precbench.graph.rounding import ROUNDABLE_TYPES, check_plan, fitted_grid
from precbench.grids import Grid

Values = Mapping[int, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variant:
    """A model with other values in some of its tensors.

    Args:
        name: of its own among the variants of a sweep.
        values: called when they are needed and not kept: position in the model's `tensors()` -> array of the tensor's
            type (float16, float32 or float64) and shape; the same every time. A variant without values is the base.
    """

    name: str
    values: Callable[[], Values]


def rounded_variant(name: str, model: OnnxModel, plan: Plan) -> Variant:
    """Return the variant that rounds what a plan says.

    The law: it has the values of `round_model(model, plan).model`.

    Raises:
        TargetError: the plan names a tensor that the model lacks.
        ModelError: a planned tensor holds NaN or infinity (when the values are made).
    """
    listed = {initializer.name: initializer for initializer in list_initializers(model)}
    check_plan(plan, listed.values())
    chosen = {
        listed[name].position: (listed[name], grid)
        for name, grid in plan.grids.items()
        if listed[name].dtype in ROUNDABLE_TYPES
    }
    return Variant(name=name, values=lambda: _rounded(model, chosen))


def _rounded(model: OnnxModel, chosen: Mapping[int, tuple[Initializer, Grid]]) -> Values:
    rounded = {}
    for held in model.tensors():
        if held.position in chosen:
            initializer, grid = chosen[held.position]
            values = model.values(held)
            rounded[held.position] = fitted_grid(initializer, values, grid).nearest(values)
    return rounded


def differing(model: OnnxModel, values: Values) -> dict[int, NDArray[Any]]:
    """Return those of the values that are not the model's own, bit for bit."""
    return {
        held.position: values[held.position]
        for held in model.tensors()
        if held.position in values and not same_bits(values[held.position], model.values(held))
    }


def digest(values: Values) -> str:
    """Return a digest of values with their positions."""
    found = hashlib.blake2b()
    for position in sorted(values):
        array = values[position]
        found.update(f"{position} {array.dtype.str} {array.shape} ".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def same_bits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two arrays are of one type and shape and hold the same bits: NaN equals itself, 0 is not -0."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype == np.object_:  # strings
        return bool(one.tolist() == other.tolist())
    return one.tobytes() == other.tobytes()
