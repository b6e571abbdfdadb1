"""The calibration samples that layers are fitted on: as many as fit into memory, from all over the set."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from precbench.deploy.int8.plain_graph import PlainGraph, read_names
from precbench.deploy.int8.ranges import Calibration, Feeds, rows_of
from precbench.runtime.probing import Probe

_MOST_VALUE_BYTES = 1 << 30  # of the tensors alive at once, both networks together


def fitting_samples(graph: PlainGraph, calibration: Calibration, *, seed: int = 0) -> list[Feeds]:
    """Return chunks of calibration data, in their order, whose tensors fit into 1 GiB; one chunk at least.

    Where not all fit, the set is divided evenly and of each part one sample is drawn, so that a set that is sorted by
    class gives samples of every class.

    Args:
        graph: whose tensors are counted.
        calibration: the data; its first chunk has as many rows as any other.
        seed: draws the samples.
    """
    first = next(iter(calibration.chunks()))
    rows, fit = rows_of(first), max(1, _MOST_VALUE_BYTES // (2 * most_alive_bytes(graph, first)))
    if rows * fit >= calibration.samples:
        return list(calibration.chunks())
    edges = np.linspace(0, calibration.samples, rows * fit + 1).astype(np.int64)
    chosen = np.random.default_rng(seed).integers(edges[:-1], edges[1:])
    batched = {name for name, array in first.items() if array.ndim and len(array) == rows}
    taken = list(_samples(calibration.chunks(), chosen, batched))
    return [_joined(taken[at : at + rows], batched) for at in range(0, len(taken), rows)]


def last_reads(graph: PlainGraph) -> list[set[str]]:
    """Return for each node the tensors that nothing after it reads."""
    later = set(graph.outputs)
    gone: list[set[str]] = []
    for node in reversed(graph.nodes):
        read = {name for name in (*read_names(node), *node.output) if name and name not in graph.constants}
        gone.append(read - later)
        later |= read
    return gone[::-1]


def most_alive_bytes(graph: PlainGraph, feeds: Feeds) -> int:
    """Return the most that tensors that are still read take at once, inputs among them; at least one."""
    names = [name for node in graph.nodes for name in node.output if name]
    made = Probe(graph.to_proto(), names).run(feeds)
    sizes = {name: array.nbytes for name, array in (*made.items(), *feeds.items())}
    alive = sum(array.nbytes for array in feeds.values())
    most = max(1, alive)
    for node, gone in zip(graph.nodes, last_reads(graph), strict=True):
        alive += sum(sizes.get(name, 0) for name in node.output)
        most = max(most, alive)
        alive -= sum(sizes.get(name, 0) for name in gone)
    return most


def _samples(chunks: Iterable[Feeds], chosen: NDArray[np.int64], batched: set[str]) -> Iterator[Feeds]:
    """Yield the feeds of single samples; an input that has no rows is passed on whole."""
    begin = 0
    for feeds in chunks:
        count = rows_of(feeds)
        for row in chosen[(chosen >= begin) & (chosen < begin + count)] - begin:
            yield {name: array[row : row + 1] if name in batched else array for name, array in feeds.items()}
        begin += count


def _joined(samples: list[Feeds], batched: set[str]) -> Feeds:
    rows = {name: np.concatenate([sample[name] for sample in samples]) for name in batched}
    return {**samples[0], **rows}
