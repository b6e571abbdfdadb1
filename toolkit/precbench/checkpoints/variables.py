"""The variables of a Keras model under names that are unique in the model."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedVariable:
    """A Keras variable: its path (`block_1_expand/kernel`), split into layer and variable, its shape and dtype."""

    path: str
    layer: str
    variable: str
    shape: tuple[int, ...]
    dtype: str
    keras: Any

    def values(self) -> NDArray[np.generic]:
        """Return the values, in Keras's own layout."""
        values: NDArray[np.generic] = self.keras.numpy()
        return values


def named_variables(model: Any) -> list[NamedVariable]:
    """Return the model's variables in the order of `model.variables`, each under a name of its own.

    A name is the variable's Keras path, without the model's own name where Keras puts that in front (it does so in a
    Sequential model). Where two variables share a path (two branches made from one architecture), the path gets the
    names of the models that the layer sits in put in front, and a number if that is not enough.
    """
    owners = _owner_paths(model)
    plain = [_without_root(variable.path, model) for variable in model.variables]
    shared = {path for path, count in Counter(plain).items() if count > 1}
    chosen = [
        owners.get(id(variable), path) if path in shared else path
        for variable, path in zip(model.variables, plain, strict=True)
    ]
    return [_named(path, variable) for path, variable in zip(_numbered(chosen), model.variables, strict=True)]


def _named(path: str, variable: Any) -> NamedVariable:
    layer, _, name = path.rpartition("/")
    return NamedVariable(
        path=path,
        layer=layer,
        variable=name,
        shape=tuple(int(n) for n in variable.shape),
        dtype=str(variable.dtype),
        keras=variable,
    )


def _without_root(path: str, model: Any) -> str:
    root = f"{model.name}/"
    names = {layer.name for layer in getattr(model, "layers", [])}
    return path.removeprefix(root) if model.name not in names else path


def _owner_paths(model: Any, prefix: str = "") -> dict[int, str]:
    """Map each variable's id to `<models that it sits in>/<its path>`."""
    found: dict[int, str] = {}
    for layer in getattr(model, "layers", []):
        if getattr(layer, "layers", None):
            found = {**_owner_paths(layer, f"{prefix}{layer.name}/"), **found}
        for variable in layer.variables:
            found.setdefault(id(variable), f"{prefix}{layer.name}/{variable.name}")
    return found


def _numbered(paths: list[str]) -> list[str]:
    counts: Counter[str] = Counter()
    taken = set(paths)
    numbered = []
    for path in paths:
        name = path
        while counts[path] and name in taken:
            name = f"{path}_{counts[path]}"
            if name not in taken:
                break
            counts[path] += 1
        counts[path] += 1
        taken.add(name)
        numbered.append(name)
    return numbered
