"""ONNX Runtime's own times of each node, call by call.

What it times. `…_kernel_time` is the host's time in the node's Compute, in whole microseconds, cut off and not rounded
(half a microsecond lost per node and call, on average). On the CPU that is the node's work. On CUDA it is the launch
of the kernels and not their run: the GPU works on while the host is at the next node, so that these times say nothing
of where the GPU's time goes, and a node that waits for the GPU bears what came before it. ONNX Runtime can add the
kernels' own times (events of the category "Kernel") if it was built with CUPTI; the wheel of 1.31 is not, and they are
not read here.

What it costs. About 5 microseconds per node, 2 or 3 of them within the node's own time: MobileNetV2 of 58 nodes at
batch 1 took 1.09 ms instead of 0.79, at batch 32 2 % longer. So compare a node with the same node of the other model,
profiled alike, and no sum of nodes with a time measured without the profiler. Within a profiled call the nodes' sum is
98 % of the whole at batch 32, and 80 to 84 % at batch 1 (two cores).

The time of an If, Loop or Scan contains that of the nodes in its body, which are listed as well.
"""

import json
import shutil
import tempfile
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from precbench.errors import OutputError, PrecbenchError
from precbench.runtime.session import Session, open_session
from precbench.runtime.settings import SessionSettings

_SUFFIX = "_kernel_time"
_NS_PER_US = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTime:
    """One node of the graph that ONNX Runtime runs (after its fusions), timed in each call.

    Args:
        name: the node's; where it has none, ONNX Runtime's "type_index". Deterministic: two sessions of the same graph
            have the same names. Nodes that share one count as one.
        op_type: after fusion, without its domain.
        provider: ONNX Runtime's name of the provider that runs it.
        elapsed_ns: one entry per call, in order; all runs of the node within the call, 0 if there was none.
    """

    name: str
    op_type: str
    provider: str
    elapsed_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What a trace says.

    Args:
        call_ns: elapsed time of each whole call within ONNX Runtime, in order.
        nodes: in the order in which they first ran.
    """

    call_ns: tuple[int, ...]
    nodes: tuple[NodeTime, ...]


class ProfiledSession:
    """A session under ONNX Runtime's profiler; made by `open_profiled`. Several may be open and called in turn.

    The profiler keeps about 2 kB in memory per node and call, and at most a million events: for a model of 60 nodes
    16,000 calls and 2 GB. A few hundred calls say what there is to say.
    """

    def __init__(self, session: Session, folder: Path) -> None:
        """Keep the session and the folder that is its trace's alone."""
        self.session, self._folder = session, folder
        self._calls = 0
        self._call_ns: tuple[int, ...] | None = None

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the model once, see `Session.run`."""
        outputs = self.session.run(feeds)
        self._calls += 1
        return outputs

    def finish(self, *, skip: int = 0) -> list[NodeTime]:
        """Stop the profiler, read its trace and remove it. The session cannot be profiled any further.

        Args:
            skip: calls at the beginning to leave out, cold ones: at least 0.

        Returns:
            The nodes in the order in which they first ran.

        Raises:
            OutputError: the trace was not written whole, or lacks calls.
        """
        try:
            with self.session.end_profiling().open(encoding="utf-8", errors="replace") as lines:
                trace = read_trace(lines, skip=skip)
        except (OSError, ValueError) as error:
            raise OutputError(
                f"ONNX Runtime's trace of {self.session.model} was not written whole: {error}",
                "free space on the disk of the temporary folder, or profile fewer calls",
            ) from error
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        if len(trace.call_ns) < self._calls - skip:
            raise OutputError(
                f"ONNX Runtime's trace of {self.session.model} has {len(trace.call_ns) + skip} of {self._calls} calls: "
                "it keeps a million events",
                "profile fewer calls",
            )
        self._call_ns = trace.call_ns
        return list(trace.nodes)

    @property
    def call_ns(self) -> tuple[int, ...]:
        """Elapsed time of each whole call, as the trace has it, in the order of `NodeTime.elapsed_ns`.

        What the nodes' sum lacks of it is ONNX Runtime's own: scheduling, allocation, and the profiler.

        Raises:
            ValueError: `finish` was not called.
        """
        if self._call_ns is None:
            raise ValueError("finish the profile first")
        return self._call_ns


def open_profiled(model: Path, settings: SessionSettings, folder: Path) -> ProfiledSession:
    """Make a session of a model that times each of its nodes.

    Args:
        model: an ONNX file.
        settings: all that it is made with.
        folder: a temporary one of the caller's; the trace is written there by `finish`, which removes it.

    Raises:
        ModelError, ProviderError, MissingDependencyError: see `open_session`.
    """
    own = Path(tempfile.mkdtemp(prefix="profile-", dir=folder))
    try:
        return ProfiledSession(open_session(model, settings, profile_prefix=own / "trace"), own)
    except PrecbenchError:
        shutil.rmtree(own, ignore_errors=True)
        raise


def read_trace(lines: Iterable[str], *, skip: int = 0) -> Trace:
    """Read a trace line by line, so that it is never in memory as a whole (a node's event has some 700 bytes).

    A node's event belongs to the call in whose time it began; ONNX Runtime's bodies of loops begin no call.

    Args:
        lines: of ONNX Runtime's JSON, one event each.
        skip: calls at the beginning to leave out.

    Raises:
        ValueError: a line is no JSON.
    """
    calls, nodes = _Events(), dict[tuple[str, str, str], _Events]()
    for event in _events(lines):
        if event["cat"] == "Session" and event["name"] == "model_run":
            calls.add(event)
        elif event["cat"] == "Node" and event["name"].endswith(_SUFFIX):
            about = event["args"]
            key = (event["name"].removesuffix(_SUFFIX), about.get("op_name", ""), about.get("provider", ""))
            nodes.setdefault(key, _Events()).add(event)
    order = sorted(range(len(calls.start_us)), key=calls.start_us.__getitem__)
    starts_us = [calls.start_us[index] for index in order]
    return Trace(
        call_ns=tuple(calls.elapsed_us[index] * _NS_PER_US for index in order[skip:]),
        nodes=tuple(
            NodeTime(name=name, op_type=op_type, provider=provider, elapsed_ns=events.per_call_ns(starts_us)[skip:])
            for (name, op_type, provider), events in sorted(nodes.items(), key=lambda item: min(item[1].start_us))
        ),
    )


@dataclass(slots=True)
class _Events:
    """When the events of one kind began and how long they took, in microseconds; 16 bytes each."""

    start_us: "array[int]" = field(default_factory=lambda: array("q"))
    elapsed_us: "array[int]" = field(default_factory=lambda: array("q"))

    def add(self, event: Mapping[str, Any]) -> None:
        self.start_us.append(event["ts"])
        self.elapsed_us.append(event["dur"])

    def per_call_ns(self, starts_us: list[int]) -> tuple[int, ...]:
        totals = [0] * len(starts_us)
        for start, elapsed in zip(self.start_us, self.elapsed_us, strict=True):
            call = bisect_right(starts_us, start) - 1
            if call >= 0:
                totals[call] += elapsed * _NS_PER_US
        return tuple(totals)


def _events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        text = line.strip().removesuffix(",")
        if text not in ("", "[", "]"):
            yield json.loads(text)
