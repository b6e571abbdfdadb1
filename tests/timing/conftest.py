"""Machines and processes made by hand."""

import gc
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from precbench.timing.journal import Kind
from precbench.timing.samples import ProcessSamples
from precbench.timing.schedule import ProcessPlan


@pytest.fixture(autouse=True, scope="module")
def no_collection() -> Iterator[None]:
    """Collecting garbage before each process takes 0.2 s where TensorFlow is loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda: 0)
        yield


class FakeClock:
    """A clock that only moves when something is made or called."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.calls: list[str] = []

    def __call__(self) -> int:
        return self.now_ns

    def callable(self, name: str, duration_ns: int | Callable[[], int]) -> Callable[[], None]:
        def call() -> None:
            self.calls.append(name)
            self.now_ns += duration_ns if isinstance(duration_ns, int) else duration_ns()

        return call


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def _process(
    times_ns: Sequence[Sequence[int]],
    *,
    arms: Sequence[str] = ("base", "variant"),
    replicate: int = 0,
    process: int | None = None,
    ended: str = "done",
) -> ProcessSamples:
    plan = ProcessPlan(
        replicate=replicate, process=replicate if process is None else process, arms=tuple(arms), seed=0, calls=1
    )
    records: list[tuple[Kind, list[int]]] = [(Kind.CALLS, [1]), (Kind.WARM, [1, 0])]
    for block, order in zip(np.asarray(times_ns).tolist(), plan.block_orders(), strict=False):
        elapsed = [nanoseconds for arm in order for nanoseconds in (10**15, block[arm])]
        records.append((Kind.BLOCK, [*order, *[0] * len(elapsed), *elapsed]))
    return ProcessSamples.from_records(plan, records, ended=ended)


@pytest.fixture(scope="session")
def process_of() -> Callable[..., ProcessSamples]:
    """Make a process from the time of each arm in each block: whole numbers [blocks, arms]; switches take forever."""
    return _process
