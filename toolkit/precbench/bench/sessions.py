"""Open a session of a stranger's model: checked by us before ONNX Runtime is given it."""

from pathlib import Path

from precbench.graph import check_finite, load_model
from precbench.runtime import Session, SessionSettings, open_session


def open_model(model: Path, settings: SessionSettings) -> Session:
    """Make a session of a model that passes `graph.load_model`'s checks and whose weights are finite.

    ONNX Runtime sorts unordered nodes itself, follows external data where it is told to, and computes with NaN; a file
    like that is damaged or hostile, and every command says so alike.

    Raises:
        ModelError: the model fails a check, or ONNX Runtime refuses it.
        ProviderError: the provider asked for cannot run it.
    """
    check_finite(load_model(model), model)
    return open_session(model, settings)
