"""What is measured: every combination of TF32, clock and batch size, the most telling first; TensorRT once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from precbench.errors import UsageError
from precbench.nearest import nearest
from precbench.runtime import SessionSettings, TimedClock

_CLOCKS: tuple[TimedClock, ...] = ("device", "end-to-end", "cuda-graph")
TF32_WORDS = {None: "-", False: "off", True: "on"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """One benchmark of all variants against the base.

    Args:
        provider: "cuda", "tensorrt" or "cpu".
        tf32: whether float32 products may be computed in TF32; None on the CPU, which has none. TensorRT has no option
            for it and uses it.
        clock: what a timed call spans.
        batch: samples per call.
    """

    provider: str
    tf32: bool | None
    clock: TimedClock
    batch: int

    @property
    def name(self) -> str:
        """Of its files."""
        tf32 = "" if self.provider != "cuda" else f".tf32-{TF32_WORDS[self.tf32]}"
        return f"{self.provider}{tf32}.{self.clock}.batch-{self.batch}"

    def settings(self, cache: Path) -> SessionSettings:
        """Return the settings of its sessions.

        Args:
            cache: folder for TensorRT's engines, which take minutes to build: the measuring processes load what the
                gate has built. The times of its tactics are shared, so that two models get the same ones where they
                have the same layers.
        """
        if self.provider == "cuda":
            return SessionSettings(provider="cuda", provider_options={"use_tf32": str(int(bool(self.tf32)))})
        if self.provider == "cpu":
            return SessionSettings(provider="cpu")
        caches = {"trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1"}
        folders = {"trt_engine_cache_path": str(cache), "trt_timing_cache_path": str(cache)}
        return SessionSettings(provider="tensorrt", provider_options={**caches, **folders})

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"provider": self.provider, "tf32": self.tf32, "clock": self.clock, "batch": self.batch}


def all_combinations(provider: str, batches: Sequence[int]) -> list[Combination]:
    """Return what there is to measure with "cuda" or "cpu", in order.

    Args:
        batches: samples per call; TensorRT is given the first.
    """
    if provider == "cpu":
        return [Combination(provider="cpu", tf32=None, clock="end-to-end", batch=batch) for batch in batches]
    return [*_on_cuda(batches), Combination(provider="tensorrt", tf32=True, clock="device", batch=batches[0])]


def _on_cuda(batches: Sequence[int]) -> Iterator[Combination]:
    for clock in _CLOCKS:
        for tf32 in (False, True):
            for batch in batches:
                yield Combination(provider="cuda", tf32=tf32, clock=clock, batch=batch)


def chosen(combinations: Sequence[Combination], only: str | None) -> list[Combination]:
    """Return those that `only` picks: `tf32=0,clock=device`; a key named twice takes either value.

    Raises:
        UsageError: it is not written so, or picks none.
    """
    wanted: dict[str, set[str]] = {}
    for part in only.split(",") if only else ():
        key, _, value = part.strip().partition("=")
        known = {_value(combination, key) for combination in combinations}
        if not value or value not in known:
            raise UsageError(f"--only {part.strip()!r} picks nothing", nearest(value, sorted(known)))
        wanted.setdefault(key, set()).add(value)
    found = [c for c in combinations if all(_value(c, key) in values for key, values in wanted.items())]
    if not found:
        raise UsageError(f"--only {only} picks nothing", "leave a part out")
    return found


def _value(combination: Combination, key: str) -> str:
    values = combination.to_json()
    if key not in values:
        raise UsageError(f"--only cannot pick by {key!r}", nearest(key, tuple(values)))
    value = values[key]
    return str(int(value)) if isinstance(value, bool) else str(value)
