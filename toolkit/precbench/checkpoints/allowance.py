"""How much an architecture may allocate: little more than the weights that come with it can fill."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from precbench.errors import ModelError

_FACTOR, _FLOOR_BYTES = 16, 64 << 20  # HDF5 may hold its data compressed; small things are let pass
_ELEMENT_BYTES = 4


@contextmanager
def allowance(keras: Any, path: Path, weights_bytes: int) -> Iterator[None]:
    """Let layers make weights of at most 16 times the weights file, and 64 MiB, while the block runs.

    An architecture is a few hundred bytes of JSON, and may name layers that fill any memory before it turns out that
    its weights do not fit.

    Raises:
        ModelError: the layers ask for more.
    """
    limit = _FACTOR * weights_bytes + _FLOOR_BYTES
    asked = 0
    original = keras.Layer.add_weight

    def add_weight(self: Any, shape: Any = None, *arguments: Any, **options: Any) -> Any:
        nonlocal asked
        asked += _ELEMENT_BYTES * math.prod(int(n) for n in (shape or ()))
        if asked > limit:
            raise _too_much(path, asked, weights_bytes)
        return original(self, shape, *arguments, **options)

    keras.Layer.add_weight = add_weight
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # Keras wraps what a layer raises into errors of its own
        if asked > limit:
            raise _too_much(path, asked, weights_bytes) from error
        raise
    finally:
        keras.Layer.add_weight = original


def _too_much(path: Path, asked: int, weights_bytes: int) -> ModelError:
    return ModelError(
        f"{path} declares layers of {asked:,} bytes of weights or more; its weights file has {weights_bytes:,}",
        "give the weights that belong to this architecture",
    )
