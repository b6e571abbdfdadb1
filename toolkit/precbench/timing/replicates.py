"""Make the callables anew several times, so that what differs between two makings of one thing counts as noise."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from precbench.errors import UsageError
from precbench.progress import SILENT, Progress
from precbench.timing.measurement import Clock, Samples, measure, measure_within
from precbench.timing.schedule import plan_schedule

Make = Callable[[Sequence[str]], Mapping[str, Callable[[], object]]]
"""Make one callable per arm, in the order given. What it made before is no longer used."""

LEAST_REPLICATES, MOST_REPLICATES = 3, 10
_MAKING_SHARE = 0.25  # of the budget that making may take, as long as there are enough replicates
_ORDER_STREAM = 2


def measure_replicates(
    make: Make,
    arms: Sequence[str],
    *,
    budget_s: float,
    warmup_rounds: int,
    seed: int,
    clock: Clock = time.perf_counter_ns,
    progress: Progress = SILENT,
) -> tuple[Samples, ...]:
    """Measure several sets of freshly made callables, one set after the other, each in an order of making of its own.

    Two sessions of one model differ steadily, by where they lie in memory, and the first made often differs from the
    last; within one set that looks like an effect. The number of sets (3 to 10) follows from how long the first takes
    to make, the number of rounds from the first set's warm-up: both are fixed before the first measured call.

    Args:
        make: called once per set with the arms' names in the order in which to make them.
        arms: names, all different.
        budget_s: seconds of measuring, all sets together; making and warm-up come on top.
        warmup_rounds: of each set, at least 1.
        seed: of every order.
        clock: integer nanoseconds, monotonic.
        progress: one step per set.

    Returns:
        One `Samples` per set, all with the same number of rounds.

    Raises:
        UsageError: the budget is not a positive number; see `plan_schedule` for the others.
    """
    if not 0 < budget_s < float("inf"):
        raise UsageError(f"the time budget of {budget_s} s is not a positive number", "give seconds, such as 10")
    generator = np.random.default_rng([seed, _ORDER_STREAM])
    start = clock()
    callables = make(_drawn(arms, generator))
    count = _replicates(budget_s, (clock() - start) / 1e9)
    with progress.track("timing", count) as advance:
        sets = [
            measure_within(
                callables, budget_s=budget_s / count, warmup_rounds=warmup_rounds, seed=_seed(seed, 0), clock=clock
            )
        ]
        advance(1)
        for number in range(1, count):
            callables = make(_drawn(arms, generator))
            schedule = plan_schedule(
                tuple(callables), rounds=sets[0].schedule.rounds, warmup_rounds=warmup_rounds, seed=_seed(seed, number)
            )
            sets.append(measure(callables, schedule, clock=clock))
            advance(1)
    return tuple(sets)


def _replicates(budget_s: float, making_s: float) -> int:
    affordable = int(_MAKING_SHARE * budget_s / making_s) if making_s > 0 else MOST_REPLICATES
    return max(LEAST_REPLICATES, min(MOST_REPLICATES, affordable))


def _drawn(arms: Sequence[str], generator: np.random.Generator) -> list[str]:
    return [arms[index] for index in generator.permutation(len(arms))]


def _seed(seed: int, number: int) -> int:
    """A seed of its own for each set, from the one that the user knows."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
