"""Time variants against their base on ONNX Runtime, all in one process, with an A/A control."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from precbench.errors import UsageError
from precbench.progress import SILENT, Progress
from precbench.runtime import Session, SessionSettings, environment
from precbench.study.sessions import open_model
from precbench.timing import Ratio, Samples, measure_within, paired_ratio

BASE, CONTROL = "base", "control"
WARMUP_ROUNDS = 10
SESSION_LUCK = 0.01
"""Two sessions of one model differ steadily by up to this much, by memory layout (docs/decisions/timing.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A finished measurement.

    Attributes:
        samples: every time taken; arms `base`, `control` (a second session of the base), then the variants.
        ratios: variant to time ratio against the base.
        control: the ratio of the base's second session to its first: what this run shows for no difference at all.
        session: provider, options, threads, optimization level, placement.
        inputs: what the models were fed, so that it can be made again.
    """

    base: Path
    variants: Mapping[str, Path]
    samples: Samples
    ratios: Mapping[str, Ratio]
    control: Ratio
    session: Mapping[str, Any]
    inputs: Mapping[str, Any]
    environment: Mapping[str, Any]

    def to_json(self, *, raw: bool = True) -> dict[str, Any]:
        """Return the record; with `raw` every sample in nanoseconds."""
        return {
            "base": str(self.base),
            "variants": {
                name: {
                    "path": str(path),
                    "ratio": self.ratios[name].to_json(),
                    "median_ns": self.samples.median_ns(name),
                    "told_apart": told_apart(self.ratios[name], self.control),
                }
                for name, path in self.variants.items()
            },
            "control": self.control.to_json(),
            "base_median_ns": self.samples.median_ns(BASE),
            "session": dict(self.session),
            "inputs": dict(self.inputs),
            "environment": dict(self.environment),
            **({"samples": self.samples.to_json()} if raw else {}),
        }


def told_apart(ratio: Ratio, control: Ratio) -> bool:
    """Whether a variant is told apart from its base by this run.

    The whole interval must lie beyond what the control shows, mirrored too, and beyond `SESSION_LUCK`: the control is
    one pair of sessions, and a run in one process cannot know how unlike two others would be.
    """
    low = min(control.low, 1 / control.high, 1 / (1 + SESSION_LUCK))
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
    order drawn from the seed. The number of rounds is fixed from the warm-up before the first measured call.

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
    sessions: dict[str, Session] = {}
    with progress.track("making sessions", 2 + len(names)) as advance:
        for arm, path in {BASE: base, CONTROL: base, **names}.items():
            sessions[arm] = open_model(path, settings)
            advance(1)
    arms = {arm: session.bind(feeds) for arm, session in sessions.items()}
    samples = measure_within(arms, budget_s=budget_s, warmup_rounds=WARMUP_ROUNDS, seed=seed, progress=progress)
    return Benchmark(
        base=base,
        variants=names,
        samples=samples,
        ratios={name: paired_ratio(samples, base=BASE, variant=name, seed=seed) for name in names},
        control=paired_ratio(samples, base=BASE, variant=CONTROL, seed=seed),
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
