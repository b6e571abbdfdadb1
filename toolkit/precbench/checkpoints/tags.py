"""Tags: stand-in values that tell, after a conversion, which Keras variable an initializer came from and how it lies.

During a conversion every variable holds, in place of its values, the running numbers of its elements, as the bits of
float32 values. Whatever the converter permutes, reshapes or copies can be read off exactly afterwards; whatever it
multiplies or adds can no longer be read, and is noticed. Equal values (two fresh biases, all zeros) cannot be
mistaken for one another, and no optimisation can depend on the values.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FIRST_TAG = 1
LAST_TAG = 0x2000_0000  # 2 GiB of float32 elements; as a float32 about 1e-19


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedVariable:
    """A variable of a given shape whose elements carry the tags `first` … `first + size - 1`, in C order."""

    index: int
    shape: tuple[int, ...]
    first: int

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def values(self) -> NDArray[np.float32]:
        """Return the tags as float32, in the variable's shape."""
        return np.arange(self.first, self.first + self.size, dtype=np.uint32).view(np.float32).reshape(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How an array lies in terms of a variable: `np.transpose(variable, permutation).reshape(shape)` is the array."""

    index: int
    permutation: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def unchanged(self) -> bool:
        """Whether no axis moved (the shape may still differ)."""
        return self.permutation == tuple(range(len(self.permutation)))


def tag_variables(shapes: Sequence[tuple[int, ...]]) -> list[TaggedVariable]:
    """Give every element of every variable a tag of its own.

    Raises:
        ValueError: there are more elements than tags.
    """
    sizes = [int(np.prod(shape, dtype=np.int64)) for shape in shapes]
    firsts = np.cumsum([FIRST_TAG, *sizes])
    if firsts[-1] > LAST_TAG:
        raise ValueError(f"{sum(sizes)} elements, at most {LAST_TAG - FIRST_TAG} can be tagged")
    return [
        TaggedVariable(index=index, shape=shape, first=int(first))
        for index, (shape, first) in enumerate(zip(shapes, firsts, strict=False))
    ]


def is_tagged(values: NDArray[np.generic], variables: Sequence[TaggedVariable]) -> bool:
    """Whether an array holds nothing but tags of one variable, some or all of them."""
    if values.dtype != np.float32 or not values.size:
        return False
    tags = np.ascontiguousarray(values).reshape(-1).view(np.uint32)
    variable = _owner(int(tags[0]), variables)
    return variable is not None and bool(tags.min() >= variable.first and tags.max() < variable.first + variable.size)


def read_layout(values: NDArray[np.generic], variables: Sequence[TaggedVariable]) -> Layout | None:
    """Return how `values` lies in terms of the variable that its tags name; None where it is not a layout of one.

    Args:
        values: an initializer as the conversion left it.
        variables: as `tag_variables` gave them, in order.
    """
    if values.dtype != np.float32 or not values.size:
        return None
    tags = np.ascontiguousarray(values).reshape(-1).view(np.uint32)
    variable = _owner(int(tags[0]), variables)
    if variable is None or tags[0] != variable.first or tags.size != variable.size:
        return None
    permutation = _find_permutation(tags - np.uint32(variable.first), variable.shape, values.shape)
    return None if permutation is None else Layout(index=variable.index, permutation=permutation, shape=values.shape)


def _owner(tag: int, variables: Sequence[TaggedVariable]) -> TaggedVariable | None:
    low, high = 0, len(variables)
    while low < high:
        middle = (low + high) // 2
        if variables[middle].first <= tag:
            low = middle + 1
        else:
            high = middle
    candidate = variables[low - 1] if low else None
    return candidate if candidate is not None and tag < candidate.first + candidate.size else None


def _find_permutation(
    numbers: NDArray[np.uint32], source: tuple[int, ...], target: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Find the permutation that needs no reshape where there is one, else the first in lexicographic order."""
    if numbers.size == 1:
        return tuple(range(len(source)))
    ordered = np.arange(numbers.size, dtype=np.uint32).reshape(source)
    orders = itertools.permutations(range(len(source)))
    ranked = sorted(orders, key=lambda order: tuple(source[axis] for axis in order) != target)
    return next((order for order in ranked if _same_order(np.transpose(ordered, order), numbers)), None)


def _same_order(candidate: NDArray[np.uint32], numbers: NDArray[np.uint32]) -> bool:
    picks = np.array([1, numbers.size // 3, numbers.size // 2])  # most wrong orders fall here, without a copy
    return bool(np.array_equal(candidate[np.unravel_index(picks, candidate.shape)], numbers[picks])) and bool(
        np.array_equal(candidate.reshape(-1), numbers)
    )
