"""From raw times to one ratio with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from precbench.errors import UsageError
from precbench.timing.measurement import Samples

RESAMPLES = 9_999
SET_RESAMPLES = 4_999
_BATCH_ELEMENTS = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Time of the variant over time of the base: below 1 the variant is faster.

    Args:
        point: exp of the median of the paired log ratios.
        low: lower end of the interval.
        high: upper end.
        level: of the interval.
        pairs: rounds it rests on, all replicates together.
        replicates: sets of freshly made callables it rests on; with 1 the interval knows nothing of how sets differ.
    """

    point: float
    low: float
    high: float
    level: float
    pairs: int
    replicates: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {
            "point": self.point,
            "low": self.low,
            "high": self.high,
            "level": self.level,
            "pairs": self.pairs,
            "replicates": self.replicates,
        }


def paired_ratio(samples: Samples, *, base: str, variant: str, seed: int, level: float = 0.95) -> Ratio:
    """Return the time ratio variant / base: exp of the median of the rounds' log ratios, with a bootstrap interval.

    Pairing within a round cancels what slows both; the median lets a few disturbed rounds be disturbed; the logarithm
    makes ratio(a, b) = 1 / ratio(b, a). The interval is the percentile bootstrap of that median: rounds are drawn
    with replacement. (Bias correction needs the jackknife, which for a median is degenerate.)

    Args:
        samples: from `measure`.
        base: arm in the denominator.
        variant: arm in the numerator.
        seed: of the resampling, at least 0.
        level: of the interval, inside 0..1.

    Raises:
        UsageError: an arm is unknown, a sample took no time on the clock, there are fewer rounds than
            `fewest_pairs(level)`, or the level is not inside 0..1.

    Source: B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3.
    """
    logs = _log_ratios(samples, base, variant)
    least = fewest_pairs(level)
    if len(logs) < least:
        raise _too_few(len(logs), level)
    low, high = _bootstrap_median(logs, seed, level)
    point, low, high = np.exp([np.median(logs), low, high])
    return Ratio(point=float(point), low=float(low), high=float(high), level=level, pairs=len(logs))


def replicated_ratio(
    replicates: Sequence[Samples], *, base: str, variant: str, seed: int, level: float = 0.95
) -> Ratio:
    """Return the time ratio variant / base over several sets of freshly made callables.

    The point is exp of the median of all paired log ratios. The interval is a bootstrap of it in which whole sets are
    drawn with replacement: what differs between sets and what differs between rounds both count. With so few sets the
    percentile interval is too narrow; its ends are moved out from the point by t(R-1) / z * sqrt(R / (R-1)), 1.22 for
    10 sets, 2.69 for 3. A test holds the coverage on simulated machines.

    Args:
        replicates: from `measure_replicates`, all with the same number of rounds; with one it is `paired_ratio`.
        base: arm in the denominator.
        variant: arm in the numerator.
        seed: of the resampling, at least 0.
        level: of the interval, inside 0..1.

    Raises:
        UsageError: as `paired_ratio`.

    Source: A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8 (the first of its
        two strategies: groups with replacement, each kept whole); the correction is that of a mean of R normal values.
    """
    if len(replicates) == 1:
        return paired_ratio(replicates[0], base=base, variant=variant, seed=seed, level=level)
    logs = np.stack([_log_ratios(samples, base, variant) for samples in replicates])
    pairs = logs.size
    if pairs < fewest_pairs(level):
        raise _too_few(pairs, level)
    point = float(np.median(logs))
    medians = _medians_of_drawn_sets(logs, np.random.default_rng(seed))
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    stretch = _small_sample_factor(len(logs), level)
    ends = point + stretch * (min(low, point) - point), point + stretch * (max(high, point) - point)
    point, low, high = np.exp([point, *ends])
    return Ratio(point=float(point), low=float(low), high=float(high), level=level, pairs=pairs, replicates=len(logs))


def _medians_of_drawn_sets(logs: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    drawn = generator.integers(0, len(logs), (SET_RESAMPLES, len(logs)))
    step = max(1, _BATCH_ELEMENTS // logs.size)
    batches = (logs[drawn[start : start + step]] for start in range(0, SET_RESAMPLES, step))
    return np.concatenate([np.median(batch.reshape(len(batch), -1), axis=1) for batch in batches])


def _small_sample_factor(replicates: int, level: float) -> float:
    quantile = (1 + level) / 2
    spread = stats.t.ppf(quantile, replicates - 1) / stats.norm.ppf(quantile)
    return float(spread * np.sqrt(replicates / (replicates - 1)))


def fewest_pairs(level: float) -> int:
    """Return the fewest pairs whose whole range covers their median at this level: 2 * 0.5^n <= 1 - level.

    With fewer no interval of the median has the level, whatever the method; 6 at 0.95.

    Raises:
        UsageError: the level is not inside 0..1.
    """
    if not 0 < level < 1:
        raise UsageError(f"the level {level} is not inside 0..1", "give a level such as 0.95")
    return max(2, ceil(log2(2 / (1 - level))))


def _too_few(rounds: int, level: float) -> UsageError:
    return UsageError(
        f"{rounds} rounds are too few for an interval at the level {level}",
        f"measure at least {fewest_pairs(level)} rounds",
    )


def _log_ratios(samples: Samples, base: str, variant: str) -> NDArray[np.float64]:
    below, above = samples.of(base), samples.of(variant)
    if min(below.min(), above.min()) <= 0:
        raise UsageError(
            "a sample took no time that the clock could see", "time more calls per sample, or a larger batch"
        )
    logs: NDArray[np.float64] = np.log(above.astype(np.float64)) - np.log(below.astype(np.float64))
    return logs


def _bootstrap_median(logs: NDArray[np.float64], seed: int, level: float) -> tuple[float, float]:
    if (logs == logs[0]).all():
        return float(logs[0]), float(logs[0])
    found = stats.bootstrap(
        (logs,),
        np.median,
        n_resamples=RESAMPLES,
        batch=max(1, _BATCH_ELEMENTS // len(logs)),
        vectorized=True,
        confidence_level=level,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)
