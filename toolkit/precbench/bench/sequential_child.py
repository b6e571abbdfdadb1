"""The process that times the paper's way: `python -m precbench.bench.sequential_child`."""

import sys
from typing import Any

from precbench.bench.child import prepare
from precbench.timing.journal import Keep, Kind, reading_words
from precbench.timing.processes import be_child
from precbench.timing.schedule import ProcessPlan
from precbench.timing.sequential import measure_sequential


def work(call: Any, journal: Keep) -> Any:
    """Make one pass per arm, in the order given; keep each in the journal as soon as it is over."""
    plan = ProcessPlan.from_json(call["plan"])
    make, _ = prepare(call["request"], plan)
    for arm, one in measure_sequential(make, plan.arms, calls=call["calls"], most_s=call["most_s"]):
        told = {"arm": arm, "creation_ns": one.creation_ns, "elapsed_ns": one.elapsed_ns}
        journal(Kind.READING, reading_words(told))


if __name__ == "__main__":
    sys.exit(be_child(work, sys.argv[1:]))
