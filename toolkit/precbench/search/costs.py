"""What a layer takes on each grid: bytes packed and compressed, or bits."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import UsageError
from precbench.graph import Initializer, OnnxModel, list_initializers
from precbench.graph.rounding import fitted_grid
from precbench.grids import Grid, integer_type_bits
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


def layer_costs(
    model: OnnxModel, layers: Mapping[str, Sequence[str]], grids: Sequence[Grid], objective: Objective
) -> list[list[float]]:
    """Return of each layer what it takes on each grid.

    Args:
        model: full precision.
        layers: layer to its initializers.
        grids: the options.
        objective: what to count.

    Raises:
        UsageError: a grid has a step per output channel, and a tensor's channels are not known.
    """
    owner = {name: layer for layer, names in layers.items() for name in names}
    listed = {one.position: one for one in list_initializers(model) if one.name in owner}
    tensors: dict[str, list[tuple[Initializer, NDArray[Any]]]] = {layer: [] for layer in layers}
    for held in model.tensors():
        if held.position in listed:
            tensors[owner[held.name]].append((listed[held.position], model.values(held)))
    return [
        [sum(layer_cost([values], fitted_grid(one, values, grid), objective) for one, values in each) for grid in grids]
        for each in tensors.values()
    ]


def layer_cost(tensors: Sequence[NDArray[Any]], grid: Grid, objective: Objective) -> float:
    """Return what a layer's weights take on a grid.

    Bytes: the integer codes in the smallest type of 8, 16 or 32 bits that holds them, compressed. Bits: so many as the
    codes need, all of a tensor alike. A tensor that has no codes (too fine a grid) counts as it is.

    Args:
        tensors: of the layer, full precision; the grid is fitted to each.
        grid: fitted, where it is one per channel.
        objective: which of them.
    """
    total = 0.0
    for values in tensors:
        fitted = grid.fitted(values)
        rounded = fitted.nearest(values)
        codes = fitted.codes(rounded) if values.dtype == np.float32 else "not float32"
        if objective is Objective.BYTES:
            total += stored_bytes(rounded, codes)
        elif isinstance(codes, str):
            total += 8.0 * rounded.nbytes
        else:
            total += float(values.size * (fitted.bits(rounded) or 0))
    return total


def stored_bytes(rounded: NDArray[Any], codes: NDArray[np.int64] | str) -> int:
    """Return the bytes of codes in the smallest type of 8, 16 or 32 bits, compressed; without codes of the values."""
    if isinstance(codes, str):
        return compressed_size(rounded.tobytes())
    return compressed_size(codes.astype(f"<i{max(8, integer_type_bits(codes)) // 8}").tobytes())
