"""Grids of so many points that they can be listed."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.grids.grid import Grid, finite_float64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """The points of a grid, and where values begin to belong to the next.

    Args:
        points: float64 [n], ascending, each of them exact.
        borders: float64 [n - 1], exact: values between two of them belong to the point there.
        upward: bool [n - 1], whether a value on a border belongs to the point above it.
        codes: int64 [n], of the points.
        bits: of a code.
    """

    points: NDArray[np.float64]
    borders: NDArray[np.float64]
    upward: NDArray[np.bool_]
    codes: NDArray[np.int64]
    bits: int


def midway(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what lies halfway between neighbours; exact where half their sum is a float64."""
    return points[:-1] / 2 + points[1:] / 2


class TableGrid(Grid):
    """A grid whose points are listed. What lies beyond the first or the last point becomes that point."""

    @abstractmethod
    def table(self) -> Table:
        """Return the points."""

    def nearest(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return each value's nearest point, by the table's borders; the largest float where a point is beyond it."""
        table, largest = self.table(), np.finfo(values.dtype).max
        return table.points[_places(table, values)].clip(-float(largest), float(largest)).astype(values.dtype)

    def codes(self, values: NDArray[Any]) -> NDArray[np.int64] | str:
        """Return the codes of the points; or that a value is none of them."""
        if not self.holds(values):
            return f"not on the grid {self}"
        table = self.table()
        return table.codes[_places(table, values)]

    def bits(self, values: NDArray[Any]) -> int:
        """Return the width of the grid's codes, whatever the values."""
        del values
        return self.table().bits


def _places(table: Table, values: NDArray[Any]) -> NDArray[np.intp]:
    wide = finite_float64(values)
    places = np.searchsorted(table.borders, wide)  # on a border: the point below it
    inside = places < len(table.borders)
    at = np.where(inside, places, 0)
    places = places + (inside & (table.borders[at] == wide) & table.upward[at])
    found: NDArray[np.intp] = places.reshape(values.shape)
    return found
