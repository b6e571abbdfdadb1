"""When a process is warm: the time of a round no longer falls."""

from collections.abc import Sequence

import numpy as np

WINDOW = 5
TOLERANCE = 0.01


def is_steady(rounds_ns: Sequence[float]) -> bool:
    """Whether the last five rounds take as long as the five before them.

    Steady means: their medians differ by less than 1 %, or by less than twice the standard error that the scatter of
    the ten rounds gives such a difference. What changes more slowly than ten rounds show (a GPU that heats up for
    minutes) is not seen here; blocks cancel it, and `bench.caveats` looks for drift within a process afterwards.

    Args:
        rounds_ns: time of each warm-up round so far, all arms together, in order.

    Source: the steady state of E. Barrett et al., "Virtual machine warmup blows hot and cold", OOPSLA 2017, made
        on-line: two adjacent windows in place of change points found afterwards.
    """
    if len(rounds_ns) < 2 * WINDOW:
        return False
    logs = np.log(np.maximum(np.asarray(rounds_ns[-2 * WINDOW :], dtype=np.float64), 1.0))
    before, after = np.median(logs[:WINDOW]), np.median(logs[WINDOW:])
    scatter = 1.4826 * np.median(np.abs(logs - np.concatenate([np.full(WINDOW, before), np.full(WINDOW, after)])))
    error = 1.2533 * scatter * np.sqrt(2 / WINDOW)  # of the difference of two medians of so many normal values
    return bool(abs(after - before) <= max(TOLERANCE, 2 * error))
