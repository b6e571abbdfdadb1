"""A form beside the model that it was made from, on a few inputs: what is wrong at first sight is not shipped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.bench.sessions import open_model
from precbench.deploy.forms import Form, Made
from precbench.errors import ModelError
from precbench.runtime import SessionSettings


def check_likeness(made: Made, source: Path, feeds: Mapping[str, NDArray[Any]]) -> None:
    """Run both on the CPU; refuse a form that gives NaN or infinity for numbers, or a packed one that differs.

    Args:
        made: a form.
        source: the model that it was made from.
        feeds: one array per input.

    Raises:
        ModelError: the form cannot be used.
    """
    expected, found = (open_model(path, SessionSettings()).run(feeds) for path in (source, made.path))
    for name, reference in expected.items():
        if np.any(_not_finite(found[name]) & ~_not_finite(reference)):
            raise ModelError(
                f"in the {made.form} form the output {name!r} is not finite where it was a number",
                "deploy the model in another form",
            )
        if made.form is Form.PACKED and not np.array_equal(reference, found[name], equal_nan=_is_float(reference)):
            raise ModelError(
                f"the packed model's output {name!r} is not the model's own, which is a bug of precbench or of the "
                "installed ONNX Runtime",
                "report it with the model, and deploy another form",
            )


def _is_float(array: NDArray[Any]) -> bool:
    return bool(np.issubdtype(array.dtype, np.inexact))


def _not_finite(array: NDArray[Any]) -> NDArray[np.bool_]:
    return ~np.isfinite(array) if _is_float(array) else np.zeros(array.shape, np.bool_)
