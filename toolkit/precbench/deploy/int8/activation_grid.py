"""The eight bits of an activation: a scale and a zero point."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 255
_SMALLEST_SCALE = 1e-9  # of a tensor that is zero on all data


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationGrid:
    """uint8 codes q that stand for (q - zero_point) x scale.

    Args:
        scale: float32, positive.
        zero_point: 0..255; zero is exact.
    """

    scale: float
    zero_point: int

    @classmethod
    def over(cls, low: float, high: float) -> "ActivationGrid":
        """Return the grid from `low` (0 or below) to `high` (0 or above)."""
        scale = np.float32(max((high - low) / LEVELS, _SMALLEST_SCALE))
        return cls(scale=float(scale), zero_point=int(np.clip(np.rint(-low / float(scale)), 0, LEVELS)))

    def round(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return what QuantizeLinear and DequantizeLinear make of values: nearest level, ties to even, saturating."""
        codes: NDArray[np.float32] = np.rint(np.asarray(values, np.float32) / np.float32(self.scale))
        codes += np.float32(self.zero_point)
        np.clip(codes, 0, LEVELS, out=codes)
        codes -= np.float32(self.zero_point)
        codes *= np.float32(self.scale)
        return codes
