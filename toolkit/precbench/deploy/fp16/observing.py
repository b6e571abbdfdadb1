"""What every value of a model reaches on data, infinities among it: what float16 has to hold."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.deploy.int8.cut_offs import Range
from precbench.deploy.int8.plain_graph import with_data
from precbench.deploy.int8.ranges import Calibration
from precbench.errors import DataError
from precbench.graph import OnnxModel
from precbench.progress import SILENT, Progress
from precbench.runtime.probing import Probe


def observe_values(model: OnnxModel, calibration: Calibration, *, progress: Progress = SILENT) -> dict[str, Range]:
    """Return the lowest and highest value of every tensor of floats that a model's top graph makes or is fed.

    The law: zero is not put between them, as it is for int8, so that they tell how near to it a denominator comes.
    Infinite and NaN are told too: the logarithm of zero is no fault of a model whose outputs are finite, and what
    float16 does not hold stays in float32.

    Memory: one chunk's tensors.

    Args:
        model: in float32, run on the CPU provider.
        calibration: data of which it sees each chunk once.
        progress: told of each chunk.

    Raises:
        DataError: there are no data.
        ModelError: ONNX Runtime cannot run the model.
    """
    proto = with_data(model)
    probe = Probe(proto, [name for node in proto.graph.node for name in node.output if name])
    ranges: dict[str, Range] = {}
    with progress.track("observing", calibration.samples) as step:
        for feeds in calibration.chunks():
            for name, array in {**probe.run(feeds), **feeds}.items():
                if array.dtype.kind == "f" and array.size:
                    ranges[name] = _wider(ranges.get(name), array)
            step(max((len(array) for array in feeds.values() if array.ndim), default=0))
    if not ranges:
        raise DataError("there are no data to observe values on", "give at least a few dozen samples with --data")
    return ranges


def _wider(before: Range | None, array: NDArray[Any]) -> Range:
    """Return the ends of both; NaN stays."""
    low, high = float(array.min()), float(array.max())
    return (low, high) if before is None else (float(np.minimum(before[0], low)), float(np.maximum(before[1], high)))
