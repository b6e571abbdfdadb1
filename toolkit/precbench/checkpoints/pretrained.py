"""ImageNet weights into a network without its top, from a stranger's file: all of them or none."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.checkpoints.checkpoint_variables import read_variables
from precbench.checkpoints.weights_file import WeightsFile, open_for_reading, open_weights
from precbench.errors import ModelError, printable

_REMEDY = "give the weights without top of this architecture and alpha, or build the network that the file is of"
_WITHOUT_TOP = "give the file without top, whose name has no_top or notop in it"
_NUMBERS = "fiu"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """A layer that has weights; `variables` are names with shapes in Keras's order, `paths` where a file has them."""

    name: str
    variables: tuple[tuple[str, tuple[int, ...]], ...]
    paths: tuple[str, ...] = ()

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(shape for _, shape in self.variables)

    def __str__(self) -> str:
        parts = [f"{name} {'x'.join(map(str, shape)) or 'one number'}" for name, shape in self.variables]
        return printable(f"{self.name} ({', '.join(parts)})")


def load_pretrained(network: Any, path: Path, *, description: str) -> None:
    """Give a network the weights that a file holds.

    The law: every weight of the network is the file's afterwards, or, where an error is raised, none is. Layers are
    matched by name where file and network have the same names, else in their order, as Keras does for its older HDF5
    layout (names such as `conv2d_17` depend on what was built before).

    Args:
        network: a built Keras model, without its top.
        path: HDF5 in Keras's older layout (that of the published ImageNet weights), `.weights.h5` or `.keras`.
        description: of the network, for messages: "MobileNetV2 with alpha 1.0".

    Raises:
        ModelError: the file is missing, damaged or no Keras file, or its layers are not the network's, or a value is
            not finite.
    """
    owners = [layer for layer in network.layers if _weights(layer)]
    with open_weights(path) as weights:
        matched = _match(path, _in_file(weights), [_of_network(layer) for layer in owners], description)
        with open_for_reading(weights) as file:
            values = [[_read(file, path, name) for name in layer.paths] for layer in matched]
    for owner, arrays in zip(owners, values, strict=True):
        for variable, array in zip(_weights(owner), arrays, strict=True):
            variable.assign(array)


def _match(path: Path, found: Sequence[_Layer], wanted: Sequence[_Layer], description: str) -> list[_Layer]:
    """Return the file's layers in the network's order, after all shapes were compared."""
    by_name = {layer.name: layer for layer in found}
    same_names = by_name.keys() == {layer.name for layer in wanted}
    ordered = [by_name[layer.name] for layer in wanted] if same_names else list(found)
    pairs = list(zip_longest(ordered, wanted))
    difference = next((pair for pair in pairs if None in pair or pair[0].shapes != pair[1].shapes), None)
    if difference is None:
        return ordered
    theirs, ours = (layer or "no further layer" for layer in difference)
    counts = f"both have {len(wanted)}" if len(found) == len(wanted) else f"{len(found)} and {len(wanted)}"
    raise ModelError(
        f"the weights {path} are not of {description} without its top ({counts} layers with weights): "
        f"the file has {theirs}, the network {ours}",
        _WITHOUT_TOP if difference[1] is None else _REMEDY,
    )


def _in_file(weights: WeightsFile) -> list[_Layer]:
    layers: dict[str, list[Any]] = {}
    for variable in read_variables(weights):
        layers.setdefault(variable.layer, []).append(variable)
    return [
        _Layer(
            name=name,
            variables=tuple((each.name.rpartition("/")[2], each.shape) for each in variables),
            paths=tuple(each.dataset_path for each in variables),
        )
        for name, variables in layers.items()
    ]


def _of_network(layer: Any) -> _Layer:
    return _Layer(name=layer.name, variables=tuple((each.name, tuple(each.shape)) for each in _weights(layer)))


def _weights(layer: Any) -> list[Any]:
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _read(file: Any, path: Path, name: str) -> NDArray[Any]:
    values: NDArray[Any] = file[name][()]
    if values.dtype.kind not in _NUMBERS:
        raise ModelError(
            f"{printable(name)} in the weights {path} is of type {values.dtype}, no number", "give another file"
        )
    bad = int(values.size - np.count_nonzero(np.isfinite(values)))
    if bad:
        raise ModelError(
            f"{printable(name)} in the weights {path} holds {bad:,} NaN or infinite values of {values.size:,}",
            "copy the file again, or give another",
        )
    return values
