"""Integers times a step that is fitted to the largest magnitude, per tensor or per channel."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import UsageError
from precbench.grids.grid import FittedGrid, Grid, check_bits
from precbench.grids.table import Table, TableGrid, midway

_LARGEST_STEP = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class ScaledIntegers(TableGrid):
    """Integers from -(2^(b-1) - 1) to 2^(b-1) - 1 times a step. Ties go to even, beyond is cut off.

    Args:
        bits_wide: b.
        step: a float32, so that the products with the integers are exact in float64.
    """

    bits_wide: int
    step: float

    def __str__(self) -> str:
        """Return `int:b x step`."""
        return f"int:{self.bits_wide}x{self.step!r}"

    def table(self) -> Table:
        """Return the points."""
        limit = (1 << (self.bits_wide - 1)) - 1
        codes = np.arange(-limit, limit + 1, dtype=np.int64)
        points = codes.astype(np.float64) * np.float64(self.step)
        return Table(points=points, borders=midway(points), upward=codes[1:] % 2 == 0, codes=codes, bits=self.bits_wide)


@dataclass(frozen=True, slots=True)
class ScaledIntegersPerChannel(Grid):
    """Integers with a step of its own for each channel.

    Args:
        bits_wide: b.
        steps: float32 of each channel.
        channel_axis: of the tensor.
    """

    bits_wide: int
    steps: tuple[float, ...] = field(repr=False)
    channel_axis: int

    def __str__(self) -> str:
        """Return `int:b:channel`, with how many there are."""
        return f"int:{self.bits_wide}:channel[{len(self.steps)}]"

    def nearest(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the nearest points, channel by channel."""
        result = np.array(values, order="C")
        rows, back = np.moveaxis(values, self.channel_axis, 0), np.moveaxis(result, self.channel_axis, 0)
        for row, out, step in zip(rows, back, self.steps, strict=True):
            out[...] = ScaledIntegers(self.bits_wide, step).nearest(row)
        return result

    def codes(self, values: NDArray[Any]) -> NDArray[np.int64] | str:
        """Return the integers; that of a channel times its step is the value."""
        if not self.holds(values):
            return f"not on the grid {self}"
        result = np.empty(values.shape, np.int64)
        rows, back = np.moveaxis(values, self.channel_axis, 0), np.moveaxis(result, self.channel_axis, 0)
        for row, out, step in zip(rows, back, self.steps, strict=True):
            out[...] = ScaledIntegers(self.bits_wide, step).codes(row)
        return result

    def bits(self, values: NDArray[Any]) -> int:
        """Return b."""
        del values
        return self.bits_wide


@dataclass(frozen=True, slots=True)
class FittedIntegers(FittedGrid):
    """Integers of b bits, symmetric, times the step at which the largest magnitude gets the largest of them.

    The weight grid of WAGE (S. Wu et al., "Training and Inference with Integers in Deep Neural Networks", ICLR 2018)
    has these integers with the step 2^(1-b) and a power of two per layer. This is not WAGE: there gradients, errors and
    activations are integers too, in training as well, and batch normalisation is left out; here trained weights are
    rounded, and the step is any float32.

    Args:
        bits_wide: b, 2 to 16.
        per_channel: whether each output channel has a step of its own.
    """

    bits_wide: int
    per_channel: bool = False

    def __post_init__(self) -> None:
        """Check the range."""
        check_bits(self.bits_wide, "int:", 2, 16)

    def __str__(self) -> str:
        """Return `int:b` or `int:b:channel`."""
        return f"int:{self.bits_wide}" + (":channel" if self.per_channel else "")

    def fitted(self, values: NDArray[Any], channel_axis: int | None = None) -> Grid:
        """Return the grid with the steps of these values.

        Raises:
            UsageError: per channel, of a tensor whose channels are not known.
        """
        wide = np.abs(np.asarray(values, np.float64))
        if not self.per_channel:
            return ScaledIntegers(self.bits_wide, self._step(float(wide.max(initial=0.0))))
        if channel_axis is None:
            raise UsageError(
                f"{self} has a step per output channel, and which axis of the tensor these are is not known",
                f"round it to int:{self.bits_wide}, or choose the weights of Conv, Gemm and MatMul",
            )
        axes = tuple(axis for axis in range(wide.ndim) if axis != channel_axis % wide.ndim)
        steps = tuple(self._step(float(top)) for top in wide.max(axis=axes, initial=0.0))
        return ScaledIntegersPerChannel(self.bits_wide, steps, channel_axis)

    def _step(self, largest: float) -> float:
        """The float32 at or above the quotient, so that the largest magnitude is not cut off; of zeros alone, 1."""
        exact = largest / ((1 << (self.bits_wide - 1)) - 1)
        if exact > _LARGEST_STEP:
            raise UsageError(
                f"{self} of a tensor that reaches {largest:.3g} has a step beyond float32", "scale it down"
            )
        near = np.float32(exact)
        if float(near) < exact:
            near = np.nextafter(near, np.float32(np.inf))
        return float(near) or 1.0
