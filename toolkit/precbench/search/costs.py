"""What a layer takes at each number of decimals: bytes packed and compressed, or bits."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import UsageError
from precbench.grids import DecimalGrid, integer_type_bits
from precbench.nearest import nearest
from precbench.study.compression import compressed_size


class Objective(StrEnum):
    """What a plan has few of."""

    BYTES = "bytes"
    BITS = "bits"


def parse_objective(text: str) -> Objective:
    """Read `bytes` or `bits`.

    Raises:
        UsageError: it is neither.
    """
    try:
        return Objective(text)
    except ValueError as error:
        raise UsageError(
            f"there is no objective {text!r}", f"{nearest(text, [*Objective])}; give bytes or bits"
        ) from error


def layer_cost(tensors: Sequence[NDArray[Any]], decimals: int, objective: Objective) -> float:
    """Return what a layer's weights take on a decimal grid.

    Bytes: the integer codes in the smallest type of 8, 16 or 32 bits that holds them, compressed. Bits: so many as the
    codes need, all of a tensor alike. A tensor that has no codes (too many decimals) counts as it is.

    Args:
        tensors: of the layer, full precision.
        decimals: N.
        objective: which of them.
    """
    total = 0.0
    for values in tensors:
        grid = DecimalGrid(decimals)
        rounded = grid.nearest(values)
        codes = grid.codes(rounded) if values.dtype == np.float32 else "not float32"
        if isinstance(codes, str):
            total += compressed_size(rounded.tobytes()) if objective is Objective.BYTES else 8.0 * rounded.nbytes
        elif objective is Objective.BYTES:
            width = max(8, integer_type_bits(codes))
            total += compressed_size(codes.astype(f"<i{width // 8}").tobytes())
        else:
            bits = grid.bits(rounded)
            total += float(values.size * (bits or 0))
    return total
