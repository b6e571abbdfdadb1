"""What timing costs: nanoseconds that the timed loop adds to a call, and what the clock reads for a call of nothing.

Run: python benchmarks/overhead.py --work FOLDER
It writes benchmarks/results/overhead.json and .md.
"""

import time
from collections.abc import Callable
from itertools import repeat
from typing import Any

import numpy as np
from laboratory import BASE, CONTROL, HERE, Case, Work, median, parser, table, write_result

from precbench.timing.measurement import time_calls
from precbench.timing.processes import ProcessRunner
from precbench.timing.schedule import ProcessPlan

CALLS = 1000
BLOCKS = 100


def nothing() -> None:
    """Do nothing."""


def per_call_ns(loop: Callable[[], object]) -> float:
    """Return the nanoseconds per call of a loop over CALLS calls."""
    start = time.perf_counter_ns()
    loop()
    return (time.perf_counter_ns() - start) / CALLS


def bare() -> None:
    """Call without timing."""
    for _ in repeat(None, CALLS):
        nothing()


def measure(job: tuple[Case, int]) -> dict[str, Any]:
    """Time both loops in turn, and let the engine time nothing in a process of its own."""
    del job
    timed_ns, bare_ns = [], []
    for _ in range(200):
        timed_ns.append(per_call_ns(lambda: time_calls(nothing, CALLS, time.perf_counter_ns)))
        bare_ns.append(per_call_ns(bare))
    empty = {"arms": {arm: {"kind": "empty"} for arm in (BASE, CONTROL)}}
    plan = ProcessPlan(replicate=0, process=0, arms=(BASE, CONTROL), seed=0, blocks=BLOCKS)
    samples = ProcessRunner("arms", empty, folder=HERE)(plan)
    return {
        "added_ns": float(np.median(timed_ns) - np.median(bare_ns)),
        "added_p99_ns": float(np.quantile(timed_ns, 0.99) - np.median(bare_ns)),
        "bare_ns": float(np.median(bare_ns)),
        "reading_ns": float(np.median(samples.of(BASE))),
        "reading_p99_ns": float(np.quantile(samples.of(BASE), 0.99)),
    }


def main() -> None:
    """Measure, print, and write the result."""
    options = parser(__doc__, runs=10).parse_args()
    work, case = Work(options.work, "overhead"), {"calls": CALLS, "blocks": BLOCKS}
    work.carry_out([case], options.runs, measure, log_each=1)
    results = work.results(case, options.runs)
    row = {name: median(result[name] for result in results) for name in results[0]}
    meanings = {
        "added_ns": "the timed loop adds, per call (median of 200 loops)",
        "added_p99_ns": "the same, slowest of 100 loops",
        "bare_ns": "a call of nothing in an untimed loop takes",
        "reading_ns": "the engine reads for a call of nothing (median)",
        "reading_p99_ns": "the same, 99th percentile",
    }
    text = table([{"what": words, "ns": f"{row[name]:.0f}"} for name, words in meanings.items()])
    write_result(options.results, "overhead", {"runs": results, **row}, text)


if __name__ == "__main__":
    main()
