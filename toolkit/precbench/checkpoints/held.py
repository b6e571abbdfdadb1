"""Weights that a training leaves where they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.checkpoints.variables import named_variables
from precbench.errors import TargetError
from precbench.files import array_digest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """Which elements of a variable are held, and at what.

    Args:
        mask: bool, in the variable's shape and Keras's layout.
        values: float32, likewise; only those under the mask count.
    """

    mask: NDArray[np.bool_]
    values: NDArray[np.float32]

    def digest(self) -> list[str]:
        """Return what tells it from another."""
        return [array_digest(self.mask), array_digest(np.where(self.mask, self.values, 0))]


def hold(keras: Any, model: Any, held: Mapping[str, Held]) -> None:
    """Put variables of a Keras model where they are held, and keep them there through every step of an optimizer.

    The law: after any number of steps the elements under the mask have these values, bit for bit. It is Keras's own
    way of keeping a variable in bounds: an optimizer applies a variable's constraint after each step, weight decay and
    momentum included.

    Args:
        keras: the module.
        model: changed in place.
        held: by the variable's path, as in `named_variables`.

    Raises:
        TargetError: the model has no variable of that path, or it is of another shape.
    """
    variables = {variable.path: variable for variable in named_variables(model)}
    for path, one in held.items():
        found = variables.get(path)
        if found is None or found.shape != one.mask.shape or found.shape != one.values.shape:
            raise TargetError(
                f"the model has no variable {path!r} of shape {one.mask.shape}", "hold variables of this model"
            )
        found.keras.constraint = _constraint(keras, one)
        found.keras.assign(found.keras.constraint(found.keras))


def _constraint(keras: Any, held: Held) -> Any:
    def put_back(variable: Any) -> Any:
        return keras.ops.where(held.mask, held.values, variable)

    return put_back
