"""What goes into a model when no data set does: drawn from a seed, or read from an .npz."""

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import DataError, PrecbenchError, UsageError
from precbench.files import DAMAGED_ZIP
from precbench.nearest import nearest
from precbench.runtime.tensors import TensorSpec, check_names, check_shape, dtype_name

MAX_INPUT_BYTES = 8 << 30
_SUGGESTED_SIZE = 224


def seeded_inputs(
    specs: Sequence[TensorSpec], *, seed: int, batch: int, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, NDArray[Any]]:
    """Draw one array per input; the same arguments give the same arrays, bit for bit.

    Floats are standard normal, drawn in float64 and rounded to the type; bool and the integers are 0 or 1, which fits
    masks, token types and every vocabulary; uint8 are 0..255, as in images.

    Args:
        specs: the model's inputs.
        seed: at least 0.
        batch: size of a first dimension that the model leaves open, at least 1.
        shapes: input name -> its whole shape; needed where another dimension is left open. A symbol that one shape
            fixes is fixed for the other inputs too.

    Raises:
        UsageError: a shape is missing, does not fit, or is out of range; or an input is of strings.
    """
    return {
        spec.name: _draw(np.random.default_rng([seed, index]), spec, shape)
        for index, (spec, shape) in enumerate(_resolved(specs, seed=seed, batch=batch, shapes=shapes or {}))
    }


def input_recipe(
    specs: Sequence[TensorSpec], *, seed: int, batch: int, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, Any]:
    """Return what `seeded_inputs` draws with the same arguments, as strict JSON for the record.

    Raises:
        UsageError: see `seeded_inputs`.
    """
    return {
        "kind": "seeded",
        "seed": seed,
        "batch": batch,
        "inputs": {
            spec.name: {"dtype": dtype_name(spec), "shape": list(shape), "distribution": _distribution(spec)}
            for spec, shape in _resolved(specs, seed=seed, batch=batch, shapes=shapes or {})
        },
    }


def fixed_batch(specs: Sequence[TensorSpec]) -> int | None:
    """Return the batch size that the model fixes for all its inputs, or None where it leaves one open."""
    firsts = {spec.shape[0] for spec in specs if spec.shape}
    only = firsts.pop() if len(firsts) == 1 else None
    return only if isinstance(only, int) else None


def load_inputs(path: Path, specs: Sequence[TensorSpec], *, any_batch: bool = False) -> dict[str, NDArray[Any]]:
    """Read one array per input from an .npz; nothing in the file is executed. `fit_inputs` says what fits.

    Raises:
        DataError: the file is missing, damaged, holds Python objects, or its names, types or shapes do not fit.
    """
    return fit_inputs(read_arrays(path), specs, source=path, any_batch=any_batch)


def fit_inputs(
    arrays: Mapping[str, NDArray[Any]], specs: Sequence[TensorSpec], *, source: Path, any_batch: bool = False
) -> dict[str, NDArray[Any]]:
    """Return one array per input, of the type that the model declares.

    Where the model has one input and there is one array, the names need not match. Types are converted where no value
    can change (uint8 to float32, not float64 to float32).

    Args:
        arrays: name to array.
        specs: the model's inputs.
        source: the file that an error names.
        any_batch: let the first dimension be any size, also where the model fixes it (for `predict`).

    Raises:
        DataError: names, types or shapes do not fit.
    """
    if len(specs) == 1 and len(arrays) == 1:
        arrays = {specs[0].name: next(iter(arrays.values()))}
    try:
        check_names(arrays, specs)
        return {spec.name: _fitted(arrays[spec.name], spec, any_batch=any_batch) for spec in specs}
    except DataError as error:
        raise DataError(f"{source}: {error.problem}", error.remedy) from error


def read_arrays(path: Path, *, most_bytes: int | None = None) -> dict[str, NDArray[Any]]:
    """Read every array of an .npz; nothing in the file is executed.

    Args:
        path: of the file.
        most_bytes: that its arrays may take together, unpacked; None for a file of the user's own.

    Raises:
        DataError: the file is missing, damaged, too large, or holds Python objects.
    """
    if not path.is_file():
        raise DataError(f"there is no input file {path}", "give an .npz with one array per input")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is no .npz", "save the inputs with numpy.savez(path, name=array, …)")
            _check_bytes(archive, path, most_bytes)
            return {name: np.asarray(archive[name]) for name in archive.files}
    except PrecbenchError:
        raise
    except ValueError as error:
        if "allow_pickle" not in str(error) and "pickled" not in str(error):
            raise _damaged(path, error) from error
        if _has_magic(path):
            raise DataError(
                f"{path} holds Python objects, which are not loaded: they can run code",
                "save plain arrays with numpy.savez",
            ) from error
        raise DataError(
            f"{path} is no .npz; if it is a pickle, it is not loaded: that can run code",
            "save the inputs with numpy.savez(path, name=array, …)",
        ) from error
    except (*DAMAGED_ZIP, SyntaxError, AttributeError, TypeError, MemoryError) as error:
        raise _damaged(path, error) from error


def _check_bytes(archive: np.lib.npyio.NpzFile, path: Path, most_bytes: int | None) -> None:
    """By the archive's own list, beyond which nothing of a member is read."""
    unpacked = 0 if archive.zip is None else sum(member.file_size for member in archive.zip.infolist())
    if most_bytes is not None and unpacked > most_bytes:
        raise DataError(f"{path} takes {unpacked:,} bytes unpacked, more than {most_bytes:,}", "give a smaller file")


def _has_magic(path: Path) -> bool:
    """Whether it begins as NumPy's files do; all else NumPy takes for a pickle."""
    with path.open("rb") as stream:
        return stream.read(6).startswith((b"PK", b"\x93NUMPY"))


def _damaged(path: Path, error: BaseException) -> DataError:
    return DataError(
        f"{path} is no .npz, or a damaged one ({type(error).__name__}: {error})",
        "save the inputs again with numpy.savez(path, name=array, …)",
    )


def _fitted(array: NDArray[Any], spec: TensorSpec, *, any_batch: bool) -> NDArray[Any]:
    wanted = dtype_name(spec)
    fits = array.dtype.kind == "U" if spec.is_string else np.can_cast(array.dtype, spec.dtype, casting="safe")
    if not fits:
        raise DataError(
            f"the input {spec.name!r} got {array.dtype}, which does not convert to {wanted} without loss",
            f"save it with .astype({wanted!r})",
        )
    check_shape(array, spec, any_batch=any_batch)
    return np.ascontiguousarray(array if spec.is_string else array.astype(spec.dtype))


def _resolved(
    specs: Sequence[TensorSpec], *, seed: int, batch: int, shapes: Mapping[str, tuple[int, ...]]
) -> list[tuple[TensorSpec, tuple[int, ...]]]:
    if seed < 0 or batch < 1:
        raise UsageError(f"the seed {seed} or the batch {batch} is out of range", "give a seed from 0, a batch from 1")
    by_name = {spec.name: spec for spec in specs}
    for name in shapes:
        if name not in by_name:
            raise UsageError(f"--shape names {name!r}, which is no input of the model", nearest(name, by_name))
    symbols = _symbols(by_name, batch, shapes)
    resolved = [(spec, shapes.get(spec.name) or _shape(spec, batch, symbols)) for spec in specs]
    _check_size(resolved)
    return resolved


def _symbols(by_name: Mapping[str, TensorSpec], batch: int, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    symbols: dict[str, int] = {}
    for name, shape in shapes.items():
        _check_given(by_name[name], shape)
        for wanted, size in zip(by_name[name].shape, shape, strict=False):
            if isinstance(wanted, str) and symbols.setdefault(wanted, size) != size:
                raise UsageError(
                    f"--shape gives {wanted!r} the sizes {symbols[wanted]} and {size}",
                    f"give {wanted!r} one size in all shapes",
                )
    for spec in by_name.values():
        if spec.shape and isinstance(spec.shape[0], str):
            symbols.setdefault(spec.shape[0], batch)
    return symbols


def _check_given(spec: TensorSpec, shape: tuple[int, ...]) -> None:
    if any(size < 1 for size in shape):
        raise UsageError(f"--shape {_typed(spec.name, shape)} has a size below 1", "give sizes from 1")
    try:
        check_shape(np.broadcast_to(np.empty((), dtype=np.bool_), shape), spec)
    except DataError as error:
        raise UsageError(
            f"--shape {_typed(spec.name, shape)} does not fit: the model wants {spec.describe()}",
            "keep the rank and the sizes that are numbers",
        ) from error
    except ValueError as error:
        raise UsageError(f"--shape {_typed(spec.name, shape)} is out of range", "give a smaller shape") from error


def _shape(spec: TensorSpec, batch: int, symbols: Mapping[str, int]) -> tuple[int, ...]:
    sizes: list[int | None] = []
    for position, size in enumerate(spec.shape):
        if isinstance(size, int):
            sizes.append(size)
        elif size is not None and size in symbols:
            sizes.append(symbols[size])
        else:
            sizes.append(batch if position == 0 else None)
    if any(size is None for size in sizes):
        example = _typed(spec.name, tuple(_SUGGESTED_SIZE if size is None else size for size in sizes))
        raise UsageError(
            f"the input {spec.name!r} has the shape {spec.describe()}: its sizes are not all known",
            f"add --shape {example}, with your sizes where {_SUGGESTED_SIZE} stands",
        )
    return tuple(size for size in sizes if size is not None)


def _check_size(resolved: Sequence[tuple[TensorSpec, tuple[int, ...]]]) -> None:
    for spec, shape in resolved:
        if any(size < 1 for size in shape):
            raise UsageError(
                f"the model fixes the input {spec.name!r} to {spec.describe()}, which holds nothing",
                "export the model with sizes from 1",
            )
        if prod(shape) * max(8, spec.dtype.itemsize) > MAX_INPUT_BYTES:
            raise UsageError(
                f"the input {_typed(spec.name, shape)} would take more than {MAX_INPUT_BYTES >> 30} GiB",
                "give a smaller --shape or --batch",
            )


def _typed(name: str, shape: tuple[int, ...]) -> str:
    return f"{name}={'x'.join(str(size) for size in shape)}"


def _distribution(spec: TensorSpec) -> str:
    if spec.dtype.kind == "f":
        return "standard normal"
    return "uniform integers 0..255" if spec.dtype == np.uint8 else "uniform integers 0..1"


def _draw(generator: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...]) -> NDArray[Any]:
    if spec.is_string:
        raise UsageError(
            f"the input {spec.name!r} is of strings, for which nothing sensible can be drawn",
            "give the inputs with --input FILE.npz",
        )
    if spec.dtype.kind == "f":
        return np.asarray(generator.standard_normal(shape)).astype(spec.dtype)
    top = 256 if spec.dtype == np.uint8 else 2
    return np.asarray(generator.integers(0, top, size=shape)).astype(spec.dtype)
