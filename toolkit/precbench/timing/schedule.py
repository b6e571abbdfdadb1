"""Which arm is called when: a plan per process, all of it drawn from one seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from precbench.errors import UsageError

MAX_BLOCKS = 100_000
MAX_CALLS = 50
_CREATION_STREAM, _BLOCK_STREAM, _WARMUP_STREAM = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessPlan:
    """What one fresh process is to do.

    Args:
        replicate: number of the replicate that it belongs to, from 0. A replicate is one process, or several where
            some arms must not share one.
        process: its own number in the order of running, from 0.
        arms: names, all different; the first is the base of the others.
        seed: of the whole measurement; orders follow from it, the process and the arms.
        blocks: measure exactly so many; None measures until `measure_s` is over.
        calls: timed calls per position, 1..50; None finds out how many make about 10 ms (see `measurement`).
        measure_s: seconds of measuring; at least one block is measured.
        warmup_s: seconds after which the warm-up ends though no steady state was seen; up to three times as many where
            the rounds are too long for one to be seen by then.
        room_s: seconds that are left of the whole budget; where not one block fits, the process refuses.
    """

    replicate: int
    process: int
    arms: tuple[str, ...]
    seed: int
    blocks: int | None = None
    calls: int | None = None
    measure_s: float = 1.0
    warmup_s: float = 0.5
    room_s: float = float("inf")

    def __post_init__(self) -> None:
        """Refuse values that cannot be used."""
        check_arms(self.arms)
        for what, number in (("seed", self.seed), ("replicate", self.replicate), ("process", self.process)):
            if number < 0:
                raise UsageError(f"the {what} {number} is negative", "give a whole number from 0")
        for what, seconds in (("measuring", self.measure_s), ("warming up", self.warmup_s)):
            if not 0 <= seconds < float("inf"):
                raise UsageError(f"{seconds} s of {what} have no end", "give seconds from 0")
        for what, count, most in (("blocks", self.blocks, MAX_BLOCKS), ("calls", self.calls, MAX_CALLS)):
            if count is not None and not 1 <= count <= most:
                raise UsageError(f"{count} {what} is outside 1..{most}", f"give a number in 1..{most}")

    def creation_order(self) -> list[str]:
        """Return the order in which the callables are made: over as many replicates as arms, each has every place."""
        cycle, turn = divmod(self.replicate, len(self.arms))
        drawn = np.random.default_rng([self.seed, cycle, _CREATION_STREAM]).permutation(len(self.arms)).tolist()
        return [self.arms[index] for index in (*drawn[turn:], *drawn[:turn])]

    def block_orders(self) -> Iterator[list[int]]:
        """Yield block after block the arms' indices in the order of calling: a drawn order, then its mirror.

        For two arms that is ABBA or BAAB. What changes linearly within a block cancels between an arm and its base.
        """
        generator = np.random.default_rng([self.seed, self.process, _BLOCK_STREAM])
        while True:
            drawn = generator.permutation(len(self.arms)).tolist()
            yield drawn + drawn[::-1]

    def warmup_orders(self) -> Iterator[list[int]]:
        """Yield round after round of the warm-up the arms' indices in a drawn order."""
        generator = np.random.default_rng([self.seed, self.process, _WARMUP_STREAM])
        while True:
            yield generator.permutation(len(self.arms)).tolist()

    def to_json(self) -> dict[str, Any]:
        """Return plain values, from which `from_json` rebuilds an equal plan."""
        values = {name: getattr(self, name) for name in self.__slots__}
        room_s = None if self.room_s == float("inf") else self.room_s
        return {**values, "arms": list(self.arms), "room_s": room_s}

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Rebuild a plan from `to_json`'s value.

        Raises:
            KeyError, TypeError, ValueError, UsageError: it is not such a value.
        """
        return cls(
            replicate=int(value["replicate"]),
            process=int(value["process"]),
            arms=tuple(str(arm) for arm in value["arms"]),
            seed=int(value["seed"]),
            blocks=None if value["blocks"] is None else int(value["blocks"]),
            calls=None if value["calls"] is None else int(value["calls"]),
            measure_s=float(value["measure_s"]),
            warmup_s=float(value["warmup_s"]),
            room_s=float("inf") if value["room_s"] is None else float(value["room_s"]),
        )


def check_arms(arms: Sequence[str]) -> None:
    """Refuse no arms, or two of one name.

    Raises:
        UsageError: they cannot be told apart.
    """
    if not arms or len(set(arms)) != len(arms):
        raise UsageError(f"the arms {list(arms)} are none, or not all different", "give each arm a name of its own")
