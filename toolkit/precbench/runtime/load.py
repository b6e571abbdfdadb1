"""How busy others kept the CPUs while we measured."""

import os
import time
from dataclasses import dataclass
from typing import Any

_BUSY = ("user", "nice", "system", "irq", "softirq")  # guests are counted in user and nice already
_WAITING = ("idle", "iowait")


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuUse:
    """One snapshot of the CPU time that the operating system has counted since it started, over all cores.

    Args:
        wall_s: monotonic clock.
        busy_s: seconds of cores that ran something.
        idle_s: seconds of cores that ran nothing, or waited for a disk.
        steal_s: seconds of cores in which the hypervisor ran another machine; None where the system does not say.
    """

    wall_s: float
    busy_s: float
    idle_s: float
    steal_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the machine did for others over an interval.

    Args:
        other_cores: cores' worth of CPU time that processes other than ours used, at least 0.
        steal_share: share of all CPU time, 0..1, that the hypervisor gave to other machines; None if unknown.
        wall_s: length of the interval.
    """

    other_cores: float
    steal_share: float | None
    wall_s: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values, under the fields' names."""
        return {"other_cores": self.other_cores, "steal_share": self.steal_share, "wall_s": self.wall_s}


def cpu_times_now() -> CpuUse:
    """Read what the operating system counts, of the whole machine: other containers on it are seen.

    Linux counts in steps of 10 ms, so an interval should be a second or more.
    """
    import psutil

    return cpu_use(psutil.cpu_times(), wall_s=time.perf_counter())


def cpu_use(times: Any, *, wall_s: float) -> CpuUse:
    """Sum up psutil's CPU times; kinds that this operating system has not count as 0, an unknown steal as None.

    Args:
        times: of `psutil.cpu_times`, in seconds.
        wall_s: when they were read.
    """
    return CpuUse(
        wall_s=wall_s,
        busy_s=sum(getattr(times, kind, 0.0) for kind in _BUSY),
        idle_s=sum(getattr(times, kind, 0.0) for kind in _WAITING),
        steal_s=getattr(times, "steal", None),
    )


def own_cpu_s() -> float:
    """Return the seconds of CPU time of this process (all threads) and of its children that have ended.

    A child that still runs is not in it, nor one that nobody waited for: in `used_by_others` it counts as another's
    until it has ended. Take the snapshots when no child runs.
    """
    ended = os.times()
    return time.process_time() + ended.children_user + ended.children_system


def used_by_others(before: CpuUse, after: CpuUse, own_cpu_s: float) -> Load:
    """Say what others used of the machine between two snapshots.

    Args:
        before: the first.
        after: the second, later.
        own_cpu_s: our own CPU time between the two: the difference of two `own_cpu_s()`.

    Raises:
        ValueError: the second snapshot is not the later one.
    """
    wall_s = after.wall_s - before.wall_s
    if wall_s <= 0:
        raise ValueError(f"the second snapshot is {-wall_s} s before the first")
    busy_s = after.busy_s - before.busy_s
    return Load(
        other_cores=max(0.0, busy_s - own_cpu_s) / wall_s,
        steal_share=_steal_share(before, after),
        wall_s=wall_s,
    )


def _steal_share(before: CpuUse, after: CpuUse) -> float | None:
    if before.steal_s is None or after.steal_s is None:
        return None
    steal_s = max(0.0, after.steal_s - before.steal_s)
    all_s = after.busy_s - before.busy_s + after.idle_s - before.idle_s + steal_s
    return min(1.0, steal_s / all_s) if all_s > 0 else 0.0
