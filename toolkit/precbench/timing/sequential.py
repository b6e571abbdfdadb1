"""The paper's way of timing: one pass over the images per model, the base first and cold, nothing repeated.

It is here so that one can see what it makes of two identical models. No verdict is built on it.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from precbench.timing.measurement import Clock, Make, time_calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One arm's pass.

    Args:
        creation_ns: time of making it; not part of the pass.
        elapsed_ns: each call, the first and cold one included, in order.
    """

    creation_ns: int
    elapsed_ns: tuple[int, ...]

    @property
    def total_ns(self) -> int:
        """The time that the paper's way reports."""
        return sum(self.elapsed_ns)


def measure_sequential(
    make: Make, arms: Sequence[str], *, calls: int, most_s: float, clock: Clock = time.perf_counter_ns
) -> Iterator[tuple[str, Pass]]:
    """Make the first arm, run its pass, make the next, run its pass, and so on, in the order given.

    Each pass is told as soon as it is over, so that who is interrupted in the next one has it.

    Args:
        make: makes an arm's callable.
        arms: the base first.
        calls: of a pass.
        most_s: seconds after which the first arm's pass is cut; the others then make as many calls.
        clock: integer nanoseconds, monotonic.
    """
    for place, arm in enumerate(arms):
        start = clock()
        call = make(arm)
        creation_ns = clock() - start
        elapsed = list[int]()
        began = clock()
        while len(elapsed) < calls and not (place == 0 and elapsed and (clock() - began) / 1e9 >= most_s):
            elapsed += time_calls(call, 1, clock)[1]
        calls = len(elapsed)
        yield arm, Pass(creation_ns=creation_ns, elapsed_ns=tuple(elapsed))
