"""Which nodes account for a gap: ONNX Runtime's own times of each node, of both sides, over fresh processes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from precbench.bench.arms import Line
from precbench.errors import ModelError
from precbench.progress import SILENT, Progress
from precbench.timing.processes import run_child
from precbench.timing.samples import DONE
from precbench.timing.schedule import ProcessPlan

REPLICATES = 8
MOST_NODES = 10
_LEVEL = 0.95
_ORDER_STREAM = 4  # of the seed; the engine draws from 0 to 3

Key = tuple[str, str]
Times = Mapping[str, Mapping[Key, float]]
"""Arm to node (name, operator type) to nanoseconds per call."""


def profile(line: Line, request: Mapping[str, Any], *, seed: int, progress: Progress = SILENT) -> dict[str, Any]:
    """Profile every arm in fresh processes, and say per comparison which nodes differ.

    The profiler slows calls down, so its times are compared with each other and with nothing else.

    Args:
        line: the arms.
        request: as for `bench.child`.
        seed: of the orders.

    Returns:
        Per comparison what `account` gives, and how many replicates it rests on. Strict JSON.

    Raises:
        ModelError: a model cannot be run, or every process was killed.
        KeyboardInterrupt: it was interrupted.
    """
    replicates = list[Times]()
    with progress.track("profiling", REPLICATES) as advance:
        for number in range(REPLICATES):
            times = _profile_once(line, request, number, seed)
            if times is not None:
                replicates.append(times)
            advance(1)
    if not replicates:
        raise ModelError(
            f"no profile: all of its {REPLICATES} processes were killed", "free memory, or use a smaller --batch"
        )
    accounts = [
        account(replicates, c.arm, c.base, c.control, comparisons=len(line.comparisons))
        | {"control": account(replicates, c.control, c.base, c.control)["gap_ns"]}
        for c in line.comparisons
    ]
    return {"replicates": len(replicates), "comparisons": accounts}


def account(replicates: Sequence[Times], arm: str, base: str, control: str, *, comparisons: int = 1) -> dict[str, Any]:
    """Say which nodes' times differ between two arms.

    A node differs if the t interval of its difference over the replicates, at a level corrected for the number of
    nodes in all comparisons (Bonferroni), lies beyond what the same node of the control differs from the base by.
    Nodes are matched by name and type; one that only one side has counts as 0 on the other.

    Args:
        replicates: at least one; with fewer than two nothing differs.
        arm: in the comparison.
        base: likewise.
        control: an arm that is the same as the base.
        comparisons: how many are made in all, this one included; at least 1.

    Returns:
        Keys arm, base, gap_ns (sum over all nodes, with low and high), base_ns, accounted_ns (over those that differ),
        accounted_share (of the gap, negative where they differ the other way; None where there is no gap),
        nodes_that_differ (how many), nodes: these and the largest of the others, at most ten in all, each with name,
        op_type, base_ns, arm_ns, difference_ns (with low and high), differs.
    """
    keys = list(dict.fromkeys(key for times in replicates for side in (base, arm) for key in times.get(side, {})))
    table = {
        side: np.array([[times[side].get(key, 0.0) for key in keys] for times in replicates])
        for side in (base, arm, control)
    }
    differences, noise = table[arm] - table[base], table[control] - table[base]
    half = _half_widths(differences, (1 - _LEVEL) / max(1, len(keys) * comparisons))
    mean = differences.mean(axis=0)
    differs = np.abs(mean) - half > np.abs(noise.mean(axis=0)) + _half_widths(noise, 1 - _LEVEL)
    order = sorted(range(len(keys)), key=lambda i: (not differs[i], -abs(mean[i])))[:MOST_NODES]
    gap, accounted = differences.sum(axis=1), float(mean[differs].sum())
    gap_half = float(_half_widths(gap[:, None], 1 - _LEVEL)[0])
    return {
        "arm": arm,
        "base": base,
        "gap_ns": _interval(float(gap.mean()), gap_half),
        "base_ns": float(table[base].sum(axis=1).mean()),
        "accounted_ns": accounted,
        "accounted_share": accounted / float(gap.mean()) if gap.mean() else None,
        "nodes_that_differ": int(differs.sum()),
        "nodes": [
            {
                "name": keys[i][0],
                "op_type": keys[i][1],
                "base_ns": float(table[base][:, i].mean()),
                "arm_ns": float(table[arm][:, i].mean()),
                "difference_ns": _interval(float(mean[i]), float(half[i])),
                "differs": bool(differs[i]),
            }
            for i in order
        ],
    }


def _half_widths(values: NDArray[np.float64], p: float) -> NDArray[np.float64]:
    count = len(values)
    if count < 2:
        return np.full(values.shape[1:], np.inf)
    error = values.std(axis=0, ddof=1) / np.sqrt(count)
    widths: NDArray[np.float64] = error * stats.t.isf(p / 2, count - 1)
    return widths


def _interval(point: float, half: float) -> dict[str, float | None]:
    bounded = np.isfinite(half)
    return {"point": point, "low": point - half if bounded else None, "high": point + half if bounded else None}


def _profile_once(line: Line, request: Mapping[str, Any], number: int, seed: int) -> Times | None:
    """One process per group, the groups in a drawn order; None where one of them was killed."""
    times: dict[str, Mapping[Key, float]] = {}
    order = np.random.default_rng([seed, number, _ORDER_STREAM]).permutation(len(line.groups)).tolist()
    for place, index in enumerate(order):
        process = number * len(order) + place
        plan = ProcessPlan(replicate=number, process=process, arms=line.groups[index], seed=seed)
        outcome = run_child("precbench.bench.profile_child", {"plan": plan.to_json(), "request": request})
        outcome.raise_failure()
        if outcome.ended != DONE:
            return None
        for arm, nodes in outcome.result.items():
            times[arm] = {(node["name"], node["op_type"]): node["usual_ns"] for node in nodes}
    return times
