"""What a number grid is: points, the nearest of them to each value, and how they are stored."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import UsageError


class Grid(ABC):
    """A set of numbers that rounded weights may take: a small immutable value, known by its text.

    A grid of one's own gives `__str__` and `nearest`; the rest follows, and may be given more cheaply. The laws: each
    result of `nearest` is the float, of the values' own type, nearest to the grid's nearest point by the grid's rule;
    so what is on the grid does not move, and the order of two values is never turned round.
    """

    @abstractmethod
    def __str__(self) -> str:
        """Return its text, such as `decimal:4`; two grids with one text are one grid."""

    @abstractmethod
    def nearest(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return each value's nearest point; a new array of the same type and shape.

        Args:
            values: float16, float32 or float64, any shape, finite. Not modified. A grid that is fitted to a tensor
                takes these for the tensor.
        """

    def fitted(self, values: NDArray[Any], channel_axis: int | None = None) -> "Grid":
        """Return the grid with all that depends on the tensor settled; itself where nothing does.

        Args:
            values: of the tensor, finite.
            channel_axis: of the tensor's output channels; None where it has none, or that is not known.
        """
        del values, channel_axis
        return self

    def shared(self, elements: Sequence[int]) -> "list[Grid]":
        """Return the grid of each of some tensors that are rounded together: this one, unless they share bits.

        Args:
            elements: of each tensor.
        """
        return [self] * len(elements)

    def codes(self, values: NDArray[Any]) -> NDArray[np.int64] | str:
        """Return integer codes of values on the grid, in their shape, equal for equal values; or why there are none."""
        if not self.holds(values):
            return f"not on the grid {self}"
        _, codes = np.unique(values.reshape(-1), return_inverse=True)
        return codes.astype(np.int64).reshape(values.shape)

    def bits(self, values: NDArray[Any]) -> int | None:
        """Return how many bits a stored code takes, all of one width, for values on the grid; None without codes."""
        codes = self.codes(values)
        return None if isinstance(codes, str) else bits_of(codes)

    def holds(self, values: NDArray[Any]) -> bool:
        """Return whether every value is on the grid: rounding moves none."""
        return bool(np.isfinite(values).all()) and bool(np.array_equal(self.nearest(values), values))


class FittedGrid(Grid):
    """A family of grids: which of them it is depends on the tensor. Rounding fits once, and rounds to what it found."""

    @abstractmethod
    def fitted(self, values: NDArray[Any], channel_axis: int | None = None) -> Grid:
        """Return the grid of the family that these values ask for; see `Grid.fitted`."""

    def nearest(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the nearest points of the grid fitted to these values."""
        return self.fitted(values).nearest(values)

    def codes(self, values: NDArray[Any]) -> NDArray[np.int64] | str:
        """Return codes on the grid fitted to these values, or why there are none."""
        return self.fitted(values).codes(values)

    def bits(self, values: NDArray[Any]) -> int | None:
        """Return the width of a code of the grid fitted to these values."""
        return self.fitted(values).bits(values)


def bits_of(codes: NDArray[np.int64]) -> int:
    """Return the fewest bits of two's complement that hold all codes; of codes that are never negative, unsigned.

    At least 1.
    """
    low, high = int(codes.min(initial=0)), int(codes.max(initial=0))
    return max(1, high.bit_length() if low >= 0 else 1 + max(high.bit_length(), (-low - 1).bit_length()))


def check_bits(bits: object, form: str, low: int, high: int) -> int:
    """Return a number of bits.

    Raises:
        UsageError: it is no whole number from `low` to `high`.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not low <= bits <= high:
        raise UsageError(f"{form}{bits} has {bits!r} bits", f"give a whole number of bits from {low} to {high}")
    return bits


def finite_float64(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return values as float64, in one dimension.

    Raises:
        ValueError: one is not finite.
    """
    wide = np.asarray(values, np.float64).reshape(-1)
    if not np.isfinite(wide).all():
        raise ValueError("a grid takes finite values only")
    return wide
