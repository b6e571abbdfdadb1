"""From raw times to a ratio with its interval: blocks into processes, processes into one estimate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from precbench.timing.samples import ProcessSamples, outlier_labels

MOST_BATCHES = 10
BIWEIGHT_REACH = 6.0
"""Standard deviations from the middle at which a block no longer counts; Tukey's nine median absolute deviations."""

_MANY_GROUPS = 10
"""Fewer cannot show that a whole one of them is odd: no scale is then below that of the groups."""
_STEPS = 100
_LEAST_BLOCKS = 2  # per batch

LARGEST_LOG = 50.0
"""No two times have a ratio of e^50: an interval that reaches so far is none."""

PROCESS, BATCH = "process", "batch of blocks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A log ratio estimated from independent units.

    Args:
        mean: the estimate.
        error: its standard error; infinite with fewer than two units.
        units: how many.
        unit: "process", or "batch of blocks" where there is but one process, whose interval knows nothing of how
            processes differ.
    """

    mean: float
    error: float
    units: int
    unit: str

    def half_width(self, p: float) -> float:
        """Return half the width of the t interval at the level 1 - p."""
        return float(self.error * self._t(p)) if self.units > 1 else float("inf")

    def p_beyond(self, bound: float) -> float:
        """Return the smallest p at which the whole interval at level 1 - p lies beyond `bound` or below `-bound`."""
        return min(1.0, 2 * self._tail(abs(self.mean) - bound))

    def p_within(self, margin: float) -> float:
        """Return the smallest p at which the whole interval at level 1 - p lies within `-margin`..`margin`.

        That is two one-sided tests at p / 2 each.

        Source: D. J. Schuirmann, "A comparison of the two one-sided tests procedure and the power approach for
            assessing the equivalence of average bioavailability", J. Pharmacokin. Biopharm. 15, 1987.
        """
        return min(1.0, 2 * self._tail(margin - abs(self.mean)))

    def _t(self, p: float) -> float:
        return float(stats.t.isf(p / 2, self.units - 1))

    def _tail(self, distance: float) -> float:
        if self.units < 2:
            return 1.0
        if self.error == 0:
            return 0.0 if distance > 0 else 1.0
        return float(stats.t.sf(distance / self.error, self.units - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Time of an arm over time of its base: below 1 the arm is faster.

    Args:
        point: the estimate; None where nothing was measured.
        low: lower end of the interval; None where there are too few units for one.
        high: upper end; None likewise.
        level: of the interval, all looks together.
        units: how many it rests on.
        unit: of what kind, see `Estimate`.
    """

    point: float | None
    low: float | None
    high: float | None
    level: float
    units: int
    unit: str

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {name: getattr(self, name) for name in self.__slots__}


def ratio_of(estimate: Estimate, *, level: float, p: float) -> Ratio:
    """Return an estimate as a ratio.

    Args:
        estimate: of the log ratio.
        level: that the interval claims, all looks together.
        p: nominal level at this look, see `looks.look_levels`; 1 - level where there was but one look.
    """
    half, low, high = estimate.half_width(p), None, None
    if abs(estimate.mean) + half < LARGEST_LOG:
        low, high = float(np.exp(estimate.mean - half)), float(np.exp(estimate.mean + half))
    return Ratio(
        point=float(np.exp(estimate.mean)) if estimate.units else None,
        low=low,
        high=high,
        level=level,
        units=estimate.units,
        unit=estimate.unit,
    )


def estimate(processes: Sequence[ProcessSamples], *, arm: str, base: str, control: str | None = None) -> Estimate:
    """Estimate the log time ratio arm / base of the usual call in the usual process.

    Within a block: the difference of `ProcessSamples.log_times`, from each base. Over all blocks of all processes:
    their biweight, a mean in which a block counts less the further it lies from the middle, and not at all from six
    standard deviations on: noise of a real machine has long tails. Its standard error takes the blocks of one process
    as one draw: two processes, or two sessions in them, differ steadily by where they lie in memory, and more blocks do
    not average away what they share. An arm that has a process of its own is compared with the base's process of the
    same replicate. With a single replicate the units are up to ten runs of consecutive blocks.

    Args:
        processes: of one measurement; those without a whole block count for nothing.
        arm: in the numerator.
        base: in the denominator.
        control: an arm that is the same thing as the base. It then is a base too: measured twice, which takes a
            quarter off the variance of the ratio.

    Source: replication at the level where the noise is: T. Kalibera, R. Jones, "Rigorous benchmarking in reasonable
        time", ISMM 2013. The biweight: F. Mosteller, J. W. Tukey, "Data Analysis and Regression", 1977, 10.C. Its
        error: P. J. Huber, "Robust Statistics", 1981, 7.6, with sums over clusters: K.-Y. Liang, S. L. Zeger,
        Biometrika 73, 1986. Batch means for one process: A. M. Law, "Simulation Modeling and Analysis", 9.5.
    """
    replicates = _replicates(processes, arm, base, control)
    if len(replicates) == 1:
        return _from_groups(replicates[0].batches(), BATCH)
    return _from_groups([replicate.differences() for replicate in replicates], PROCESS)


def mean_estimate(processes: Sequence[ProcessSamples], *, arm: str, base: str, control: str | None = None) -> Estimate:
    """Estimate the log ratio of mean times, arm / base: with every slow call and every slow process in it.

    `estimate` is of the usual call in the usual process, which medians and the biweight describe: it is blind to an arm
    of which a fifth of the calls, or a twentieth of the processes, is slow. This one is not, and is noisier for it.
    Within a process: the ratio of the means over all timed calls; over processes: their mean. Its error is that of a
    log by the delta method.

    Args:
        processes: as for `estimate`.
        arm: in the numerator.
        base: in the denominator.
        control: as for `estimate`; the denominator is then the mean of both.
    """
    bases = _bases(base, control)
    found: dict[int, dict[str, float]] = {}
    for samples in processes:
        for name in {arm, *bases} & set(samples.plan.arms) if samples.blocks else ():
            found.setdefault(samples.plan.replicate, {})[name] = float(samples.of(name).mean())
    whole = [here for here in found.values() if {arm, *bases} <= here.keys()]
    ratios = np.array([here[arm] / np.mean([here[name] for name in bases]) for here in whole])
    if len(ratios) < 2:
        return Estimate(mean=float(np.log(ratios).sum()), error=float("inf"), units=len(ratios), unit=PROCESS)
    mean, error = ratios.mean(), ratios.std(ddof=1) / np.sqrt(len(ratios))
    return Estimate(mean=float(np.log(mean)), error=float(error / mean), units=len(ratios), unit=PROCESS)


def process_log_ratios(
    processes: Sequence[ProcessSamples], *, arm: str, base: str, control: str | None = None
) -> NDArray[np.float64]:
    """Return what each replicate shows by itself, float64 [replicates]: the biweight of its blocks."""
    replicates = _replicates(processes, arm, base, control)
    return np.array([_biweight(replicate.differences())[0] for replicate in replicates], dtype=np.float64)


_Logs = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Replicate:
    """The log times of an arm and its bases in one replicate, block by block; paired where one process has them all."""

    arm: _Logs
    bases: tuple[_Logs, ...]
    paired: bool

    def differences(self) -> _Logs:
        """Of each block from each base; where the arms are in processes of their own, of all blocks together.

        From each, not from their mean: noise is skewed, and a robust mean of skewed differences is not 0 where nothing
        differs. The difference of two that are alike is symmetric.
        """
        if self.paired:
            return np.concatenate([self.arm - base for base in self.bases])
        return np.array([_biweight(self.arm)[0] - np.mean([_biweight(base)[0] for base in self.bases])])

    def batches(self) -> list[_Logs]:
        blocks = min(len(logs) for logs in (self.arm, *self.bases))
        count = max(1, min(MOST_BATCHES, blocks // _LEAST_BLOCKS))
        parts = [np.array_split(logs[:blocks], count) for logs in (self.arm, *self.bases)]
        return [
            _Replicate(arm=arm, bases=tuple(bases), paired=self.paired).differences()
            for arm, *bases in zip(*parts, strict=True)
        ]


def _bases(base: str, control: str | None) -> tuple[str, ...]:
    return (base,) if control is None else (base, control)


def _replicates(processes: Sequence[ProcessSamples], arm: str, base: str, control: str | None) -> list[_Replicate]:
    wanted = (arm, *_bases(base, control))
    found: dict[int, dict[str, tuple[int, _Logs]]] = {}
    for samples in processes:
        if samples.blocks and {*wanted} & set(samples.plan.arms):
            logs = samples.log_times()
            here = found.setdefault(samples.plan.replicate, {})
            here.update({name: (samples.plan.process, logs[:, i]) for i, name in enumerate(samples.plan.arms)})
    return [
        _Replicate(
            arm=here[arm][1],
            bases=tuple(here[name][1] for name in wanted[1:]),
            paired=len({here[name][0] for name in wanted}) == 1,
        )
        for here in found.values()
        if here.keys() >= {*wanted}
    ]


def _from_groups(groups: Sequence[_Logs], unit: str) -> Estimate:
    """The biweight of all values, and its error where those of one group are not independent of each other."""
    count = len(groups)
    if count == 0:
        return Estimate(mean=0.0, error=float("inf"), units=0, unit=unit)
    values = np.concatenate(groups)
    mean, scale = _biweight(values, least_scale=_least_scale(groups))
    if count == 1 or scale == 0:
        return Estimate(mean=mean, error=0.0 if count > 1 else float("inf"), units=count, unit=unit)
    shares = np.clip(((values - mean) / (BIWEIGHT_REACH * scale)) ** 2, 0, 1)
    influences, slopes = (values - mean) * (1 - shares) ** 2, (1 - shares) * (1 - 5 * shares)
    if slopes.sum() <= 0:  # as many values far off as near by: there is no middle
        return Estimate(mean=mean, error=float("inf"), units=count, unit=unit)
    sums = np.array([part.sum() for part in np.split(influences, np.cumsum([len(group) for group in groups])[:-1])])
    for_so_few = 1 + slopes.var() / slopes.mean() ** 2 / count
    error = for_so_few * np.sqrt(count / (count - 1) * (sums**2).sum()) / slopes.sum()
    return Estimate(mean=mean, error=float(error), units=count, unit=unit)


def _least_scale(groups: Sequence[_Logs]) -> float:
    return float(np.std([np.median(group) for group in groups], ddof=1)) if 1 < len(groups) < _MANY_GROUPS else 0.0


def _biweight(values: _Logs, *, least_scale: float = 0.0) -> tuple[float, float]:
    """Return Tukey's biweight and the scale that it is taken with; of values that are all alike the scale is 0."""
    middle = float(np.median(values))
    distances = np.abs(values - middle)
    scale = float(1.4826 * np.median(distances)) or float(1.2533 * distances.mean())  # the latter: most are alike
    scale = max(scale, least_scale)
    if scale == 0:
        return middle, scale
    for _ in range(_STEPS):
        weights = (1 - np.clip(((values - middle) / (BIWEIGHT_REACH * scale)) ** 2, 0, 1)) ** 2
        before, middle = middle, float((weights * values).sum() / weights.sum())
        if abs(middle - before) <= 1e-12 * scale:
            break
    return middle, scale


def latencies(processes: Sequence[ProcessSamples]) -> Mapping[str, dict[str, Any]]:
    """Return per arm what its timed calls were like, all processes together; for reading, not for comparing.

    Keys: calls, mean_ns, median_ns, p90_ns, p95_ns, p99_ns (None with fewer than 10, 20, 100 calls), creation_ns and
    first_run_ns (medians over processes), outliers (mild, severe: `samples.outlier_labels`).
    """
    arms = dict.fromkeys(arm for samples in processes for arm in samples.plan.arms)
    return {arm: _latency([samples for samples in processes if arm in samples.plan.arms], arm) for arm in arms}


_QUANTILES = {"p90_ns": (0.90, 10), "p95_ns": (0.95, 20), "p99_ns": (0.99, 100)}


def _latency(processes: Sequence[ProcessSamples], arm: str) -> dict[str, Any]:
    times = [samples.of(arm) for samples in processes]
    calls = np.concatenate([part.ravel() for part in times])
    labels = np.concatenate([outlier_labels(part).ravel() for part in times])
    quantiles = {
        name: float(np.quantile(calls, share)) if len(calls) >= least else None
        for name, (share, least) in _QUANTILES.items()
    }
    return {
        "calls": len(calls),
        "mean_ns": float(calls.mean()) if len(calls) else None,
        "median_ns": float(np.median(calls)) if len(calls) else None,
        **quantiles,
        "creation_ns": _median([s.creation_ns[arm] for s in processes if arm in s.creation_ns]),
        "first_run_ns": _median([s.first_run_ns[arm] for s in processes if arm in s.first_run_ns]),
        "outliers": {name: int((labels == name).sum()) for name in ("mild", "severe")},
    }


def _median(values: Sequence[int]) -> float | None:
    return float(np.median(values)) if values else None
