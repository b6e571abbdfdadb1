"""A measuring process whose model `net.dp1` fails after so many calls: the real child, with a counter around it."""

import sys
from collections.abc import Callable
from typing import Any

from precbench.bench import child
from precbench.errors import ModelError
from precbench.timing.processes import Prepared, child_main
from precbench.timing.schedule import ProcessPlan

CALLS = 40_000


def prepare(request: Any, plan: ProcessPlan) -> Prepared:
    make, observe = child.prepare(request, plan)

    def counted(arm: str) -> Callable[[], object]:
        call, left = make(arm), iter(range(CALLS))

        def one() -> object:
            if next(left, None) is None:
                raise ModelError("ONNX Runtime failed: out of range", "look at the model's indices")
            return call()

        return one if arm == "net.dp1" else call

    return counted, observe


if __name__ == "__main__":
    sys.exit(child_main(prepare, sys.argv[1:]))
