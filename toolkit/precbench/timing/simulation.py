"""Machines that do not exist, with known truth: what the engine is tested and calibrated on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from precbench.errors import PrecbenchError
from precbench.timing.journal import Kind
from precbench.timing.measurement import measure
from precbench.timing.samples import ProcessSamples
from precbench.timing.schedule import ProcessPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What disturbs a simulated machine; every figure is relative to the time of a call unless it says otherwise.

    Args:
        jitter: standard deviation of the log of a call's time, independent from call to call.
        spikes: share of calls that are disturbed.
        spike_size: mean of a disturbed call's extra time (exponential).
        walk: standard deviation per second of the random walk that the machine's speed makes (drift, autocorrelation).
        slow_mode: how much longer calls take while the clock is in its slow mode.
        mode_s: mean seconds between switches of mode; 0 has no slow mode.
        offset: standard deviation of the log offset that each arm has in each process (memory layout).
        cold: how much longer the very first call of an arm takes.
        warming: how much longer calls take at the start of a process.
        warming_s: seconds after which a third of that is left.
        switch: how much longer the first call after another arm takes.
    """

    jitter: float = 0.01
    spikes: float = 0.0
    spike_size: float = 0.0
    walk: float = 0.0
    slow_mode: float = 0.0
    mode_s: float = 0.0
    offset: float = 0.0
    cold: float = 0.0
    warming: float = 0.0
    warming_s: float = 0.05
    switch: float = 0.0


@dataclass(slots=True, kw_only=True)
class Machine:
    """A machine with a clock of its own, on which calls of known length run.

    Args:
        times_s: arm to the true time of a call, in seconds.
        noise: what disturbs it.
        seed: of the noise.
        start_s: seconds that a fresh process takes to start.
        dies: numbers of processes that are killed in their third block.
    """

    times_s: Mapping[str, float]
    noise: Noise
    seed: int
    start_s: float = 0.25
    dies: frozenset[int] = frozenset()
    now_ns: int = 0
    _generator: np.random.Generator = field(init=False, repr=False)
    _speed: float = field(default=0.0, init=False)
    _slow: bool = field(default=False, init=False)
    _next_switch_ns: float = field(default=0.0, init=False)
    _latest: str = field(default="", init=False)

    def __post_init__(self) -> None:
        """Seed the noise."""
        self._generator = np.random.default_rng([self.seed, 7])
        self._next_switch_ns = self._draw_switch()

    def clock(self) -> int:
        """Return the machine's time in nanoseconds."""
        return self.now_ns

    def run_process(self, plan: ProcessPlan) -> ProcessSamples:
        """Do a plan in a process of this machine (an `engine.RunProcess`)."""
        self.now_ns += int(1e9 * self.start_s * self._generator.uniform(0.9, 1.3))
        records = list[tuple[Kind, list[int]]]()

        def keep(kind: Kind, words: "object") -> None:
            if plan.process in self.dies and sum(kind is Kind.BLOCK for kind, _ in records) == 2:
                raise _KilledError
            records.append((kind, list(words)))  # type: ignore[call-overload]

        try:
            measure(self._maker(), plan, keep, clock=self.clock)
        except _KilledError:
            return ProcessSamples.from_records(plan, records, ended="killed by signal 9")
        except PrecbenchError as error:
            return ProcessSamples.from_records(plan, records, ended=f"failed: {error.problem}", failure=error)
        return ProcessSamples.from_records(plan, records)

    def _maker(self) -> Callable[[str], Callable[[], object]]:
        began_ns = self.now_ns

        def make(arm: str) -> Callable[[], object]:
            base_ns = 1e9 * self.times_s[arm] * float(np.exp(self._generator.normal(0, self.noise.offset)))
            extra = [self.noise.cold]

            def call() -> None:
                self._pass_time(arm, base_ns * (1 + extra[0] + self._warming(began_ns)))
                extra[0] = 0.0

            return call

        return make

    def _warming(self, began_ns: int) -> float:
        return self.noise.warming * float(np.exp(-(self.now_ns - began_ns) / 1e9 / self.noise.warming_s))

    def _pass_time(self, arm: str, base_ns: float) -> None:
        noise, generator = self.noise, self._generator
        if noise.mode_s and self.now_ns >= self._next_switch_ns:
            self._slow, self._next_switch_ns = not self._slow, self.now_ns + self._draw_switch()
        factor = float(np.exp(generator.normal(0, noise.jitter) + self._speed))
        factor *= 1 + noise.slow_mode * self._slow + noise.switch * (arm != self._latest)
        if noise.spikes and generator.random() < noise.spikes:
            factor *= 1 + generator.exponential(noise.spike_size)
        elapsed_ns = base_ns * factor
        if noise.walk:
            self._speed = 0.999 * self._speed + generator.normal(0, noise.walk * np.sqrt(elapsed_ns / 1e9))
        self._latest = arm
        self.now_ns += int(elapsed_ns)

    def _draw_switch(self) -> float:
        return float(self._generator.exponential(1e9 * self.noise.mode_s)) if self.noise.mode_s else float("inf")


class _KilledError(Exception):
    """Stands for a signal that a process does not survive."""
