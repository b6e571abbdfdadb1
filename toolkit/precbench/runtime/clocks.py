"""What a timed call spans: which copies and which waits are inside it."""

from collections.abc import Mapping
from typing import Literal, get_args

from precbench.errors import UsageError
from precbench.nearest import nearest

TimedClock = Literal["end-to-end", "device", "cuda-graph"]
CLOCKS: tuple[TimedClock, ...] = get_args(TimedClock)

CLOCK_MEANINGS: Mapping[TimedClock, str] = {
    "end-to-end": "run: arrays on the host in and out; on a GPU with the copies both ways and the waits",
    "device": "device buffers through IOBinding, synchronized: the feeds copied once before, the outputs left there",
    "cuda-graph": "device buffers as in device, the kernels replayed as one captured CUDA graph, synchronized",
}
"""What a record says of a call timed so."""


def timed_clock(name: str) -> TimedClock:
    """Return the clock of that name.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    for clock in CLOCKS:
        if clock == name:
            return clock
    raise UsageError(f"there is no clock {name!r}", nearest(name, CLOCKS))


def check_clock(clock: TimedClock, provider: str) -> None:
    """Refuse a clock that the provider cannot have.

    Args:
        clock: one of `CLOCKS`.
        provider: short name, or "auto", which can promise "end-to-end" only.

    Raises:
        UsageError: the arrays are on the host anyway (CPU), or the provider captures no CUDA graph here.
    """
    timed_clock(clock)
    if clock == "end-to-end" or provider == "cuda":
        return
    if provider == "auto":
        raise UsageError(
            f"the clock {clock!r} needs a named provider, not auto", "name it with --ep cuda, or use --clock end-to-end"
        )
    if provider == "cpu":
        raise UsageError(
            f"the cpu provider has no clock {clock!r}: its arrays are on the host anyway",
            "use --clock end-to-end, or --ep cuda",
        )
    if clock == "cuda-graph":
        raise UsageError(
            f"the clock 'cuda-graph' is there for the cuda provider, not for {provider}",
            "use --ep cuda, or --clock device",
        )
