"""Measure in one process: make the callables, warm up, run blocks, and keep every reading of the clock."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import repeat
from typing import Any

from precbench.errors import NoTimeError
from precbench.timing.journal import Keep, Kind, reading_words
from precbench.timing.schedule import MAX_BLOCKS, MAX_CALLS, ProcessPlan
from precbench.timing.warmup import WINDOW, is_steady

Clock = Callable[[], int]
"""Nanoseconds since some fixed moment; never goes back."""

Make = Callable[[str], Callable[[], object]]
"""Make the callable of an arm."""

POSITION_NS = 10_000_000
LEAST_CALLS = 3
"""Timed calls per position, so that its median outlives one disturbed call and the switch is not half of the time."""
LONG_CALL_NS = 125_000_000
"""Of a call beyond which one per position has to do."""
_PROBES = 5
_PATIENCE = 3  # times the warm-up's limit, where fewer rounds than a steady state needs were made by then
_WARMUP_PART = 4  # a warm-up round calls each arm for this part of a position


def measure(
    make: Make,
    plan: ProcessPlan,
    keep: Keep,
    *,
    clock: Clock = time.perf_counter_ns,
    observe: Callable[[], Any] | None = None,
) -> None:
    """Do what a plan says, and hand every reading to `keep` as soon as it is complete.

    The callables are made and called once (cold), in the plan's order of creation. Then rounds over all arms until a
    steady state is seen (`is_steady`). Then blocks: every position calls one arm 1 + `calls` times; the first of these
    finds the caches full of another arm's data, and is kept but labelled apart.

    Garbage collection is off meanwhile, and afterwards as it was before. What a callable raises passes through; the
    blocks before it are kept.

    Args:
        make: called once per arm.
        plan: what to do.
        keep: takes the records, see `journal.Kind`.
        clock: integer nanoseconds, monotonic.
        observe: called after each block, outside every timed call; its JSON value is kept with the block.

    Raises:
        NoTimeError: not one block fits into `plan.room_s`; found out as soon as one slow call shows it.
    """
    began = clock()
    with _no_garbage_collection():
        calls = _make_all(make, plan, keep, clock)
        _time_first_calls(calls, plan, keep, clock, began)
        count = plan.calls
        if count is None:
            probed_ns = _probe(calls[0], clock, plan.warmup_s)
            count = _calls_per_position(probed_ns)
            _check_room(2 * len(calls) * (1 + count) * probed_ns / 1e9, plan.room_s - (clock() - began) / 1e9)
        keep(Kind.CALLS, [count])
        round_ns = _warm_up(calls, plan, keep, clock, max(1, count // _WARMUP_PART))
        block_s = 2 * round_ns / max(1, count // _WARMUP_PART) * (1 + count) / 1e9
        left_s = plan.room_s - (clock() - began) / 1e9
        _check_room(block_s, left_s)
        plan = replace(plan, measure_s=min(plan.measure_s, left_s))
        _run_blocks(calls, plan, keep, clock=clock, count=count, observe=observe)


def _make_all(make: Make, plan: ProcessPlan, keep: Keep, clock: Clock) -> list[Callable[[], object]]:
    made, creation_ns = {}, {}
    for arm in plan.creation_order():
        start = clock()
        made[arm] = make(arm)
        creation_ns[arm] = clock() - start
    keep(Kind.CREATION, [creation_ns[arm] for arm in plan.arms])
    return [made[arm] for arm in plan.arms]


def _time_first_calls(
    calls: Sequence[Callable[[], object]], plan: ProcessPlan, keep: Keep, clock: Clock, began: int
) -> None:
    first_ns = {}
    for arm in plan.creation_order():
        call = calls[plan.arms.index(arm)]
        start = clock()
        call()
        first_ns[arm] = clock() - start
        _check_room(first_ns[arm] / 1e9, plan.room_s - (start - began) / 1e9)
    keep(Kind.FIRST_RUN, [first_ns[arm] for arm in plan.arms])


def _probe(call: Callable[[], object], clock: Clock, most_s: float) -> int:
    """Probing is warming up, and has its limit too: a call of a minute is not made five times to learn its length."""
    elapsed = list[int]()
    while not elapsed or (len(elapsed) < _PROBES and sum(elapsed) / 1e9 < most_s):
        elapsed += time_calls(call, 1, clock)[1]
    return max(1, min(elapsed))


def _calls_per_position(call_ns: int) -> int:
    return 1 if call_ns > LONG_CALL_NS else max(LEAST_CALLS, min(MAX_CALLS, -(-POSITION_NS // call_ns)))


def _warm_up(calls: Sequence[Callable[[], object]], plan: ProcessPlan, keep: Keep, clock: Clock, count: int) -> float:
    began, rounds, steady = clock(), list[float](), False
    for order in plan.warmup_orders():
        times = [sum(time_calls(calls[arm], count, clock)[1]) for arm in order]
        keep(Kind.WARMUP, [*order, *times])
        rounds.append(float(sum(times)))
        steady = is_steady(rounds)
        spent_s = (clock() - began) / 1e9
        if steady or (spent_s >= plan.warmup_s and (len(rounds) >= 2 * WINDOW or spent_s >= _PATIENCE * plan.warmup_s)):
            break
    keep(Kind.WARM, [int(steady), clock() - began])
    return min(rounds)


def _check_room(block_s: float, left_s: float) -> None:
    if block_s > left_s:
        raise NoTimeError(
            f"a block takes about {block_s:.3g} s and {max(0.0, left_s):.3g} s of the budget are left for it",
            "give a longer --budget, a smaller --batch, or fewer models in one call",
        )


def _run_blocks(
    calls: Sequence[Callable[[], object]],
    plan: ProcessPlan,
    keep: Keep,
    *,
    clock: Clock,
    count: int,
    observe: Callable[[], Any] | None,
) -> None:
    began = clock()
    for number, order in enumerate(plan.block_orders(), 1):
        starts, elapsed = list[int](), list[int]()
        for arm in order:
            position_starts, position_elapsed = time_calls(calls[arm], 1 + count, clock)
            starts += position_starts
            elapsed += position_elapsed
        keep(Kind.BLOCK, [*order, *starts, *elapsed])
        if observe is not None:
            keep(Kind.READING, reading_words(observe()))
        over = plan.blocks is None and (clock() - began) / 1e9 >= plan.measure_s
        if over or number == (plan.blocks or MAX_BLOCKS):
            return


def time_calls(call: Callable[[], object], count: int, clock: Clock) -> tuple[list[int], list[int]]:
    """Call `count` times in a row; return when each call began and how long it took, in nanoseconds."""
    starts, elapsed = list[int](), list[int]()
    keep_start, keep_elapsed = starts.append, elapsed.append
    for _ in repeat(None, count):
        start = clock()
        call()
        end = clock()
        keep_start(start)
        keep_elapsed(end - start)
    return starts, elapsed


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
