"""Every time taken in one process, raw, in order, in nanoseconds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from precbench.errors import DataError, PrecbenchError
from precbench.timing.journal import Kind, words_reading
from precbench.timing.schedule import ProcessPlan

DONE, INTERRUPTED = "done", "interrupted"
"""How a process ended: as planned, or by Ctrl-C; else the reason in words."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProcessSamples:
    """What one process measured. Nothing is dropped, trimmed or averaged.

    Args:
        plan: what it was to do.
        calls: timed calls per position, K; each position has one more before them, the switch.
        creation_ns: arm to the time of making it; empty where the process ended before.
        first_run_ns: arm to the time of its first call; empty where the process ended before.
        warmup_order: intp [warm-up rounds, arms], indices of arms as called.
        warmup_ns: int64 [warm-up rounds, arms], in the order called.
        warm_ns: how long the warm-up took in all, which was discarded.
        steady: whether it ended because a steady state was seen.
        order: intp [blocks, 2 * arms], index of the arm at each position.
        started_ns: int64 [blocks, 2 * arms, 1 + K], the clock when each call began.
        elapsed_ns: int64 [blocks, 2 * arms, 1 + K].
        readings: what was observed after each block; empty where nothing was.
        ended: "done", or why it ended before it was.
        failure: the error that ended it, if one did.
        lost_block: number of the block in which it ended before it was done; None where none was lost.
    """

    plan: ProcessPlan
    calls: int
    creation_ns: Mapping[str, int]
    first_run_ns: Mapping[str, int]
    warmup_order: NDArray[np.intp]
    warmup_ns: NDArray[np.int64]
    warm_ns: int
    steady: bool
    order: NDArray[np.intp]
    started_ns: NDArray[np.int64]
    elapsed_ns: NDArray[np.int64]
    readings: tuple[Any, ...] = ()
    ended: str = DONE
    failure: PrecbenchError | None = None
    lost_block: int | None = None

    @property
    def blocks(self) -> int:
        """Whole blocks measured."""
        return len(self.order)

    @classmethod
    def from_records(
        cls,
        plan: ProcessPlan,
        records: Sequence[tuple[Kind, Sequence[int]]],
        *,
        ended: str = DONE,
        failure: PrecbenchError | None = None,
    ) -> Self:
        """Put together what a process told.

        Args:
            plan: its plan.
            records: its journal, in order.
            ended: why it ended.
            failure: the error that ended it.

        Raises:
            DataError: the records do not fit the plan.
        """
        try:
            return cls._from_records(plan, records, ended, failure)
        except (ValueError, IndexError, TypeError, OverflowError) as error:
            raise DataError(
                f"the journal of process {plan.process} does not fit its plan ({error})", "measure again"
            ) from error

    @classmethod
    def _from_records(
        cls,
        plan: ProcessPlan,
        records: Sequence[tuple[Kind, Sequence[int]]],
        ended: str,
        failure: PrecbenchError | None,
    ) -> Self:
        found: dict[Kind, list[Sequence[int]]] = {kind: [] for kind in Kind}
        for kind, words in records:
            found[kind].append(words)
        arms, calls = len(plan.arms), found[Kind.CALLS][0][0] if found[Kind.CALLS] else 1
        if calls < 1:
            raise ValueError(f"{calls} calls per position")
        steady, warm_ns = found[Kind.WARM][0] if found[Kind.WARM] else (0, 0)
        blocks = np.array(found[Kind.BLOCK], dtype=np.int64).reshape(-1, 2 * arms * (1 + 2 * (1 + calls)))
        order, starts, elapsed = np.split(blocks, [2 * arms, 2 * arms * (2 + calls)], axis=1)
        warmup = np.array(found[Kind.WARMUP], dtype=np.int64).reshape(-1, 2 * arms)
        _check_orders(order, [arm for arm in range(arms) for _ in range(2)])
        _check_orders(warmup[:, :arms], range(arms))
        shape = (len(blocks), 2 * arms, 1 + calls)
        return cls(
            plan=plan,
            calls=calls,
            creation_ns=_by_arm(plan.arms, found[Kind.CREATION]),
            first_run_ns=_by_arm(plan.arms, found[Kind.FIRST_RUN]),
            warmup_order=warmup[:, :arms].astype(np.intp),
            warmup_ns=warmup[:, arms:],
            warm_ns=warm_ns,
            steady=bool(steady),
            order=order.astype(np.intp),
            started_ns=starts.reshape(shape),
            elapsed_ns=elapsed.reshape(shape),
            readings=tuple(words_reading(words) for words in found[Kind.READING]),
            ended=ended,
            failure=failure,
            lost_block=len(blocks) if ended != DONE and found[Kind.WARM] else None,
        )

    def of(self, arm: str) -> NDArray[np.int64]:
        """Return one arm's timed calls, the switches left out: int64 [blocks, 2, K]."""
        positions = self.elapsed_ns[self.order == self.plan.arms.index(arm), 1:]
        return positions.reshape(self.blocks, 2, self.calls)

    def log_times(self) -> NDArray[np.float64]:
        """Return float64 [blocks, arms]: the median log time of an arm's timed calls in a block, both positions as one.

        One disturbed call of 2K moves that less than one of K moves its position. What grows steadily within a block
        still cancels: the two positions are each other's mirror image.

        Raises:
            DataError: a call took no time that the clock could see.
        """
        times = np.stack([self.of(arm).reshape(self.blocks, 2 * self.calls) for arm in self.plan.arms], axis=1)
        if times.size and times.min() <= 0:
            raise DataError("a call took no time that the clock could see", "time a larger batch")
        logs: NDArray[np.float64] = np.median(np.log(times), axis=2)
        return logs


def _check_orders(orders: NDArray[np.int64], sorted_arms: Sequence[int]) -> None:
    if (np.sort(orders, axis=1) != np.asarray(sorted_arms)).any():
        raise ValueError("it does not call every arm as often as every other")


def _by_arm(arms: Sequence[str], records: Sequence[Sequence[int]]) -> dict[str, int]:
    return dict(zip(arms, records[0], strict=True)) if records else {}


def table(processes: Sequence[ProcessSamples]) -> dict[str, NDArray[Any]]:
    """Return every call of a measurement as columns of one length, in the order the calls were made.

    Columns: process, block, position, call (int32; block -1 is the first run, -2 the warm-up, whose rounds are
    numbered by position), arm (str), use ("cold", "warm-up", "switch", "measured"), started_ns (int64; -1 where it
    was not kept), elapsed_ns (int64; of a warm-up round the sum over its calls), outlier ("", "mild", "severe").
    """
    parts = [part for samples in processes for part in _parts(samples)]
    if not parts:
        parts = [_empty_part()]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def outlier_labels(elapsed_ns: NDArray[np.int64]) -> NDArray[np.str_]:
    """Label calls of one arm in one process by Tukey's fences on the log of their time: "", "mild" (beyond 1.5
    interquartile ranges), "severe" (beyond 3). Labelled, never dropped.

    Args:
        elapsed_ns: int64 of any shape.
    """
    labels = np.full(elapsed_ns.shape, "", dtype="<U6")
    if elapsed_ns.size < 4:
        return labels
    logs = np.log(np.maximum(elapsed_ns, 1))
    low, high = np.quantile(logs, [0.25, 0.75])
    beyond = np.maximum(low - logs, logs - high)
    labels[beyond > 1.5 * (high - low)] = "mild"
    labels[beyond > 3 * (high - low)] = "severe"
    return labels


def _empty_part() -> dict[str, NDArray[Any]]:
    return _part(0, 0, -1, 0, 0, arm="", use="", started=0, elapsed=0, outlier="")


def _parts(samples: ProcessSamples) -> Iterator[dict[str, NDArray[Any]]]:
    arms, process = np.array(samples.plan.arms), samples.plan.process
    cold = [arm for arm in samples.plan.creation_order() if arm in samples.first_run_ns]
    yield _part(
        len(cold),
        process,
        -1,
        np.arange(len(cold)),
        0,
        arm=np.array(cold, dtype=str),
        use="cold",
        started=-1,
        elapsed=np.array([samples.first_run_ns[arm] for arm in cold], dtype=np.int64),
        outlier="",
    )
    rounds, width = samples.warmup_order.shape
    yield _part(
        rounds * width,
        process,
        -2,
        np.repeat(np.arange(rounds), width),
        0,
        arm=arms[samples.warmup_order.ravel()],
        use="warm-up",
        started=-1,
        elapsed=samples.warmup_ns.ravel(),
        outlier="",
    )
    blocks, positions, calls = samples.elapsed_ns.shape
    block, position, call = (index.ravel() for index in np.indices((blocks, positions, calls)))
    labels = np.full((blocks, positions, calls), "", dtype="<U6")
    for index in range(len(arms)):
        places = samples.order == index
        labels[places, 1:] = outlier_labels(samples.elapsed_ns[places][:, 1:])
    yield _part(
        block.size,
        process,
        block,
        position,
        call,
        arm=np.repeat(arms[samples.order.ravel()], calls),
        use=np.where(call == 0, "switch", "measured"),
        started=samples.started_ns.ravel(),
        elapsed=samples.elapsed_ns.ravel(),
        outlier=labels.ravel(),
    )


def _part(size: int, process: int, block: Any, position: Any, call: Any, **others: Any) -> dict[str, NDArray[Any]]:
    numbers = {"process": process, "block": block, "position": position, "call": call}
    columns = {name: np.broadcast_to(np.asarray(value, dtype=np.int32), size) for name, value in numbers.items()}
    columns["arm"] = np.broadcast_to(np.asarray(others["arm"], dtype=str), size)
    columns["use"] = np.broadcast_to(np.asarray(others["use"], dtype=str), size)
    columns["started_ns"] = np.broadcast_to(np.asarray(others["started"], dtype=np.int64), size)
    columns["elapsed_ns"] = np.broadcast_to(np.asarray(others["elapsed"], dtype=np.int64), size)
    columns["outlier"] = np.broadcast_to(np.asarray(others["outlier"], dtype=str), size)
    return columns
