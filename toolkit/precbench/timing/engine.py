"""Measure in one fresh process after another until the interval is as narrow as asked or the budget is spent."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import Any

import numpy as np

from precbench.errors import ModelError, NoTimeError, UsageError, problem_of
from precbench.progress import SILENT, Progress
from precbench.timing.looks import look_levels, planned_looks
from precbench.timing.measurement import Clock
from precbench.timing.samples import DONE, INTERRUPTED, ProcessSamples
from precbench.timing.schedule import ProcessPlan, check_arms
from precbench.timing.statistics import estimate, mean_estimate
from precbench.timing.verdict import Comparison, Finding, check_margin, judge

LEAST_PROCESSES, MOST_PROCESSES = 5, 1000
_MEASURING = 1.5  # times the cost of starting and warming up that a process measures: processes differ more than blocks
_LEAST_BLOCKS = 5  # per process, where the budget allows that many in five processes
_PILOT_S = 0.75
_START_S = 2.0  # left for the start of a single process
_WARMUP_SHARE = 0.5  # of the time for measuring
_MOST_LOST = 3  # processes in a row
_ORDER_STREAM = 3

BUDGET_SPENT, WIDTH_REACHED, PLAN_DONE = "budget spent", "width reached", "plan done"


RunProcess = Callable[[ProcessPlan], ProcessSamples]
"""Do a plan in a fresh process. It gives what it measured, and says how it ended; only Ctrl-C raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What to measure, for how long, how precisely.

    Args:
        groups: arms that share a process; the first of each group is its base. With several groups a replicate is one
            process per group, in a drawn order.
        comparisons: what is compared with what.
        budget_s: seconds in all: starting processes, making and warming up included.
        processes: replicates; None chooses 5 or more, so that measuring takes three fifths of the time.
        target_width: measure until every interval (the control's too) is at most so wide, as a fraction (0.005: from
            0.9975 to 1.0025); None spends the budget.
        margin: see `judge`.
        level: of the intervals.
        seed: of every order.
        family: comparisons in the whole call, these and others, that verdicts are corrected for; None: these.
    """

    groups: tuple[tuple[str, ...], ...]
    comparisons: tuple[Comparison, ...]
    budget_s: float
    processes: int | None = None
    target_width: float | None = None
    margin: float = 0.01
    level: float = 0.95
    seed: int = 0
    family: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot be used."""
        check_arms([arm for group in self.groups for arm in group])
        check_margin(self.margin)
        if not 0 < self.budget_s < float("inf"):
            raise UsageError(f"a budget of {self.budget_s} s measures nothing", "give seconds, such as 60")
        if self.processes is not None and not 1 <= self.processes <= MOST_PROCESSES:
            raise UsageError(
                f"{self.processes} processes is outside 1..{MOST_PROCESSES}", "give 5 or more, or leave it out"
            )
        if self.target_width is not None and not 0 < self.target_width < 1:
            raise UsageError(f"the target width {self.target_width} is not inside 0..1", "give 0.005 for 0.5 %")
        if not 0 < self.level < 1:
            raise UsageError(f"the level {self.level} is not inside 0..1", "give a level such as 0.95")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Everything measured, and what follows from it.

    Args:
        design: what was asked.
        processes: in the order they ran.
        findings: one per comparison, in the design's order.
        looks: replicates at each look, the last included.
        ended: why it stopped: "budget spent", "width reached", "plan done", "interrupted", or what failed.
        failure: the error that stopped it; None otherwise.
        elapsed_s: seconds in all.
    """

    design: Design
    processes: tuple[ProcessSamples, ...]
    findings: tuple[Finding, ...]
    looks: tuple[int, ...]
    ended: str
    failure: Exception | None
    elapsed_s: float

    @property
    def complete(self) -> bool:
        """Whether it ended as it was meant to."""
        return self.ended in (BUDGET_SPENT, WIDTH_REACHED, PLAN_DONE)

    def plan_json(self) -> list[dict[str, Any]]:
        """Return the plans as they were carried out, block for block: what a replay repeats."""
        return [
            replace(s.plan, blocks=s.blocks, calls=s.calls, room_s=float("inf")).to_json()
            for s in self.processes
            if s.blocks
        ]


def measure_processes(
    design: Design, run_process: RunProcess, *, clock: Clock = time.perf_counter_ns, progress: Progress = SILENT
) -> Measurement:
    """Measure replicate after replicate, and judge.

    The first replicate tells what a process costs; how many are planned, and after which of them the intervals are
    looked at, follows from that and from the budget alone. It stops at a look whose intervals are all narrow enough,
    or when the next replicate would not fit. Without a target width there is one look, at the end.

    Ctrl-C, a model that fails and processes that die end it early; what was measured is kept and judged.

    Raises:
        UsageError: the budget has no room for a single block.
        PrecbenchError: a process fails before anything was measured.
        KeyboardInterrupt: likewise.
    """
    return _Run(design, run_process, clock, progress).go()


def replay(
    design: Design, plans: Sequence[ProcessPlan], run_process: RunProcess, *, progress: Progress = SILENT
) -> Measurement:
    """Carry out given plans, no more and no fewer, whatever the budget or the width; then judge."""
    run = _Run(design, run_process, time.perf_counter_ns, progress)
    return run.repeat(plans)


class _Run:
    """The state of one measurement while it goes on."""

    def __init__(self, design: Design, run_process: RunProcess, clock: Clock, progress: Progress) -> None:
        self.design, self.run_process, self.clock, self.progress = design, run_process, clock, progress
        self.processes: list[ProcessSamples] = []
        self.looks: list[int] = []
        self.began = clock()
        self.lost_in_a_row = 0
        self.ended = ""
        self.failure: Exception | None = None

    def go(self) -> Measurement:
        with self.progress.track("timing", 1000) as advance:
            shown = self._show(advance, 0)
            self._replicate(0, self._pilot_s())
            planned = self._planned() if not self.ended else 1
            looks = planned_looks(planned, least=LEAST_PROCESSES) if self.design.target_width is not None else []
            done = 1
            while not self.ended:
                shown = self._show(advance, shown)
                try:
                    done = self._go_on(done, planned, looks)
                except KeyboardInterrupt:
                    self._interrupt()
        return self._measurement(planned)

    def _go_on(self, done: int, planned: int, looks: Sequence[int]) -> int:
        """Stop, or run the next replicate; return how many there are."""
        if done in looks[:-1] and self._narrow_enough(done, planned):
            self.ended = WIDTH_REACHED
        elif done >= planned:
            self.ended = BUDGET_SPENT if self.design.processes is None else PLAN_DONE
        elif (slice_s := self._slice_s(planned - done)) is None:
            self.ended = BUDGET_SPENT
        else:
            self._replicate(done, slice_s)
            return done + 1
        return done

    def repeat(self, plans: Sequence[ProcessPlan]) -> Measurement:
        with self.progress.track("timing", len(plans)) as advance:
            for plan in plans:
                if self.ended:
                    break
                self._process(plan)
                advance(1)
        self.ended = self.ended or PLAN_DONE
        return self._measurement(len({plan.replicate for plan in plans}))

    def _replicate(self, number: int, slice_s: float) -> None:
        """Run one process per group; groups take turns in a drawn order."""
        groups = self.design.groups
        order = np.random.default_rng([self.design.seed, number, _ORDER_STREAM]).permutation(len(groups)).tolist()
        for place, index in enumerate(order):
            if self.ended:
                return
            measure_s = slice_s / len(groups)
            plan = ProcessPlan(
                replicate=number,
                process=len(self.processes),
                arms=groups[index],
                seed=self.design.seed,
                calls=self._calls_of(groups[index]),
                measure_s=measure_s,
                warmup_s=max(0.05, _WARMUP_SHARE * measure_s),
                room_s=self._left_s() / (len(groups) - place),
            )
            self._process(plan)

    def _process(self, plan: ProcessPlan) -> None:
        try:
            samples = self.run_process(plan)
            samples.log_times()  # raises where the clock saw nothing
        except KeyboardInterrupt:
            self._interrupt()
            return
        except Exception as error:  # a bug, no memory, a full disk: what was measured before it stands
            self._fail(error)
            return
        self.processes.append(samples)
        self.lost_in_a_row = 0 if samples.ended == DONE else self.lost_in_a_row + 1
        if samples.failure is not None:
            self._fail(samples.failure)
        elif samples.ended == INTERRUPTED:
            self._interrupt()
        elif self.lost_in_a_row >= _MOST_LOST:
            self._fail(_lost(samples.ended))

    def _interrupt(self) -> None:
        if not self._measured():
            raise KeyboardInterrupt
        self.ended = INTERRUPTED

    def _fail(self, error: Exception) -> None:
        if not self._measured():
            raise error
        if isinstance(error, NoTimeError):
            self.ended = BUDGET_SPENT
        else:
            self.ended, self.failure = f"failed: {problem_of(error)}", error

    def _measured(self) -> bool:
        return any(samples.blocks for samples in self.processes)

    def _calls_of(self, group: tuple[str, ...]) -> int | None:
        return next((s.calls for s in self.processes if s.plan.arms == group and s.blocks), None)

    def _left_s(self) -> float:
        return self.design.budget_s - self._elapsed_s()

    def _elapsed_s(self) -> float:
        return (self.clock() - self.began) / 1e9

    def _pilot_s(self) -> float:
        if self.design.processes == 1:
            return max(0.5 * self.design.budget_s, self.design.budget_s - _START_S)
        share_s = self.design.budget_s / (self.design.processes or LEAST_PROCESSES)
        return min(_PILOT_S * len(self.design.groups), share_s / 2)

    def _measuring_s(self) -> float:
        """Seconds of blocks so far."""
        spans = (
            s.started_ns[-1, -1, -1] + s.elapsed_ns[-1, -1, -1] - s.started_ns[0, 0, 0]
            for s in self.processes
            if s.blocks
        )
        return float(sum(spans)) / 1e9

    def _block_s(self) -> float:
        """Seconds of one block of every group."""
        blocks = {s.plan.arms: s.elapsed_ns.sum() / s.blocks / 1e9 for s in self.processes if s.blocks}
        return float(sum(blocks.values()))

    def _cost_s(self) -> float:
        """Seconds of a replicate that are not measuring, from those so far."""
        replicates = len({samples.plan.replicate for samples in self.processes}) or 1
        return max(0.0, self._elapsed_s() - self._measuring_s()) / replicates

    def _planned(self) -> int:
        if self.design.processes is not None:
            return self.design.processes
        cost_s, block_s, budget_s = self._cost_s(), self._block_s(), self.design.budget_s
        wanted = int(budget_s / (cost_s + max(_MEASURING * cost_s, _LEAST_BLOCKS * block_s, 1e-3)))
        affordable = max(1, int(budget_s / (cost_s + 2 * block_s + 1e-3)))
        return min(affordable, max(LEAST_PROCESSES, min(MOST_PROCESSES, wanted)))

    def _slice_s(self, replicates_left: int) -> float | None:
        """Seconds of measuring for the next replicate, or None where it would not fit any more."""
        slice_s = self._left_s() / replicates_left - self._cost_s()
        least_s = self._block_s()
        if slice_s >= least_s:
            return slice_s
        return least_s if self._left_s() >= self._cost_s() + least_s else None

    def _narrow_enough(self, done: int, planned: int) -> bool:
        self.looks.append(done)
        p = look_levels(self.looks, planned=planned, alpha=1 - self.design.level, final=False)[-1]
        assert self.design.target_width is not None
        return all(
            _width(arm.mean, arm.half_width(p)) <= self.design.target_width
            for _, *both in self._estimates()
            for arm in both
        )

    def _estimates(self) -> list[tuple[Comparison, Any, Any]]:
        return [
            (
                comparison,
                estimate(self.processes, arm=comparison.arm, base=comparison.base, control=comparison.control),
                estimate(self.processes, arm=comparison.control, base=comparison.base),
            )
            for comparison in self.design.comparisons
        ]

    def _measurement(self, planned: int) -> Measurement:
        done = len({samples.plan.replicate for samples in self.processes if samples.blocks})
        is_at_look = bool(self.looks) and self.ended == WIDTH_REACHED
        looks = self.looks if is_at_look else [*(n for n in self.looks if n < done), max(done, 1)]
        p = look_levels(looks, planned=max(planned, *looks), alpha=1 - self.design.level, final=not is_at_look)[-1]
        findings = self._judge(p)
        return Measurement(
            design=self.design,
            processes=tuple(self.processes),
            findings=tuple(findings),
            looks=tuple(looks),
            ended=self.ended,
            failure=self.failure,
            elapsed_s=self._elapsed_s(),
        )

    def _judge(self, p: float) -> list[Finding]:
        design = self.design
        means = [mean_estimate(self.processes, arm=c.arm, base=c.base, control=c.control) for c in design.comparisons]
        return judge(
            self._estimates(), means=means, margin=design.margin, level=design.level, p=p, family=design.family
        )

    def _show(self, advance: Callable[[int], None], shown: int) -> int:
        now = min(1000, int(1000 * self._elapsed_s() / self.design.budget_s))
        advance(max(0, now - shown))
        return max(now, shown)


def _lost(ended: str) -> ModelError:
    return ModelError(
        f"{_MOST_LOST} measuring processes in a row died ({ended})",
        "free memory or use a smaller --batch; what was measured before is kept",
    )


def _width(mean: float, half: float) -> float:
    return exp(mean + half) - exp(mean - half) if half < log(1e6) else float("inf")
