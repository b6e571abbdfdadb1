"""The process that times: `python -m precbench.bench.child`. Many are started, so it imports no more than it needs."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from precbench.runtime.clocks import timed_clock
from precbench.runtime.providers import import_onnxruntime, preload_cuda
from precbench.runtime.session import open_session
from precbench.runtime.settings import SessionSettings
from precbench.runtime.telemetry import open_gpu_telemetry
from precbench.timing.processes import Prepared, child_main
from precbench.timing.schedule import ProcessPlan


def prepare(request: Any, plan: ProcessPlan) -> Prepared:
    """Return how to make an arm's timed call, and what to read of the GPU after each block.

    ONNX Runtime and its libraries are loaded here, so that no session's creation has that in it.
    """
    del plan
    import_onnxruntime()
    settings, clock = SessionSettings(**request["settings"]), timed_clock(request["clock"])
    if settings.provider != "cpu":
        preload_cuda()
    with np.load(request["feeds"], allow_pickle=False) as archive:
        feeds = {name: archive[name] for name in archive.files}

    def make(arm: str) -> Callable[[], object]:
        spec = request["arms"][arm]
        own = replace(settings, denormals_as_zero=spec["denormals_as_zero"]).for_clock(clock)
        return open_session(Path(spec["model"]), own).bind(feeds, clock=clock)

    return make, _observer(settings)


def _observer(settings: SessionSettings) -> Callable[[], Any] | None:
    if settings.provider == "cpu":
        return None
    telemetry = open_gpu_telemetry(int(settings.options_for(settings.provider)["device_id"]))
    return None if telemetry is None else lambda: telemetry.read().to_json()


if __name__ == "__main__":
    sys.exit(child_main(prepare, sys.argv[1:]))
