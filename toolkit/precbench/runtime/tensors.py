"""What a model declares of its inputs and outputs, and whether an array fits it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import DataError, ModelError
from precbench.nearest import nearest

Shape = tuple[int | str | None, ...]

_DTYPES: Mapping[str, np.dtype[Any]] = {
    "float": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "double": np.dtype(np.float64),
    "bool": np.dtype(np.bool_),
    "string": np.dtype(np.str_),
    **{name: np.dtype(name) for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One declared input or output.

    Args:
        name: as in the model.
        dtype: NumPy's; `str` for ONNX strings.
        shape: a fixed size, a symbol ("batch"), or None per dimension. ONNX Runtime gives () both for a scalar and
            for a tensor of undeclared rank, so () does not constrain an array.
    """

    name: str
    dtype: np.dtype[Any]
    shape: Shape

    @property
    def is_string(self) -> bool:
        """Whether the elements are strings."""
        return self.dtype.kind == "U"

    def describe(self) -> str:
        """Return `[batch, 3, ?]`, as errors show a shape."""
        return f"[{', '.join('?' if size is None else str(size) for size in self.shape)}]"


def spec_from(name: str, onnx_type: str, shape: Sequence[int | str | None], *, what: str) -> TensorSpec:
    """Turn ONNX Runtime's words into a `TensorSpec`.

    Args:
        name: of the input or output.
        onnx_type: such as "tensor(float)".
        shape: as ONNX Runtime gives it.
        what: "input" or "output", for the error.

    Raises:
        ModelError: it is no tensor (a sequence, a map, an optional), or of a type that NumPy has not.
    """
    element = onnx_type.removeprefix("tensor(").removesuffix(")")
    if not onnx_type.startswith("tensor("):
        raise ModelError(
            f"the {what} {name!r} is a {onnx_type}, not a tensor",
            "export the model with plain tensors (scikit-learn's converter: the option zipmap=False)",
        )
    if element not in _DTYPES:
        raise ModelError(
            f"the {what} {name!r} has elements of the type {element}, which NumPy has not",
            "give the model float32 inputs and outputs and let it cast inside",
        )
    return TensorSpec(name=name, dtype=_DTYPES[element], shape=tuple(shape))


def check_feeds(feeds: Mapping[str, NDArray[Any]], specs: Sequence[TensorSpec]) -> None:
    """Refuse feeds that do not fit the declared inputs, before ONNX Runtime sees them.

    Raises:
        DataError: a name is unknown or missing, or an array's type, rank or a fixed size is another than declared;
            the message names the input, what it got and what it wants.
    """
    check_names(feeds, specs)
    for spec in specs:
        array = np.asarray(feeds[spec.name])
        _check_dtype(array, spec)
        check_shape(array, spec)


def check_names(names: Mapping[str, Any], specs: Sequence[TensorSpec]) -> None:
    """Refuse names that are not exactly the inputs'.

    Raises:
        DataError: one is unknown or missing.
    """
    wanted = [spec.name for spec in specs]
    for name in names:
        if name not in wanted:
            raise DataError(f"the model has no input {name!r}", nearest(str(name), wanted))
    missing = [name for name in wanted if name not in names]
    if missing:
        raise DataError(f"the input {missing[0]!r} is missing", f"give one array for each of {', '.join(wanted)}")


def check_shape(array: NDArray[Any], spec: TensorSpec, *, any_batch: bool = False) -> None:
    """Refuse a shape that does not fit; symbols and undeclared sizes take any.

    Args:
        array: to be fed.
        spec: what it is for.
        any_batch: let the first dimension be any size, also where the model fixes it.

    Raises:
        DataError: rank or a fixed size differs.
    """
    if not spec.shape:
        return
    start = 1 if any_batch else 0
    fits = array.ndim == len(spec.shape) and all(
        not isinstance(wanted, int) or wanted == got
        for got, wanted in zip(array.shape[start:], spec.shape[start:], strict=True)
    )
    if not fits:
        raise DataError(
            f"the input {spec.name!r} got the shape {list(array.shape)}, the model wants {spec.describe()}",
            "give an array of that shape; a name or ? stands for any size",
        )


def _check_dtype(array: NDArray[Any], spec: TensorSpec) -> None:
    fits = array.dtype.kind in "UO" if spec.is_string else array.dtype == spec.dtype
    if not fits:
        raise DataError(
            f"the input {spec.name!r} got {array.dtype}, the model wants {dtype_name(spec)}",
            f"convert the array, for example with .astype({dtype_name(spec)!r})",
        )


def dtype_name(spec: TensorSpec) -> str:
    """Return the element type's name as NumPy says it ("str" for strings)."""
    return "str" if spec.is_string else spec.dtype.name
