"""Time variants against their base on ONNX Runtime, all in one process, with an A/A control."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import UsageError
from precbench.progress import SILENT, Progress
from precbench.runtime import BoundRun, Session, SessionSettings, environment
from precbench.study.sessions import open_model
from precbench.timing import Ratio, Samples, measure_replicates, replicated_ratio

BASE, CONTROL = "base", "control"
WARMUP_ROUNDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A finished measurement.

    Attributes:
        samples: every time taken, one value per set of sessions; arms `base`, `control` (a second session of the
            base), then the variants.
        ratios: variant to time ratio against the base.
        control: the ratio of the base's second session to its first: what this run shows for no difference at all.
        session: provider, options, threads, optimization level, placement.
        inputs: what the models were fed, so that it can be made again.
    """

    base: Path
    variants: Mapping[str, Path]
    samples: tuple[Samples, ...]
    ratios: Mapping[str, Ratio]
    control: Ratio
    session: Mapping[str, Any]
    inputs: Mapping[str, Any]
    environment: Mapping[str, Any]

    def median_ns(self, arm: str) -> float:
        """Return the median time of one call of an arm, in nanoseconds; for reading, not for comparing."""
        return float(np.median([samples.median_ns(arm) for samples in self.samples]))

    def to_json(self, *, raw: bool = True) -> dict[str, Any]:
        """Return the record; with `raw` every sample in nanoseconds."""
        return {
            "base": str(self.base),
            "variants": {
                name: {
                    "path": str(path),
                    "ratio": self.ratios[name].to_json(),
                    "median_ns": self.median_ns(name),
                    "told_apart": told_apart(self.ratios[name], self.control),
                }
                for name, path in self.variants.items()
            },
            "control": self.control.to_json(),
            "base_median_ns": self.median_ns(BASE),
            "session": dict(self.session),
            "inputs": dict(self.inputs),
            "environment": dict(self.environment),
            **({"samples": [samples.to_json() for samples in self.samples]} if raw else {}),
        }


def told_apart(ratio: Ratio, control: Ratio) -> bool:
    """Whether the whole interval of a ratio lies beyond what the control shows, and beyond its mirror image."""
    low = min(control.low, 1 / control.high)
    return ratio.high < low or ratio.low > 1 / low


def benchmark(
    base: Path,
    variants: Sequence[Path],
    *,
    settings: SessionSettings,
    feeds: Mapping[str, NDArray[Any]],
    inputs: Mapping[str, Any],
    budget_s: float,
    seed: int,
    progress: Progress = SILENT,
) -> Benchmark:
    """Time each variant against the base.

    All sessions live in this process and are fed the same buffers; each round calls every one of them once, in an
    order drawn from the seed. The sessions are made anew several times, each time in another order, so that a
    session's luck (where it lies in memory: about 1 %) is noise and not a finding.

    Args:
        feeds: input name to array; one call runs them once.
        inputs: how `feeds` came to be, recorded.
        budget_s: seconds of measuring.
        seed: of the order and of the intervals.

    Raises:
        UsageError: no variant is given.
        ModelError, ProviderError, DataError: a model cannot be run as asked.
    """
    if not variants:
        raise UsageError(
            "there is no variant to compare with the base",
            "name at least two models: precbench bench BASE.onnx VARIANT.onnx",
        )
    names = dict(zip(_arm_names(variants), variants, strict=True))
    models = {BASE: base, CONTROL: base, **names}
    sessions: dict[str, Session] = {}

    def make(order: Sequence[str]) -> dict[str, BoundRun]:
        sessions.clear()
        sessions.update({arm: open_model(models[arm], settings) for arm in order})
        return {arm: sessions[arm].bind(feeds) for arm in models}

    samples = measure_replicates(
        make, tuple(models), budget_s=budget_s, warmup_rounds=WARMUP_ROUNDS, seed=seed, progress=progress
    )
    return Benchmark(
        base=base,
        variants=names,
        samples=samples,
        ratios={name: replicated_ratio(samples, base=BASE, variant=name, seed=seed) for name in names},
        control=replicated_ratio(samples, base=BASE, variant=CONTROL, seed=seed),
        session=sessions[BASE].record(),
        inputs=dict(inputs),
        environment=environment(),
    )


def _arm_names(variants: Sequence[Path]) -> list[str]:
    """File stems where they tell the variants apart, else whole paths, else numbered."""
    for names in ([path.stem for path in variants], [str(path) for path in variants]):
        if len(set(names)) == len(names) and not {BASE, CONTROL} & set(names):
            return names
    return [f"{number}: {path}" for number, path in enumerate(variants, 1)]
