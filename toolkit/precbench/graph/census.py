"""Count what a model's initializers hold: range, distinct values, zeros, subnormals, decimals needed."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.graph.initializers import Initializer, list_initializers
from precbench.graph.model import OnnxModel
from precbench.grids import decimals_needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a set of numbers holds.

    Attributes:
        minimum, maximum: over the finite values; None where there is none.
        distinct: how many different finite values; 0 and -0 are one.
        zeros, subnormals, non_finite: how many elements are zero, subnormal in their own type, NaN or infinite.
        decimals_needed: the fewest decimals, 0 to 12, that hold every value exactly; None where 12 do not, or where
            the values are not finite.
    """

    elements: int
    minimum: float | None
    maximum: float | None
    distinct: int
    zeros: int
    subnormals: int
    non_finite: int
    decimals_needed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CensusRow:
    """One initializer with its counts; None where its type has no numbers to count (strings, complex, under 8 bits)."""

    initializer: Initializer
    counts: Counts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """Counts per initializer, in the model's order, per group, and over all that are in a group or are weights."""

    rows: tuple[CensusRow, ...]
    groups: dict[str, Counts]
    total: Counts


def take_census(model: OnnxModel, names: Collection[str] | None = None) -> Census:
    """Count the initializers of a model, one in memory at a time.

    Args:
        model: with external data or without.
        names: count only these; None counts all. Totals are over the floating-point ones among them.
    """
    rows: list[CensusRow] = []
    groups: dict[str, _Tally] = {}
    total = _Tally()
    held_tensors = {held.position: held for held in model.tensors()}
    for initializer in list_initializers(model):
        if names is not None and initializer.name not in names:
            continue
        values = model.values(held_tensors[initializer.position])
        tally = _Tally.of(values) if _is_countable(values) else None
        rows.append(CensusRow(initializer=initializer, counts=tally.counts() if tally else None))
        if tally is not None and np.issubdtype(values.dtype, np.floating):
            total.add(tally)
            groups.setdefault(initializer.group or "-", _Tally()).add(tally)
    return Census(rows=tuple(rows), groups={name: t.counts() for name, t in groups.items()}, total=total.counts())


def count_subnormals(model: OnnxModel) -> int:
    """Count the subnormal numbers among the floating-point constants of a model, one tensor in memory at a time."""
    arrays = (model.values(held) for held in model.tensors())
    return sum(_subnormals(array) for array in arrays if np.issubdtype(array.dtype, np.floating))


class _Tally:
    """Counts that can be added up; distinct values do not add up by number, so they are kept until they are counted."""

    def __init__(self) -> None:
        self.elements = self.zeros = self.subnormals = self.non_finite = 0
        self.distinct: list[NDArray[Any]] = []
        self.decimals: int | None = 0

    @classmethod
    def of(cls, values: NDArray[Any]) -> "_Tally":
        tally = cls()
        flat = values.reshape(-1)
        finite = flat[np.isfinite(flat)]
        tally.elements, tally.non_finite = flat.size, flat.size - finite.size
        tally.zeros = int(np.count_nonzero(finite == 0))
        distinct = np.unique(finite)
        tally.distinct = [distinct]
        if np.issubdtype(flat.dtype, np.floating):
            tally.subnormals = _subnormals(finite)
            tally.decimals = decimals_needed(distinct) if tally.non_finite == 0 else None
        return tally

    def add(self, other: "_Tally") -> None:
        self.elements += other.elements
        self.zeros += other.zeros
        self.subnormals += other.subnormals
        self.non_finite += other.non_finite
        self.distinct += other.distinct
        both = self.decimals is not None and other.decimals is not None
        self.decimals = max(self.decimals or 0, other.decimals or 0) if both else None

    def counts(self) -> Counts:
        distinct = np.unique(np.concatenate(self.distinct)) if self.distinct else np.empty(0)
        return Counts(
            elements=self.elements,
            minimum=float(distinct[0]) if distinct.size else None,
            maximum=float(distinct[-1]) if distinct.size else None,
            distinct=int(distinct.size),
            zeros=self.zeros,
            subnormals=self.subnormals,
            non_finite=self.non_finite,
            decimals_needed=self.decimals,
        )


def _subnormals(values: NDArray[Any]) -> int:
    magnitude = np.abs(values)
    return int(np.count_nonzero((magnitude > 0) & (magnitude < np.finfo(values.dtype).tiny)))


def _is_countable(values: NDArray[Any]) -> bool:
    kinds: Iterable[Any] = (np.floating, np.integer, np.bool_)
    return any(np.issubdtype(values.dtype, kind) for kind in kinds)
