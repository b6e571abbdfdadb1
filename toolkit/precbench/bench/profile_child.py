"""The process that profiles: `python -m precbench.bench.profile_child`."""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from precbench.runtime.profiling import NodeTime, ProfiledSession, open_profiled
from precbench.runtime.settings import SessionSettings
from precbench.timing.journal import Keep
from precbench.timing.processes import be_child
from precbench.timing.schedule import ProcessPlan

CALLS = 3  # per position, after the switch
_SECONDS, _MOST_BLOCKS = 1.0, 30


def work(call: Any, journal: Keep) -> Any:
    """Run blocks over profiled sessions; return per arm the usual time of each node, in nanoseconds per call."""
    del journal
    plan, request = ProcessPlan.from_json(call["plan"]), call["request"]
    with np.load(request["feeds"], allow_pickle=False) as archive:
        feeds = {name: archive[name] for name in archive.files}
    with tempfile.TemporaryDirectory(prefix="precbench-profile-") as folder:
        sessions = {
            arm: open_profiled(Path(request["arms"][arm]["model"]), _settings(request, arm), Path(folder))
            for arm in plan.creation_order()
        }
        for arm in plan.creation_order():
            sessions[arm].run(feeds)
        _run_blocks(plan, [sessions[arm] for arm in plan.arms], feeds)
        return {arm: [_usual(node) for node in sessions[arm].finish(skip=1)] for arm in plan.arms}


def _settings(request: Any, arm: str) -> SessionSettings:
    return SessionSettings(**{**request["settings"], "denormals_as_zero": request["arms"][arm]["denormals_as_zero"]})


def _run_blocks(plan: ProcessPlan, sessions: list[ProfiledSession], feeds: Any) -> None:
    began = time.perf_counter()
    for number, order in enumerate(plan.block_orders(), 1):
        for arm in order:
            for _ in range(1 + CALLS):
                sessions[arm].run(feeds)
        if number == _MOST_BLOCKS or time.perf_counter() - began > _SECONDS:
            return


def _usual(node: NodeTime) -> dict[str, Any]:
    """The mean of the middle half of the calls, switches left out: finer than the whole microseconds of a median."""
    calls = np.sort(np.array(node.elapsed_ns).reshape(-1, 1 + CALLS)[:, 1:], axis=None)
    quarter = len(calls) // 4
    return {
        "name": node.name,
        "op_type": node.op_type,
        "usual_ns": float(calls[quarter : len(calls) - quarter].mean()),
    }


if __name__ == "__main__":
    sys.exit(be_child(work, sys.argv[1:]))
