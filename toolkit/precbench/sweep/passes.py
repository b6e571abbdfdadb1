"""One pass over the images: as many variants as memory and time allow, and what they share once."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from numpy.typing import NDArray

from precbench.graph.partition import with_values
from precbench.runtime import Session
from precbench.runtime.batches import ReadyBatch, ready_batch, store_rows
from precbench.runtime.memory import resident_bytes
from precbench.sweep.base import Arrays, Base, open_model
from precbench.sweep.planning import Family
from precbench.sweep.runners import Group, Uncut, capture, capture_proofs, is_proved, open_front, open_group
from precbench.sweep.variants import Variant

Outputs = dict[str, NDArray[Any]]

_TIMES_BASE = 10
"""A pass begins with running the base: it should last at least so many times as long."""

_FEW = "there are so few images that to cut it would take longer"
_OTHER_BITS = "with all that the pass captures, the part behind the cut does not give the base's bits"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pass:
    """What one pass runs.

    Attributes:
        groups: variants behind cuts.
        front: captures what they need of the base; None where they need nothing.
        uncut: variants that run whole. No pass has both: what is captured would leave them short blocks of batches.
        batch_bytes: of a batch's inputs and of what is captured for it.
    """

    groups: tuple[Group, ...] = ()
    front: Session | None = None
    uncut: tuple[Uncut, ...] = ()
    batch_bytes: int

    @property
    def variants(self) -> list[Variant]:
        """What it runs."""
        runners = [runner.variant for group in self.groups for runner in group.runners]
        return [*runners, *(uncut.variant for uncut in self.uncut)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ready:
    """A batch with all that its variants are fed, and the number of rows before it."""

    batch: ReadyBatch
    at_hand: Arrays
    done: int


def open_pass(base: Base, families: deque[Family], uncut: deque[Uncut]) -> Pass:
    """Take variants off a queue until memory or time is full, and make ready to run them.

    Args:
        base: of the sweep.
        families: at least one; what is not taken stays.
        uncut: what cannot be cut is added to these.
    """
    left_s, groups, taken = _pass_s(base), list[Group](), 0
    while families and (taken == 0 or (left_s > 0 and _has_room(base, taken, 0))):
        family = families.popleft()
        if not cutting_pays(base, family.share):
            uncut.extend(Uncut(variant=variant, why=_FEW) for variant in family.variants)
            continue
        variant_s = base.all_s * family.share
        in_time = max(1, int(left_s / variant_s))
        opening = open_group(base, family.variants[:in_time], partial(_has_room, base, taken))
        uncut.extend(opening.uncut)
        groups.append(opening.group)
        left = (*opening.left, *family.variants[in_time:])
        if left:
            families.appendleft(replace(family, variants=left))
        taken, left_s = taken + len(opening.group.runners), left_s - variant_s * len(opening.group.runners)
    return _proved(base, groups, uncut)


def open_whole_pass(base: Base, uncut: deque[Uncut]) -> Pass:
    """Take variants that run whole off a queue until memory or time is full. Their sessions are made when they run.

    Args:
        base: of the sweep.
        uncut: at least one; what is not taken stays.
    """
    left_s, taken = _pass_s(base), list[Uncut]()
    while uncut and (not taken or (left_s > 0 and _has_room(base, len(taken), 0))):
        taken.append(uncut.popleft())
        left_s -= base.all_s
    return Pass(uncut=tuple(taken), batch_bytes=_bytes(base.proofs[0].batch.feeds))


def cutting_pays(base: Base, share: float) -> bool:
    """Whether leaving out what lies before a cut spares more than it takes to find out where a variant can be cut.

    Args:
        base: of the sweep.
        share: of the nodes, how many lie behind the cut, 0..1.
    """
    return base.all_s * (1 - share) > base.optimizing_s


def run_pass(base: Base, opened: Pass, step: Callable[[int], None]) -> dict[Variant, Outputs]:
    """Run a pass's variants on all batches.

    Returns:
        Variant -> the outputs that are not the base's, for all rows.
    """
    batches = base.terms.batches
    outputs: dict[Variant, Outputs] = {variant: {} for variant in opened.variants}
    size = max(1, base.terms.limits.activations_bytes // max(1, opened.batch_bytes))
    with _workers(base.terms.workers) as pool:
        for start in range(0, len(batches), size):
            indices = range(start, min(start + size, len(batches)))
            block = list(pool.map(partial(_ready, base, opened.front), indices))
            runs = [pool.submit(_run_group, base, group, block, outputs) for group in opened.groups]
            runs += [pool.submit(_run_whole, base, uncut.variant, block, outputs) for uncut in opened.uncut]
            for done in as_completed(runs):
                step(done.result())
            block.clear()
    return outputs


@contextmanager
def _workers(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that are told to begin nothing new when something fails, or the user stops the sweep."""
    pool = ThreadPoolExecutor(count, thread_name_prefix="sweep")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _run_group(base: Base, group: Group, block: Sequence[_Ready], outputs: Mapping[Variant, Outputs]) -> int:
    """Run a group on a block of batches, and return how many rows of variants that makes.

    Variants take turns at each batch, so that its values stay in the caches.
    """
    rows = 0
    for ready in block:
        for runner in group.runners:
            with base.terms.meter.time("behind the cut"):
                found = runner.run(ready.at_hand)
            rows += _store(base, outputs[runner.variant], found, ready)
    return rows


def _run_whole(base: Base, variant: Variant, block: Sequence[_Ready], outputs: Mapping[Variant, Outputs]) -> int:
    """Run a variant as `run_plain` does on a block of batches, and return how many rows that makes."""
    session = open_model(with_values(base.model, variant.values()), base.terms.settings, base.terms)
    rows = 0
    for ready in block:
        with base.terms.meter.time("whole"):
            found = session.run(ready.batch.feeds)
        rows += _store(base, outputs[variant], found, ready)
    return rows


def _store(base: Base, outputs: Outputs, found: Arrays, ready: _Ready) -> int:
    store_rows(outputs, found, ready.batch, done=ready.done, rows=base.terms.batches.rows)
    return ready.batch.rows


def _pass_s(base: Base) -> float:
    return max(base.terms.limits.pass_s, _TIMES_BASE * base.all_s)


def _has_room(base: Base, taken: int, more: int) -> bool:
    """Whether there is room for another variant beside `taken + more`, whose outputs take their memory as they come."""
    grown_bytes = resident_bytes() - base.terms.start_bytes
    return grown_bytes + base.outputs_bytes * (taken + more + 1) < base.terms.limits.sessions_bytes


def _proved(base: Base, groups: Sequence[Group], uncut: deque[Uncut]) -> Pass:
    """Prove once more, with the front that the pass really uses; what fails has to run whole."""
    front = open_front(base, groups)
    captured = capture_proofs(base, front)
    sure = []
    for group in groups:
        if group.prover is None or is_proved(base, group.prover, captured):
            sure.append(group)
        else:
            uncut.extend(Uncut(variant=runner.variant, why=_OTHER_BITS) for runner in group.runners)
    held = {**base.proofs[0].batch.feeds, **captured[0]}
    return Pass(groups=tuple(sure), front=front, batch_bytes=_bytes(held))


def _bytes(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())


def _ready(base: Base, front: Session | None, index: int) -> _Ready:
    meter, batches = base.terms.meter, base.terms.batches
    with meter.time("inputs"):
        batch = ready_batch(base.session.inputs, batches[index])
    with meter.time("before the cut"):
        captured = capture(front, batch.feeds)
    return _Ready(batch=batch, at_hand={**batch.feeds, **captured}, done=batches.start(index))
