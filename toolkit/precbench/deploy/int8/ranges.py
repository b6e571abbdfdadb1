"""The range of each activation, observed on calibration data and cut by the method that is asked for."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from precbench.deploy.int8.plain_graph import with_data
from precbench.errors import DataError, ModelError, UsageError
from precbench.graph import OnnxModel
from precbench.nearest import nearest
from precbench.progress import SILENT, Progress
from precbench.runtime.probing import Probe

Feeds = Mapping[str, NDArray[Any]]
Range = tuple[float, float]

METHODS = ("min-max", "percentile", "entropy")
PERCENTILE = 99.99
_BINS = 2048
_LEVELS = 256
_STEPS = 64  # cut-offs that are tried by entropy, evenly from 20 % of the range to all of it
_LEAST_SHARE = 0.2


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
        method: "min-max": all that occurs; "percentile": what remains when one value of 10,000 is cut off, half of
            them on each side; "entropy": the cut at which the distribution in 256 levels is nearest (Kullback-Leibler)
            to that observed, as TensorRT does.

    Raises:
        UsageError: the method is unknown.
        DataError: there are no data.
        ModelError: a tensor is NaN or infinite.

    Source: S. Migacz, 8-bit inference with TensorRT, GTC 2017.
    """
    check_method(method)
    wanted = tuple(dict.fromkeys(names))
    probe = Probe(model, wanted)
    ends = _extremes(probe, calibration, progress)
    if method == "min-max":
        return ends
    counts = _histograms(probe, calibration, ends, progress)
    cut = _by_percentile if method == "percentile" else _by_entropy
    return {name: cut(counts[name], ends[name]) for name in wanted}


def observe_all(model: OnnxModel, calibration: Calibration, *, progress: Progress = SILENT) -> dict[str, Range]:
    """Return the lowest and highest value of every tensor of floats that a model's top graph makes or is fed.

    Raises:
        DataError: there are no data.
        ModelError: a tensor is NaN or infinite.
    """
    proto = with_data(model)
    first = next(iter(calibration.chunks()), None)
    if first is None:
        raise DataError("there are no calibration data", "give at least a few dozen samples with --data")
    made = [name for node in proto.graph.node for name in node.output if name]
    found = {**Probe(proto, made).run(first), **first}
    names = [name for name, array in found.items() if array.dtype.kind == "f"]
    return observe(proto, names, calibration, progress=progress)


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
    counts = {name: np.zeros(_BINS, np.int64) for name in ends}
    for values in _passes(probe, calibration, "calibrating, second pass", progress):
        for name, array in values.items():
            if ends[name][1] > ends[name][0]:
                counts[name] += np.histogram(array, bins=_BINS, range=ends[name])[0]
    return counts


def _passes(probe: Probe, calibration: Calibration, what: str, progress: Progress) -> Iterator[dict[str, NDArray[Any]]]:
    with progress.track(what, calibration.samples) as step:
        for feeds in calibration.chunks():
            yield probe.run(feeds)
            step(rows_of(feeds))


def _by_percentile(counts: NDArray[np.int64], ends: Range) -> Range:
    low, high = ends
    if not counts.sum():
        return ends
    share = np.cumsum(counts) / counts.sum()
    tail = (1 - PERCENTILE / 100) / (2 if low < 0.0 < high else 1)
    edges = np.linspace(low, high, _BINS + 1)
    upper = float(edges[np.searchsorted(share, 1 - tail, side="left") + 1]) if high > 0.0 else high
    lower = float(edges[np.searchsorted(share, tail, side="right")]) if low < 0.0 else low
    return (min(lower, 0.0), max(upper, 0.0))


def _by_entropy(counts: NDArray[np.int64], ends: Range) -> Range:
    """Try cut-offs on both sides alike and return the one that loses the least information."""
    low, high = ends
    if not counts.sum():
        return ends
    centres = (np.linspace(low, high, _BINS + 1)[1:] + np.linspace(low, high, _BINS + 1)[:-1]) / 2
    best, found = np.inf, ends
    for share in np.linspace(_LEAST_SHARE, 1.0, _STEPS):
        cut = (low * share, high * share)
        lost = _divergence(counts, centres, cut)
        if lost < best:
            best, found = lost, cut
    return found


def _divergence(counts: NDArray[np.int64], centres: NDArray[np.float64], cut: Range) -> float:
    """Kullback-Leibler divergence of the cut distribution, in levels, from the one in bins, outliers at the ends."""
    inside = (centres >= cut[0]) & (centres <= cut[1])
    if np.count_nonzero(inside) < 2:
        return float("inf")
    reference = counts[inside].astype(np.float64)
    reference[0] += counts[centres < cut[0]].sum()
    reference[-1] += counts[centres > cut[1]].sum()
    level = np.minimum((np.arange(len(reference)) * _LEVELS) // len(reference), _LEVELS - 1)
    filled = counts[inside] > 0
    sums = np.bincount(level, weights=counts[inside], minlength=_LEVELS)
    cells = np.bincount(level, weights=filled, minlength=_LEVELS)
    candidate = np.where(filled, sums[level] / np.maximum(cells[level], 1), 0.0)
    return _relative_entropy(reference, candidate)


def _relative_entropy(reference: NDArray[np.float64], candidate: NDArray[np.float64]) -> float:
    if not candidate.sum():
        return float("inf")
    p, q = reference / reference.sum(), candidate / candidate.sum()
    smallest = 1e-12  # where an outlier was put into an empty bin, the level there holds next to nothing
    used = p > 0
    return float(np.sum(p[used] * np.log(p[used] / np.maximum(q[used], smallest))))
