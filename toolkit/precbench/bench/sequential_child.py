"""The process that times the paper's way: `python -m precbench.bench.sequential_child`."""

import sys
from typing import Any

from precbench.bench.child import prepare
from precbench.timing.journal import Keep
from precbench.timing.processes import be_child
from precbench.timing.schedule import ProcessPlan
from precbench.timing.sequential import measure_sequential


def work(call: Any, journal: Keep) -> Any:
    """Make one pass per arm, in the order given; return every call's nanoseconds."""
    del journal
    plan = ProcessPlan.from_json(call["plan"])
    make, _ = prepare(call["request"], plan)
    passes = measure_sequential(make, plan.arms, calls=call["calls"], most_s=call["most_s"])
    return {arm: {"creation_ns": one.creation_ns, "elapsed_ns": list(one.elapsed_ns)} for arm, one in passes.items()}


if __name__ == "__main__":
    sys.exit(be_child(work, sys.argv[1:]))
