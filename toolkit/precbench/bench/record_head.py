"""What every record of `precbench bench` begins with, whatever the protocol: who made it, of what, where and how."""

import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import precbench
from precbench.bench.arms import Line
from precbench.bench.gate import Gate
from precbench.bench.records import SCHEMA_VERSION
from precbench.runtime import SessionSettings, cpu_times_now, environment, own_cpu_s, used_by_others
from precbench.runtime.load import Load

COMPLETE = "complete"


def record_head(
    *,
    base: Path,
    variants: Sequence[Path],
    line: Line,
    gate: Gate,
    settings: SessionSettings,
    options: Mapping[str, Any],
    protocol: str,
    ended: str,
    environment: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a record's values but for the measurements and the warnings. Strict JSON.

    Args:
        base: as it was asked for.
        variants: likewise.
        line: of its arms.
        gate: what passed.
        settings: of every session, as asked for.
        options: how it was timed; plain values.
        protocol: "blocks" or "sequential".
        ended: "complete", or why it was not finished.
        environment: see `watch_machine`.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "command": "bench",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "precbench": precbench.__version__,
        "complete": ended == COMPLETE,
        "ended": ended,
        "protocol": protocol,
        "settings": dict(options),
        "asked": {"base": str(base), "variants": [str(path) for path in variants], "session": settings.to_json()},
        "models": {
            name: {**gate.models[arm.model].to_json(), "denormals_as_zero": arm.denormals_as_zero}
            for name, arm in line.arms.items()
        },
        "session": dict(gate.session),
        "environment": dict(environment),
    }


def watch_machine() -> Callable[[], tuple[dict[str, Any], Load]]:
    """Look at the machine; what is returned looks again, and tells what it is and what others used of it since."""
    before, own_s, first = cpu_times_now(), own_cpu_s(), environment()

    def look() -> tuple[dict[str, Any], Load]:
        load = used_by_others(before, cpu_times_now(), own_cpu_s() - own_s)
        about_load = {"load_before": first["load_average"], "load_after": environment()["load_average"]}
        found = {key: value for key, value in first.items() if key != "load_average"}
        return {**found, **about_load, **load.to_json()}, load

    return look
