"""ONNX Runtime sessions that say what they run on, and the arrays that go in and come out.

Importing this imports no onnxruntime; opening a session does.
"""

from precbench.runtime.binding import BoundRun
from precbench.runtime.environment import environment
from precbench.runtime.inputs import fit_inputs, fixed_batch, input_recipe, load_inputs, read_arrays, seeded_inputs
from precbench.runtime.prediction import predict, predict_batches
from precbench.runtime.session import Session, open_session
from precbench.runtime.settings import PROVIDERS, SessionSettings
from precbench.runtime.tensors import TensorSpec, check_feeds

__all__ = [
    "PROVIDERS",
    "BoundRun",
    "Session",
    "SessionSettings",
    "TensorSpec",
    "check_feeds",
    "environment",
    "fit_inputs",
    "fixed_batch",
    "input_recipe",
    "load_inputs",
    "open_session",
    "predict",
    "predict_batches",
    "read_arrays",
    "seeded_inputs",
]
