"""The range of each activation, observed on calibration data and cut by the method that is asked for."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from precbench.deploy.int8.cut_offs import BINS, Range, by_entropy, by_percentile
from precbench.errors import DataError, ModelError, UsageError
from precbench.nearest import nearest
from precbench.progress import SILENT, Progress
from precbench.runtime.probing import Probe

Feeds = Mapping[str, NDArray[Any]]

METHODS = ("min-max", "percentile", "entropy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Data to observe activations on.

    Args:
        chunks: called for each pass over the data; yields the feeds of one run of the model.
        samples: rows in all of them.
        description: where they come from, recorded.
    """

    chunks: Callable[[], Iterable[Feeds]]
    samples: int
    description: Mapping[str, Any]


def rows_of(feeds: Feeds) -> int:
    """Return how many samples the feeds of one run hold; one where no input has rows."""
    return max((len(array) for array in feeds.values() if array.ndim), default=1)


def check_method(method: str) -> str:
    """Return a calibration method.

    Raises:
        UsageError: it is unknown.
    """
    if method not in METHODS:
        raise UsageError(
            f"the calibration method {method!r} is unknown", f"{nearest(method, METHODS)}; choose {', '.join(METHODS)}"
        )
    return method


def observe(
    model: onnx.ModelProto,
    names: Iterable[str],
    calibration: Calibration,
    *,
    method: str = "min-max",
    progress: Progress = SILENT,
) -> dict[str, Range]:
    """Return for each tensor the lowest and highest value that eight bits have to reach; zero is always among them.

    Memory: one chunk's tensors, and 2,048 counts a tensor.

    Args:
        model: in float32, run on the CPU provider.
        names: of tensors of floats in its graph.
        calibration: data of which it sees each chunk once, twice but for "min-max".
        method: "min-max": all that occurs; "percentile": see `cut_offs.by_percentile`; "entropy": see
            `cut_offs.by_entropy`.

    Raises:
        UsageError: the method is unknown.
        DataError: there are no data.
        ModelError: a tensor is NaN or infinite.
    """
    check_method(method)
    wanted = tuple(dict.fromkeys(names))
    probe = Probe(model, wanted)
    ends = _extremes(probe, calibration, progress)
    if method == "min-max":
        return ends
    counts = _histograms(probe, calibration, ends, progress)
    cut = by_percentile if method == "percentile" else by_entropy
    return {name: cut(counts[name], ends[name]) for name in wanted}


def _extremes(probe: Probe, calibration: Calibration, progress: Progress) -> dict[str, Range]:
    ends: dict[str, Range] = {}
    for values in _passes(probe, calibration, "calibrating", progress):
        for name, array in values.items():
            low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
            if not np.isfinite([low, high]).all():
                raise ModelError(
                    f"the tensor {name!r} is NaN or infinite on the calibration data",
                    "check the data, or leave int8: such a model has no ranges to calibrate",
                )
            before = ends.get(name, (0.0, 0.0))
            ends[name] = (min(before[0], low), max(before[1], high))
    if not ends:
        raise DataError("there are no calibration data", "give at least a few dozen samples with --data")
    return ends


def _histograms(
    probe: Probe, calibration: Calibration, ends: Mapping[str, Range], progress: Progress
) -> dict[str, NDArray[np.int64]]:
    counts = {name: np.zeros(BINS, np.int64) for name in ends}
    for values in _passes(probe, calibration, "calibrating, second pass", progress):
        for name, array in values.items():
            if ends[name][1] > ends[name][0]:
                counts[name] += np.histogram(array, bins=BINS, range=ends[name])[0]
    return counts


def _passes(probe: Probe, calibration: Calibration, what: str, progress: Progress) -> Iterator[dict[str, NDArray[Any]]]:
    with progress.track(what, calibration.samples) as step:
        for feeds in calibration.chunks():
            yield probe.run(feeds)
            step(rows_of(feeds))
