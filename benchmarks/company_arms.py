"""The measuring process of company.py: every arm is a session of the same model."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from precbench.runtime.inputs import seeded_inputs
from precbench.runtime.session import open_session
from precbench.runtime.settings import SessionSettings
from precbench.timing.processes import Prepared, child_main
from precbench.timing.schedule import ProcessPlan


def prepare(request: Any, plan: ProcessPlan) -> Prepared:
    """Return how to make one more session, bound to the same inputs."""
    del plan
    settings = SessionSettings(intra_op_threads=request["threads"], force_spinning_stop=request["force_spinning_stop"])

    def make(arm: str) -> Callable[[], object]:
        del arm
        session = open_session(Path(request["model"]), settings)
        return session.bind(seeded_inputs(session.inputs, seed=0, batch=request["batch"]))

    return make, None


if __name__ == "__main__":
    sys.exit(child_main(prepare, sys.argv[1:]))
