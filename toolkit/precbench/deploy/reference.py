"""A few inputs with the outputs that a deployed model gave for them where it was made."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import DataError
from precbench.files import write_atomically
from precbench.runtime import Session, read_arrays

Arrays = Mapping[str, NDArray[Any]]

TOLERANCES = {"float": 1e-3, "packed": 1e-3, "fp16": 2e-2, "int8": 0.2}
"""Largest difference of an output over its largest value. float32 sums differ between kernels and machines by rounding
alone, and a GPU may compute in TF32; of int8, whole levels of activations may fall to the other side."""

_INPUT, _OUTPUT = "input/", "output/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How near a model's outputs are to the reference.

    Args:
        difference: the largest of any output, over that output's largest value.
        same_top: share of samples with the same top-1 class; None for outputs that are no scores.
        finite: whether all outputs are.
    """

    difference: float
    same_top: float | None
    finite: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        finite = bool(np.isfinite(self.difference))
        difference = self.difference if finite else None
        return {"difference": difference, "same_top": self.same_top, "finite": self.finite}


def write_reference(path: Path, session: Session, feeds: Arrays) -> dict[str, NDArray[Any]]:
    """Run a model on some inputs and write them with the outputs; return the outputs."""
    outputs = session.run(feeds)
    arrays = {f"{_INPUT}{name}": array for name, array in feeds.items()}
    arrays |= {f"{_OUTPUT}{name}": array for name, array in outputs.items()}
    write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))  # type: ignore[arg-type]
    return outputs


def read_reference(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return the inputs and the outputs.

    Raises:
        DataError: the file is damaged, or holds neither.
    """
    arrays = read_arrays(path)
    parts = [
        {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        for prefix in (_INPUT, _OUTPUT)
    ]
    if not all(parts):
        raise DataError(f"{path} holds no reference inputs and outputs", "deploy the model again")
    return parts[0], parts[1]


def agreement(expected: Arrays, found: Arrays) -> Agreement:
    """Compare outputs by name.

    Raises:
        DataError: the outputs have other names or shapes.
    """
    largest, finite = 0.0, True
    for name, reference in expected.items():
        value = found.get(name)
        if value is None or value.shape != reference.shape:
            shape = None if value is None else list(value.shape)
            raise DataError(
                f"the output {name!r} has the shape {shape}, its reference {list(reference.shape)}",
                "deploy the model again",
            )
        finite = finite and bool(np.isfinite(np.asarray(value, np.float64)).all())
        largest = max(largest, _difference(reference, value))
    return Agreement(difference=largest, same_top=_same_top(expected, found), finite=finite)


def _difference(reference: NDArray[Any], value: NDArray[Any]) -> float:
    if not reference.size:
        return 0.0
    scale = float(np.abs(reference.astype(np.float64)).max()) or 1.0
    return float(np.abs(reference.astype(np.float64) - value.astype(np.float64)).max()) / scale


def _same_top(expected: Arrays, found: Arrays) -> float | None:
    name = next(iter(expected))
    if expected[name].ndim != 2 or expected[name].shape[1] < 2:
        return None
    return float(np.mean(expected[name].argmax(axis=1) == found[name].argmax(axis=1)))
