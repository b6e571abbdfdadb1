"""Where to cut off the range of an activation, by how often its values occur."""

import numpy as np
from numpy.typing import NDArray

Range = tuple[float, float]

BINS = 2048
"""Bins of a histogram, evenly from the lowest value to the highest."""
PERCENTILE = 99.99
_LEVELS = 256
_CUTS = 64
_LEAST_SHARE = 1 / 8  # of the range: 256 bins, each a level of its own
_NEXT_TO_NOTHING = 1e-12  # of what a level holds where nothing but outliers was observed


def by_percentile(counts: NDArray[np.int64], ends: Range) -> Range:
    """Return what remains when one value of 10,000 is cut off, half of them on each side where there are both.

    Args:
        counts: [2048], the histogram from the lowest to the highest value.
        ends: those, zero between them.
    """
    low, high = ends
    if not counts.sum():
        return ends
    share = np.cumsum(counts) / counts.sum()
    tail = (1 - PERCENTILE / 100) / (2 if low < 0.0 < high else 1)
    edges = np.linspace(low, high, BINS + 1)
    upper = float(edges[np.searchsorted(share, 1 - tail, side="left") + 1]) if high > 0.0 else high
    lower = float(edges[np.searchsorted(share, tail, side="right")]) if low < 0.0 else low
    return (min(lower, 0.0), max(upper, 0.0))


def by_entropy(counts: NDArray[np.int64], ends: Range) -> Range:
    """Return the cut at which the distribution in 256 levels is nearest (Kullback-Leibler) to that observed.

    64 distances from zero are tried, from an eighth of the farther end to all of it; what lies beyond one counts at
    the last bin within it, and a side that ends before stays whole. The bin that holds zero is left out, as in
    TensorRT: zero has a code of its own at any cut, and the many zeros behind a Relu, shared out among a level's bins,
    would count the more the wider the range is. Of few values even the right distribution seems to differ, by (bins -
    levels) / (2 x values) in the mean, the more the wider the range is; so much is subtracted. Of some hundred values
    hardly any is cut off then.

    Args:
        counts: [2048], the histogram from the lowest to the highest value.
        ends: those, zero between them.

    Source: S. Migacz, 8-bit inference with TensorRT, GTC 2017, and `get_entropy_threshold` of ONNX Runtime; the mean
    is that of Wilks, The large-sample distribution of the likelihood ratio, Ann. Math. Stat. 9 (1938).
    """
    edges = np.linspace(*ends, BINS + 1)
    counts = counts.copy()
    counts[_bin_of_zero(edges)] = 0
    best, found = np.inf, ends
    for share in np.linspace(_LEAST_SHARE, 1.0, _CUTS):
        distance = share * max(-ends[0], ends[1])
        first, last = np.searchsorted(edges, -distance), np.searchsorted(edges, distance, side="right") - 1
        lost = _divergence(counts, int(first), int(last))
        if lost < best:
            best, found = lost, (float(edges[first]), float(edges[last]))
    return found


def _bin_of_zero(edges: NDArray[np.float64]) -> int:
    return int(np.clip(np.searchsorted(edges, 0.0, side="right") - 1, 0, BINS - 1))


def _divergence(counts: NDArray[np.int64], first: int, last: int) -> float:
    """Kullback-Leibler divergence of bins first..last - 1 in levels from all bins, outliers at the ends; debiased."""
    inside = counts[first:last].astype(np.float64)
    if not inside.sum():
        return float("inf")
    reference = inside.copy()
    reference[0] += counts[:first].sum()
    reference[-1] += counts[last:].sum()
    level = np.arange(len(inside)) * _LEVELS // len(inside)
    filled = reference > 0
    sums = np.bincount(level, weights=inside, minlength=_LEVELS)
    bins = np.bincount(level, weights=filled, minlength=_LEVELS)
    candidate = np.where(filled, sums[level] / np.maximum(bins[level], 1), 0.0)
    by_chance = (np.count_nonzero(filled) - np.count_nonzero(sums)) / (2 * reference.sum())
    return _relative_entropy(reference / reference.sum(), candidate / candidate.sum()) - float(by_chance)


def _relative_entropy(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    used = p > 0
    return float(np.sum(p[used] * np.log(p[used] / np.maximum(q[used], _NEXT_TO_NOTHING))))
