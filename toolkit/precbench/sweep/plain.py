"""The obvious way to evaluate a variant: a session of its own, and all images through it."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray

from precbench.graph import OnnxModel
from precbench.graph.partition import with_values, write_part
from precbench.progress import SILENT, Progress
from precbench.runtime import SessionSettings, open_session, predict_batches
from precbench.sweep.batches import Batches
from precbench.sweep.variants import Variant


def run_plain(
    model: OnnxModel, variant: Variant, batches: Batches, settings: SessionSettings, *, progress: Progress = SILENT
) -> dict[str, NDArray[Any]]:
    """Return a variant's outputs for all rows, from a session of its own. What `sweep` gives is measured by this.

    Raises:
        PrecbenchError: the session cannot be made or fails, or the batches do not fit.
    """
    with TemporaryDirectory(prefix="precbench-") as folder:
        path = Path(folder) / "variant.onnx"
        write_part(with_values(model, variant.values()), path)
        session = open_session(path, settings)
        return predict_batches(session, batches, rows=batches.rows, progress=progress)
