"""How a benchmark is asked for: what `precbench bench` has options for, apart from the session's."""

from dataclasses import dataclass

from precbench.runtime.clocks import TimedClock


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingOptions:
    """How to time.

    Args:
        budget_s: seconds in all, starting processes included; shared between the batch sizes.
        margin: a ratio this near to 1 is as good as 1, a fraction.
        target_width: stop when every interval is so narrow, a fraction; None spends the budget.
        processes: fresh processes; None chooses by the budget.
        clock: what a timed call spans, see `runtime.clocks`.
        denormals_off: also time the base with subnormals flushed to zero.
        profile: also say which nodes differ.
        level: of the intervals.
        seed: of everything drawn.
    """

    budget_s: float = 60.0
    margin: float = 0.01
    target_width: float | None = None
    processes: int | None = None
    clock: TimedClock = "end-to-end"
    denormals_off: bool = False
    profile: bool = False
    level: float = 0.95
    seed: int = 0
