"""Where a sweep's time goes."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Literal

Clock = Callable[[], int]
Stage = Literal["inputs", "optimizing", "sessions", "proofs", "before the cut", "behind the cut", "whole"]


class Meter:
    """Adds up the time of a sweep's stages.

    - inputs: making batches, of preprocessed images for example;
    - optimizing: letting ONNX Runtime optimize each variant, to see what it executes;
    - sessions: making those that run;
    - proofs: seeing that parts give the bits of the whole;
    - before the cut: running the base up to where the variants part, or to its end where its outputs are needed;
    - behind the cut: running what comes after, for each variant;
    - whole: running variants that are not cut.

    The times of workers that run side by side are added up too.
    """

    def __init__(self, clock: Clock = time.perf_counter_ns) -> None:
        """Start at zero; the clock returns nanoseconds."""
        self._clock, self._lock = clock, Lock()
        self._spent_ns: dict[Stage, int] = defaultdict(int)

    @contextmanager
    def time(self, stage: Stage) -> Iterator[None]:
        """Add the time of a block to a stage; blocks are not put into each other."""
        began = self._clock()
        try:
            yield
        finally:
            spent_ns = self._clock() - began
            with self._lock:
                self._spent_ns[stage] += spent_ns

    @property
    def spent_s(self) -> Mapping[Stage, float]:
        """Seconds per stage so far; a stage that never began is absent."""
        return {stage: spent_ns / 1e9 for stage, spent_ns in self._spent_ns.items()}
