"""What a reader of a result must know that its figures do not say: each with a remedy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np

from precbench.bench.arms import BASE, DENORMALS_OFF, Line
from precbench.bench.gate import Gate
from precbench.runtime.load import Load
from precbench.timing.engine import BUDGET_SPENT, Measurement
from precbench.timing.samples import DONE, INTERRUPTED, ProcessSamples
from precbench.timing.statistics import BATCH, process_log_ratios
from precbench.timing.verdict import Finding, Verdict

BUSY_CORES, BUSY_STEAL = 0.2, 0.02
_UNSTEADY_SHARE = 0.2
_DRIFT = 0.02
_FAR, _FAR_DEVIATIONS = 0.05, 6.0  # of a process's log ratio from the median one
_SHORT_NS = 20_000
_FEW_PROCESSES = 5
_EVEN_START = 3  # processes from which on the median of an arm's creation is not that of a session made first
_ACCOUNTED_SHARE = 0.5
_THROTTLED = frozenset(
    {"sw_power_cap", "hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caveat:
    """A warning and what to do about it."""

    problem: str
    remedy: str

    def to_json(self) -> dict[str, str]:
        """Return plain values."""
        return {"problem": self.problem, "remedy": self.remedy}


def about_the_models(line: Line, gate: Gate) -> list[Caveat]:
    """Say which models are not the base with other values, and which have subnormal weights."""
    return [*_other_graphs(line, gate), *_subnormals(line, gate)]


def _other_graphs(line: Line, gate: Gate) -> Iterator[Caveat]:
    for name, arm in line.arms.items():
        difference = gate.models[arm.model].difference
        if difference is not None:
            yield Caveat(
                problem=f"{name} is another graph than the base ({difference}): the ratio compares two computations",
                remedy="read it so; to see what rounding alone does, compare models that differ in initializers only",
            )


def _subnormals(line: Line, gate: Gate) -> Iterator[Caveat]:
    counts = {name: gate.models[arm.model].subnormals for name, arm in line.arms.items()}
    most = max(counts, key=lambda name: counts[name])
    if counts[most] and gate.provider == "cpu" and DENORMALS_OFF not in line.arms:
        yield Caveat(
            problem=f"{most} has {counts[most]:,} subnormal weights, which many CPUs multiply slowly",
            remedy="add --arm denormals-off to see what they cost"
            if most == BASE
            else f"give {most} as the base, with --arm denormals-off, to see what they cost",
        )


def about_the_machine(environment: Mapping[str, Any], load: Load, threads: int) -> list[Caveat]:
    """Say whether others used the machine, and whether there are cores for the threads."""
    return list(_machine(environment, load, threads))


def _machine(environment: Mapping[str, Any], load: Load, threads: int) -> Iterator[Caveat]:
    if load.other_cores > BUSY_CORES:
        yield Caveat(
            problem=f"other processes used {load.other_cores:.2f} cores while it measured",
            remedy="stop them and measure again; the intervals are wider for it, not wrong",
        )
    if load.steal_share is not None and load.steal_share > BUSY_STEAL:
        yield Caveat(
            problem=f"the hypervisor gave {100 * load.steal_share:.1f} % of the CPU time to other machines",
            remedy="measure on a machine of your own, or for longer",
        )
    cores = min(
        filter(
            None,
            (
                environment.get("cpu_count"),
                len(environment.get("affinity") or []) or None,
                environment.get("cpu_limit"),
            ),
        ),
        default=None,
    )
    if cores is not None and threads > cores:
        yield Caveat(
            problem=f"{threads} threads share {cores:g} cores",
            remedy=f"give --threads {max(1, int(cores))} or fewer",
        )
    if environment.get("governor") in ("powersave", "ondemand", "conservative", "schedutil"):
        yield Caveat(
            problem=f"the CPU governor is {environment['governor']}: clocks follow the load",
            remedy="set it to performance for a measurement (cpupower frequency-set -g performance)",
        )
    if environment.get("denormals_are_zero"):
        yield Caveat(
            problem="this process flushes subnormal numbers to zero already",
            remedy="measure from a fresh process",
        )


def about_the_session(session: Mapping[str, Any]) -> list[Caveat]:
    """Say what the session computes otherwise than its models say."""
    found = list[Caveat]()
    if not session["placement"]:
        found.append(
            Caveat(
                problem="no node is left to run: all that the base computes was computed when its session was made",
                remedy="read it as the time of an empty call; give a model whose outputs depend on its inputs",
            )
        )
    if session["tf32"] == "allowed":
        found.append(
            Caveat(
                problem="TF32 is allowed: float32 products keep 10 bits of mantissa, as coarse as 3 to 4 decimals",
                remedy="add --ep-option use_tf32=0 to time float32 itself",
            )
        )
    return found


def about_the_batches(asked: Sequence[int | None], measured: int) -> list[Caveat]:
    """Name the batch sizes of which nothing was measured."""
    if measured == len(asked):
        return []
    sizes = ", ".join(str(batch or "?") for batch in asked[measured:])
    return [Caveat(problem=f"nothing was measured at batch {sizes}", remedy="measure again, or with a longer --budget")]


def about_the_measurement(measurement: Measurement) -> list[Caveat]:
    """Say what the samples show of their own quality."""
    parts = (_processes, _steadiness, _odd_processes, _findings, _throttling)
    return [caveat for part in parts for caveat in part(measurement)]


def _processes(measurement: Measurement) -> Iterator[Caveat]:
    if not measurement.complete:
        yield Caveat(
            problem=f"partial: it ended before its time ({measurement.ended})",
            remedy="read the intervals as they are: wider, and as valid as of a shorter budget",
        )
    asked = measurement.design.processes
    done = len({samples.plan.replicate for samples in measurement.processes if samples.blocks})
    if measurement.ended == BUDGET_SPENT and asked is not None and done < asked:
        yield Caveat(
            problem=f"the budget had room for {done} of the {asked} processes asked for",
            remedy="give a longer --budget, or fewer --processes",
        )
    lost = [s for s in measurement.processes if s.ended not in (DONE, INTERRUPTED) and s.failure is None]
    for samples in lost[:3]:
        block = "in its warm-up" if samples.lost_block is None else f"in block {samples.lost_block}, which is lost"
        yield Caveat(
            problem=f"process {samples.plan.process} was {samples.ended} {block}",
            remedy="if it was killed for memory, use a smaller --batch; its whole blocks stand",
        )
    uneven = "; nor do creation and first run compare the models: the session made first takes longest"
    started_first = uneven if done < _EVEN_START else ""
    if any(finding.ratio.unit == BATCH for finding in measurement.findings):
        problem = "one process: how processes differ (about 0.5 %, by memory layout alone) was not seen"
        yield Caveat(problem=problem + started_first, remedy=_more_processes(asked))
    elif 1 < done < _FEW_PROCESSES and any(finding.ratio.low is not None for finding in measurement.findings):
        yield Caveat(
            problem=f"{done} processes alone say how processes differ: a narrow interval can be luck{started_first}",
            remedy=_more_processes(asked),
        )


def _more_processes(asked: int | None) -> str:
    return "give a longer --budget" if asked is None else f"leave --processes out, or give {_FEW_PROCESSES} or more"


def _steadiness(measurement: Measurement) -> Iterator[Caveat]:
    measured = [samples for samples in measurement.processes if samples.blocks]
    unsteady = sum(not samples.steady for samples in measured)
    if unsteady > _UNSTEADY_SHARE * len(measured):
        yield Caveat(
            problem=f"{unsteady} of {len(measured)} processes saw no steady state before their warm-up's time was over",
            remedy="give a longer --budget or fewer --processes, so that each has time to warm up",
        )
    drift = float(np.median([_drift(samples) for samples in measured])) if measured else 0.0
    if abs(drift) > _DRIFT:
        yield Caveat(
            problem=f"calls became {100 * abs(drift):.1f} % {'slower' if drift > 0 else 'faster'} within a process",
            remedy="the ratios are free of it; a longer --budget with fewer --processes shows the steady state",
        )
    shortest = min((float(np.median(s.elapsed_ns[:, :, 1:])) for s in measured), default=float("inf"))
    if shortest < _SHORT_NS:
        yield Caveat(
            problem=f"a call takes {shortest / 1000:.1f} µs: calling from Python is a good part of it",
            remedy="give a larger --batch, or read it as the time of a call from Python",
        )


def _drift(samples: ProcessSamples) -> float:
    """Log of the last third of the blocks over the first third, the base's times."""
    third = samples.blocks // 3
    if third < 2:
        return 0.0
    times = samples.log_times()[:, 0]
    return float(np.median(times[-third:]) - np.median(times[:third]))


def _odd_processes(measurement: Measurement) -> Iterator[Caveat]:
    """Name arms of which a few processes are far off: the ratio is of the usual process, and leaves them out."""
    for finding in measurement.findings:
        compared = finding.comparison
        logs = process_log_ratios(measurement.processes, arm=compared.arm, base=compared.base, control=compared.control)
        off = np.abs(logs - np.median(logs)) if len(logs) else logs
        far = off > max(_FAR_DEVIATIONS * 1.4826 * float(np.median(off)), _FAR) if len(logs) else off > 0
        if far.any():
            furthest = logs[np.argmax(off)]
            yield Caveat(
                problem=f"{compared.arm} was far off its usual ratio in {int(far.sum())} of {len(logs)} processes, "
                f"furthest {exp(furthest):.2f}: the ratio given is that of the usual process",
                remedy="look at these processes in the samples; if they come back in another run, they are the model's",
            )


def _findings(measurement: Measurement) -> Iterator[Caveat]:
    controls = {(f.comparison.base, f.control.point): f for f in measurement.findings}
    for finding in controls.values():
        low, high = finding.control.low, finding.control.high
        if low is not None and high is not None and not low <= 1 <= high:
            why = "as in one process it may" if finding.ratio.unit == BATCH else "one run in twenty does so by chance"
            yield Caveat(
                problem=f"the base differs from itself: [{low:.4f}, {high:.4f}]; {why}",
                remedy="verdicts count it in; repeat the run with another --seed before you believe a small effect",
            )
    without = [f.comparison.arm for f in measurement.findings if f.ratio.point is not None and f.ratio.low is None]
    if without:
        yield Caveat(
            problem=f"too little was measured for an interval: {', '.join(without)}",
            remedy="give a longer --budget, or a smaller --batch",
        )
    unresolved = [f for f in measurement.findings if f.widening is not None]
    if unresolved:
        yield _unresolved(max(unresolved, key=lambda f: f.widening or 0), measurement)
    yield from _too_wide(measurement)


def _unresolved(finding: Finding, measurement: Measurement) -> Caveat:
    margin = f"{100 * measurement.design.margin:g} %"
    return Caveat(
        problem=f"this run could not resolve a margin of {margin} for {finding.comparison.arm}",
        remedy=f"{_longer(measurement, finding.widening or 1)}, or a wider --margin",
    )


def _too_wide(measurement: Measurement) -> Iterator[Caveat]:
    target, widths = measurement.design.target_width, _widths(measurement)
    if target is None or not widths:
        return
    widest = max(widths, key=lambda arm: widths[arm])
    if widths[widest] > target:
        yield Caveat(
            problem=f"a width of {100 * target:g} % was asked for and {100 * widths[widest]:.2f} % reached: "
            f"the interval of {widest} is the widest",
            remedy=f"{_longer(measurement, (widths[widest] / target) ** 2)}, or a wider --target-width",
        )


def _widths(measurement: Measurement) -> dict[str, float]:
    """Per arm, controls too, how wide its interval is; those without one are left out."""
    ratios = {f.comparison.control: f.control for f in measurement.findings}
    ratios |= {f.comparison.arm: f.ratio for f in measurement.findings}
    return {arm: r.high - r.low for arm, r in ratios.items() if r.low is not None and r.high is not None}


def _longer(measurement: Measurement, factor: float) -> str:
    """What to give for `factor` times the measurement, as noise is now."""
    needed_s = budget_needed_s(measurement, factor)
    if needed_s is None:
        return "leave --processes out, or give more"
    return f"give --budget {_duration(needed_s)} (as noise is now)"


def budget_needed_s(measurement: Measurement, factor: float | None) -> float | None:
    """Return the whole command's budget for `factor` times the measurement; None where a budget would not do.

    It would not with a number of processes asked for: these differ more than blocks, and a longer look at the same few
    tells little.
    """
    design = measurement.design
    if factor is None or design.processes is not None:
        return None
    batches = (design.family or len(design.comparisons)) / len(design.comparisons)  # they share the budget
    return batches * measurement.elapsed_s * factor


def _duration(seconds: float) -> str:
    rounded = float(f"{seconds:.2g}")
    if rounded < 300:
        return f"{rounded:.0f}s"
    return f"{rounded / 60:.0f}m" if rounded < 7200 else f"{rounded / 3600:.0f}h"


def _throttling(measurement: Measurement) -> Iterator[Caveat]:
    readings = [reading for samples in measurement.processes for reading in samples.readings]
    held = [r for r in readings if _THROTTLED & set(r.get("throttle_reasons") or ())]
    if held:
        reasons = sorted({reason for r in held for reason in r["throttle_reasons"] if reason in _THROTTLED})
        yield Caveat(
            problem=f"the GPU was held back after {len(held)} of {len(readings)} blocks ({', '.join(reasons)})",
            remedy="let it cool, raise its power limit, or lock its clocks (nvidia-smi --lock-gpu-clocks)",
        )


def about_the_profile(measurement: Measurement, accounts: Mapping[str, Any] | None) -> list[Caveat]:
    """Flag a gap of which nodes account for less than half, and a profile that there is not."""
    if accounts is None:
        return [Caveat(problem="there is no profile: it was not finished", remedy="measure again with --profile")]
    by_arm = {one["arm"]: one for one in accounts["comparisons"]}
    found = [(f, _unaccounted(by_arm[f.comparison.arm], f.verdict)) for f in measurement.findings]
    return [
        Caveat(
            problem=f"{finding.comparison.arm} is {finding.verdict}, and {words}",
            remedy="do not believe it yet: look for it outside of the nodes (copies, allocation), or in the machine",
        )
        for finding, words in found
        if words is not None
    ]


def _unaccounted(account: Mapping[str, Any], verdict: Verdict) -> str | None:
    """In words, how little of a gap the nodes that differ account for; None where there is no gap, or it is enough."""
    if verdict not in (Verdict.FASTER, Verdict.SLOWER):
        return None
    accounted, share = account["accounted_ns"], account["accounted_share"]
    if share is None or not (accounted < 0 if verdict is Verdict.FASTER else accounted > 0):
        return "no node's time accounts for it"
    if share >= _ACCOUNTED_SHARE:
        return None
    figure = f"{100 * share:.0f}" if abs(share) >= 0.01 else f"{100 * share:.1g}"
    return f"the nodes that differ account for {figure} % of its gap"
