"""Run a schedule against the clock and keep every reading."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from precbench.errors import DataError, PrecbenchError, UsageError
from precbench.progress import SILENT, Progress
from precbench.timing.schedule import Schedule, plan_schedule, rounds_for

Clock = Callable[[], int]
"""Nanoseconds since some fixed moment; never goes back."""

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Every time taken, raw and in full: nothing is dropped, trimmed or averaged.

    Args:
        schedule: the order in which they were taken.
        elapsed_ns: int64 [rounds, arms]; column = arm (not position), nanoseconds per sample of
            `schedule.calls_per_sample` calls.
        warmup_ns: int64 [warm-up rounds, arms], the same for the rounds before.
    """

    schedule: Schedule
    elapsed_ns: NDArray[np.int64]
    warmup_ns: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse values that cannot be used."""
        for times, order in ((self.elapsed_ns, self.schedule.order), (self.warmup_ns, self.schedule.warmup_order)):
            if times.shape != order.shape or times.dtype != np.int64 or (times < 0).any():
                raise DataError(
                    f"times of shape {list(times.shape)} and type {times.dtype} do not fit a schedule of "
                    f"shape {list(order.shape)}",
                    "give int64 nanoseconds, one per round and arm, from 0",
                )

    def of(self, arm: str) -> NDArray[np.int64]:
        """Return one arm's times, int64 [rounds], nanoseconds per sample.

        Raises:
            UsageError: there is no such arm.
        """
        if arm not in self.schedule.arms:
            raise UsageError(f"there is no arm {arm!r}", f"the arms are {', '.join(self.schedule.arms)}")
        return self.elapsed_ns[:, self.schedule.arms.index(arm)]

    def median_ns(self, arm: str) -> float:
        """Return the median time of one call of an arm, in nanoseconds. For reading; compare arms by `paired_ratio`."""
        return float(np.median(self.of(arm))) / self.schedule.calls_per_sample

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers, from which `from_json` rebuilds an equal value."""
        return {
            "schema_version": SCHEMA_VERSION,
            "arms": list(self.schedule.arms),
            "seed": self.schedule.seed,
            "calls_per_sample": self.schedule.calls_per_sample,
            "order": self.schedule.order.tolist(),
            "warmup_order": self.schedule.warmup_order.tolist(),
            "elapsed_ns": self.elapsed_ns.tolist(),
            "warmup_ns": self.warmup_ns.tolist(),
        }

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Rebuild samples from `to_json`'s value.

        Raises:
            DataError: it is not such a value, or of another schema version.
        """
        try:
            return cls._from_json(value)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, PrecbenchError) as error:
            problem = error.problem if isinstance(error, PrecbenchError) else f"{type(error).__name__}: {error}"
            raise DataError(
                f"these are no timing samples ({problem})", "give a value that Samples.to_json made"
            ) from error

    @classmethod
    def _from_json(cls, value: Mapping[str, Any]) -> Self:
        if value["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {value['schema_version']!r}, not {SCHEMA_VERSION}")
        arms = tuple(str(arm) for arm in value["arms"])
        schedule = Schedule(
            arms=arms,
            order=_whole(value["order"], len(arms)).astype(np.intp),
            warmup_order=_whole(value["warmup_order"], len(arms)).astype(np.intp),
            seed=int(value["seed"]),
            calls_per_sample=int(value["calls_per_sample"]),
        )
        return cls(
            schedule=schedule,
            elapsed_ns=_whole(value["elapsed_ns"], len(arms)),
            warmup_ns=_whole(value["warmup_ns"], len(arms)),
        )


def measure(
    arms: Mapping[str, Callable[[], object]],
    schedule: Schedule,
    *,
    clock: Clock = time.perf_counter_ns,
    progress: Progress = SILENT,
) -> Samples:
    """Call the arms as scheduled, warm-up first, and keep every time taken.

    Garbage collection is off while it measures, and afterwards as it was before. What an arm raises passes through.

    Args:
        arms: name -> what to time; the names are the schedule's.
        schedule: from `plan_schedule`.
        clock: integer nanoseconds, monotonic.
        progress: stepped after each round, outside the timed calls.

    Raises:
        UsageError: the names are not the schedule's.
    """
    calls = _in_order(arms, schedule)
    with _no_garbage_collection(), progress.track("timing", schedule.warmup_rounds + schedule.rounds) as step:
        warmup = _time(calls, schedule.warmup_order, schedule.calls_per_sample, clock, step)
        elapsed = _time(calls, schedule.order, schedule.calls_per_sample, clock, step)
    return Samples(schedule=schedule, elapsed_ns=elapsed, warmup_ns=warmup)


def measure_within(
    arms: Mapping[str, Callable[[], object]],
    *,
    budget_s: float,
    warmup_rounds: int,
    seed: int,
    least_rounds: int = 10,
    most_rounds: int = 10_000,
    calls_per_sample: int = 1,
    clock: Clock = time.perf_counter_ns,
    progress: Progress = SILENT,
) -> Samples:
    """Warm up, fix the number of rounds that fits the budget (see `rounds_for`), then measure that many.

    Args:
        arms: name -> what to time.
        budget_s: seconds for the measured rounds; the warm-up comes on top.
        warmup_rounds: at least 1.
        seed: of the orders.
        least_rounds: rounds in any case.
        most_rounds: rounds at most.
        calls_per_sample: at least 1.
        clock: integer nanoseconds, monotonic.
        progress: stepped after each round.

    Raises:
        UsageError: see `rounds_for` and `plan_schedule`.
    """
    plan = plan_schedule(
        tuple(arms), rounds=1, warmup_rounds=warmup_rounds, seed=seed, calls_per_sample=calls_per_sample
    )
    calls = _in_order(arms, plan)
    with _no_garbage_collection():
        with progress.track("warming up", warmup_rounds) as step:
            warmup = _time(calls, plan.warmup_order, calls_per_sample, clock, step)
        rounds = rounds_for(budget_s, warmup, least=least_rounds, most=most_rounds)
        schedule = plan_schedule(
            plan.arms, rounds=rounds, warmup_rounds=warmup_rounds, seed=seed, calls_per_sample=calls_per_sample
        )
        with progress.track("timing", rounds) as step:
            elapsed = _time(calls, schedule.order, calls_per_sample, clock, step)
    return Samples(schedule=schedule, elapsed_ns=elapsed, warmup_ns=warmup)


def _time(
    calls: list[Callable[[], object]], order: NDArray[np.intp], count: int, clock: Clock, step: Callable[[int], None]
) -> NDArray[np.int64]:
    times = np.zeros(order.shape, dtype=np.int64)
    for row, arms in enumerate(order.tolist()):
        for arm in arms:
            times[row, arm] = _sample_ns(calls[arm], count, clock)
        step(1)
    return times


def _sample_ns(call: Callable[[], object], count: int, clock: Clock) -> int:
    if count == 1:
        start = clock()
        call()
        return clock() - start
    start = clock()
    for _ in repeat(None, count):
        call()
    return clock() - start


def _in_order(arms: Mapping[str, Callable[[], object]], schedule: Schedule) -> list[Callable[[], object]]:
    if set(arms) != set(schedule.arms):
        raise UsageError(
            f"the arms are {', '.join(arms)}, the schedule's are {', '.join(schedule.arms)}",
            "plan the schedule for the arms that are measured",
        )
    return [arms[name] for name in schedule.arms]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _whole(rows: Any, arms: int) -> NDArray[np.int64]:
    array = np.asarray(rows)
    if array.size == 0:
        return np.empty((0, arms), dtype=np.int64)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{array.dtype} in place of whole numbers")
    return array.astype(np.int64)
