"""Which arm is called when, fixed before the first measurement."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from precbench.errors import UsageError

MAX_ROUNDS = 1_000_000
_WARMUP_STREAM, _ROUND_STREAM = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Schedule:
    """Rounds of calls: every round calls every arm once, in an order drawn from the seed.

    Adjacent calls share the machine's state, so the ratio of two arms within a round is free of slow drift; the drawn
    order frees it of what comes from standing first or second.

    Args:
        arms: names, all different, at least one.
        order: intp [rounds, arms]; row r lists the indices of the arms in the order they are called.
        warmup_order: intp [warm-up rounds, arms], the same for the rounds that are kept apart.
        seed: what both were drawn from.
        calls_per_sample: how many calls, one straight after the other, one sample times; for callables too short for
            the clock. The same for every arm.
    """

    arms: tuple[str, ...]
    order: NDArray[np.intp]
    warmup_order: NDArray[np.intp]
    seed: int
    calls_per_sample: int = 1

    def __post_init__(self) -> None:
        """Refuse values that cannot be used."""
        _check_arms(self.arms)
        for order in (self.order, self.warmup_order):
            if order.ndim != 2 or not np.array_equal(np.sort(order, axis=1), _each_arm_once(len(order), self.arms)):
                raise UsageError(
                    "the order of a schedule does not call every arm once in every round", "draw it with plan_schedule"
                )
        _check_count("calls per sample", self.calls_per_sample, least=1)

    @property
    def rounds(self) -> int:
        """Measured rounds."""
        return len(self.order)

    @property
    def warmup_rounds(self) -> int:
        """Rounds before them, recorded apart."""
        return len(self.warmup_order)


def plan_schedule(
    arms: Sequence[str], *, rounds: int, warmup_rounds: int, seed: int, calls_per_sample: int = 1
) -> Schedule:
    """Draw a schedule. The same arguments give the same one; the warm-up's order does not depend on `rounds`.

    Args:
        arms: names, all different.
        rounds: 1..1,000,000.
        warmup_rounds: 0..1,000,000.
        seed: at least 0.
        calls_per_sample: at least 1.

    Raises:
        UsageError: a number is out of its range, or the arms are none or not all different.
    """
    _check_count("rounds", rounds, least=1)
    _check_count("warm-up rounds", warmup_rounds, least=0)
    if seed < 0:
        raise UsageError(f"the seed {seed} is negative", "give a whole number from 0")
    _check_arms(tuple(arms))
    return Schedule(
        arms=tuple(arms),
        order=_draw(rounds, len(arms), seed, _ROUND_STREAM),
        warmup_order=_draw(warmup_rounds, len(arms), seed, _WARMUP_STREAM),
        seed=seed,
        calls_per_sample=calls_per_sample,
    )


def rounds_for(budget_s: float, warmup_ns: NDArray[np.int64], *, least: int = 10, most: int = 10_000) -> int:
    """Return how many rounds fit into a time budget, from the warm-up's times alone.

    The number is fixed before the first measured call: stopping when the result pleases would spoil the interval.

    Args:
        budget_s: seconds for the measured rounds, more than 0.
        warmup_ns: int64 [warm-up rounds, arms]; one round at least, of several the first is left out as cold.
        least: rounds in any case, even if they take longer than the budget.
        most: rounds at most.

    Raises:
        UsageError: the budget is not a positive number, there was no warm-up round, or least exceeds most.
    """
    if not 0 < budget_s < float("inf"):
        raise UsageError(f"the time budget of {budget_s} s is not a positive number", "give seconds, such as 10")
    if len(warmup_ns) == 0:
        raise UsageError(
            "a time budget needs at least one warm-up round to know how long a round takes",
            "give one warm-up round or more, or the number of rounds itself",
        )
    if not 1 <= least <= most:
        raise UsageError(f"between {least} and {most} rounds there is none", "give 1 <= least <= most")
    return max(least, min(most, int(budget_s * 1e9 / _round_ns(warmup_ns))))


def _round_ns(warmup_ns: NDArray[np.int64]) -> float:
    warm = warmup_ns[1:] if len(warmup_ns) > 1 else warmup_ns
    return max(1.0, float(np.median(warm.sum(axis=1))))


def _draw(rounds: int, arms: int, seed: int, stream: int) -> NDArray[np.intp]:
    indices = np.tile(np.arange(arms, dtype=np.intp), (rounds, 1))
    return np.random.default_rng([seed, stream]).permuted(indices, axis=1)


def _each_arm_once(rounds: int, arms: tuple[str, ...]) -> NDArray[np.intp]:
    return np.tile(np.arange(len(arms), dtype=np.intp), (rounds, 1))


def _check_arms(arms: tuple[str, ...]) -> None:
    if not arms or len(set(arms)) != len(arms):
        raise UsageError(f"the arms {list(arms)} are none, or not all different", "give each arm a name of its own")


def _check_count(what: str, count: int, *, least: int) -> None:
    if not least <= count <= MAX_ROUNDS:
        raise UsageError(f"{count} {what} is outside {least}..{MAX_ROUNDS}", f"give a number in {least}..{MAX_ROUNDS}")
