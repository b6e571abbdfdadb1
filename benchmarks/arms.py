"""The measuring processes of this folder's scripts, and what they call: a real session, with extra work or without.

An arm is made from a JSON value:
- {"kind": "onnx", "model": PATH, "batch": N, "threads": N, "turns": N}: one run of the model on the CPU, then the extra
  work: so many sums over 1024 floats that stay in the first cache; 0 adds none, by the same code. (From process to
  process such a sum's time over a session's varied by 0.8 %; that of an empty Python loop by 4.4 %.)
- {"kind": "work", "turns": N}: the extra work alone, to see how long it takes.
- {"kind": "empty"}: nothing, to see what timing itself costs.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from precbench.runtime.inputs import seeded_inputs
from precbench.runtime.session import open_session
from precbench.runtime.settings import SessionSettings
from precbench.timing.measurement import Clock, Make, time_calls
from precbench.timing.processes import Prepared, child_main
from precbench.timing.schedule import ProcessPlan

PASSES = "passes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Calls of one arm in a row.

    Args:
        arm: its name; it is made when the first pass of a process needs it.
        calls: how many.
        most_s: seconds after which no further call begins; None sets no limit.
    """

    arm: str
    calls: int
    most_s: float | None = None


def run_passes(make: Make, passes: Sequence[Pass], clock: Clock, most_s: float | None = None) -> list[list[int]]:
    """Make the arms, run the passes in order, and return each call's nanoseconds, pass by pass.

    After `most_s` seconds no further pass begins.
    """
    made: dict[str, Callable[[], object]] = {}
    results, all_began = list[list[int]](), clock()
    for one in passes:
        if most_s is not None and (clock() - all_began) / 1e9 >= most_s:
            break
        call = made.get(one.arm) or made.setdefault(one.arm, make(one.arm))
        if one.most_s is None:
            results.append(time_calls(call, one.calls, clock)[1])
            continue
        began, elapsed = clock(), list[int]()
        while len(elapsed) < one.calls and (clock() - began) / 1e9 < one.most_s:
            elapsed += time_calls(call, 1, clock)[1]
        results.append(elapsed)
    return results


def maker(specs: Mapping[str, Any]) -> Make:
    """Return what makes the callable of a named arm."""
    return lambda arm: _made(specs[arm])


def _made(spec: Mapping[str, Any]) -> Callable[[], object]:
    if spec["kind"] == "empty":
        return _nothing
    if spec["kind"] == "work":
        return _with_work(_nothing, spec["turns"])
    session = open_session(Path(spec["model"]), SessionSettings(intra_op_threads=spec["threads"]))
    call = session.bind(seeded_inputs(session.inputs, seed=0, batch=spec["batch"]))
    return _with_work(call, spec["turns"])


def _nothing() -> None:
    pass


def _with_work(call: Callable[[], object], turns: int) -> Callable[[], object]:
    add, ones = np.add.reduce, np.ones(1024, dtype=np.float32)

    def both() -> None:
        call()
        for _ in repeat(None, turns):
            add(ones)

    return both


def prepare(request: Any, plan: ProcessPlan) -> Prepared:
    """For the engine's processes (`timing.processes.child_main`)."""
    del plan
    return maker(request["arms"]), None


def passes_request(specs: Mapping[str, Any], passes: Sequence[Pass], most_s: float | None) -> str:
    """Return what a process that runs passes is told."""
    return json.dumps({"arms": dict(specs), "passes": [asdict(one) for one in passes], "most_s": most_s})


def main(arguments: Sequence[str]) -> int:
    """Be a process that measures: for the engine, or passes (told on standard input, answered on standard output)."""
    if list(arguments) != [PASSES]:
        return child_main(prepare, arguments)
    request = json.load(sys.stdin)
    passes = [Pass(**value) for value in request["passes"]]
    print(json.dumps(run_passes(maker(request["arms"]), passes, time.perf_counter_ns, request["most_s"])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
