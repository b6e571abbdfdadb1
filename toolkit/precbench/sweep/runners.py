"""How each variant is run: behind a cut, with weights fed or fixed, or whole. Whatever is not proved is not used."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import ModelError, ProviderError
from precbench.graph import OnnxModel
from precbench.graph.partition import (
    Cut,
    cut_model,
    obstacle,
    part_before,
    part_behind,
    readers,
    with_values,
)
from precbench.runtime import Session
from precbench.sweep.base import Arrays, Base, executed_changes, open_part
from precbench.sweep.variants import Variant, same_bits

_READ_ALIKE = frozenset({"com.microsoft.nchwc:Conv", "com.microsoft:FusedConv", "Conv", "BatchNormalization"})
"""Operators whose kernels read a weight the same whether it is constant or fed.

Others pack constant weights when the session is made and compute otherwise with them: a Gemm's last bits differ.
"""

Changes = Mapping[int, NDArray[Any]]


class Way(StrEnum):
    """How a variant's outputs come to be."""

    BASE = "as the base"
    TWIN = "as another variant"
    FED = "behind a cut, its weights fed to a session that variants share"
    FIXED = "behind a cut, in a session of its own"
    WHOLE = "whole, in a session of its own"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runner:
    """Runs one variant behind a cut, a batch at a time.

    Attributes:
        variant: what it runs.
        way: how: FED, FIXED, or BASE for a variant that runs nothing.
        session: of a part; None for a variant that runs nothing.
        weights: what the session is fed besides the batch.
        share: of the nodes that the base's session runs, how many this one does, 0..1.
    """

    variant: Variant
    way: Way
    session: Session | None = None
    weights: Arrays = field(default_factory=dict)
    share: float = 0.0

    def run(self, at_hand: Arrays) -> dict[str, NDArray[Any]]:
        """Return the outputs that do not come from before the cut.

        Args:
            at_hand: the batch's feeds and the values captured for it.
        """
        if self.session is None:
            return {}
        names = [spec.name for spec in self.session.inputs]
        return self.session.run({name: at_hand[name] if name in at_hand else self.weights[name] for name in names})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """Variants that change the same tensors.

    Attributes:
        runners: one per variant.
        values: what has to be captured for them.
        prover: a runner of the same part with the base's weights; None where nothing is run.
    """

    runners: tuple[Runner, ...]
    values: tuple[str, ...] = ()
    prover: Runner | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Uncut:
    """A variant that has to run whole, and why."""

    variant: Variant
    why: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opening:
    """What became of variants that were to be opened.

    Attributes:
        group: those that can run behind a cut, ready to.
        uncut: those that cannot.
        left: those for which there was no room.
    """

    group: Group
    uncut: tuple[Uncut, ...] = ()
    left: tuple[Variant, ...] = ()


def open_group(base: Base, variants: Sequence[Variant], has_room: Callable[[int], bool]) -> Opening:
    """Open variants that change the same tensors, in the cheapest way that gives the base's bits with its weights.

    Args:
        base: of the sweep.
        variants: at least one. One is opened at the least.
        has_room: whether there is room for more, now that so many of these are open.

    Raises:
        PrecbenchError: a session cannot be made for want of memory, or of room on the disk.
    """
    changes: dict[Variant, Changes] = {}
    uncut: list[Uncut] = []
    for variant in _while_there_is_room(variants, has_room):
        found = executed_changes(base, variant.values())
        if isinstance(found, str):
            uncut.append(Uncut(variant=variant, why=found))
        else:
            changes[variant] = found
    group = _open_behind(base, changes, has_room)
    if isinstance(group, str):
        uncut += [Uncut(variant=variant, why=group) for variant in changes]
        group = Group(runners=())
    done = {*(each.variant for each in uncut), *(runner.variant for runner in group.runners)}
    left = tuple(variant for variant in variants if variant not in done)
    return Opening(group=group, uncut=tuple(uncut), left=left)


def open_front(base: Base, groups: Iterable[Group]) -> Session | None:
    """Make the session that captures what groups need of the base; None where they need nothing."""
    values = {value: None for group in groups for value in group.values}
    if not values or base.executed is None:
        return None
    return open_part(base, part_before(base.executed, values).model)


def is_proved(base: Base, prover: Runner, captured: Sequence[Arrays]) -> bool:
    """Whether a part with the base's weights gives the base's bits on every batch of the proof.

    Args:
        base: of the sweep.
        prover: runs the part.
        captured: for each batch of the proof, values from before the cut.
    """
    with base.terms.meter.time("proofs"):
        for proof, values in zip(base.proofs, captured, strict=True):
            found = prover.run({**proof.batch.feeds, **values})
            if not all(same_bits(array, proof.expected[name]) for name, array in found.items()):
                return False
    return True


def capture(front: Session | None, feeds: Arrays) -> Arrays:
    """Return what a front captures of a batch."""
    return {} if front is None else front.run({spec.name: feeds[spec.name] for spec in front.inputs})


def capture_proofs(base: Base, front: Session | None) -> list[Arrays]:
    """Return what a front captures of each batch of the proof."""
    with base.terms.meter.time("proofs"):
        return [capture(front, proof.batch.feeds) for proof in base.proofs]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scene:
    """Variants that are to run behind one cut, and what it takes to prove that they can.

    Attributes:
        changes: to each variant's constants behind the cut, in the executed graph.
        positions: of all these constants.
        values: that cross the cut and are no inputs of the model.
        types: of these.
        captured: these, for each batch of the proof.
    """

    base: Base
    executed: OnnxModel
    changes: Mapping[Variant, Changes]
    positions: frozenset[int]
    cut: Cut
    values: tuple[str, ...]
    types: Mapping[str, np.dtype[Any]]
    captured: Sequence[Arrays]

    def group(self, open_runner: Callable[[Variant, Changes], Runner], has_room: Callable[[int], bool]) -> Group | None:
        """Open the variants so, if that gives the base's bits with the base's weights."""
        prover = open_runner(Variant(name="", values=dict), {})
        if not is_proved(self.base, prover, self.captured):
            return None
        runners = []
        for variant in _while_there_is_room(tuple(self.changes), has_room):
            change = self.changes[variant]
            runners.append(open_runner(variant, change) if change else _as_base(variant))
        return Group(runners=tuple(runners), values=self.values, prover=prover)

    def runner(self, variant: Variant, way: Way, session: Session, weights: Arrays) -> Runner:
        share = len(self.cut.nodes) / len(self.executed.proto.graph.node)
        return Runner(variant=variant, way=way, session=session, weights=weights, share=share)


def _while_there_is_room(variants: Sequence[Variant], has_room: Callable[[int], bool]) -> Iterator[Variant]:
    for count, variant in enumerate(variants):
        if count and not has_room(count):
            return
        yield variant


def _open_behind(base: Base, changes: Mapping[Variant, Changes], has_room: Callable[[int], bool]) -> Group | str:
    """Open variants behind a cut of the executed graph, or say why it is not cut."""
    executed, positions = base.executed, frozenset(chain.from_iterable(changes.values()))
    if executed is None or not positions:
        return Group(runners=tuple(map(_as_base, changes)))
    why = obstacle(executed, positions)
    if why is not None:
        return why
    cut = cut_model(executed, positions)
    if not cut.nodes:
        return Group(runners=tuple(map(_as_base, changes)))
    try:
        scene = _set(base, executed, changes, cut)
        group = _fed(scene, has_room) or _fixed(scene, has_room)
    except (ModelError, ProviderError) as error:  # a value that crosses the cut is no tensor, for example
        return error.problem
    return group or "the part behind the cut does not give the base's bits"


def _set(base: Base, executed: OnnxModel, changes: Mapping[Variant, Changes], cut: Cut) -> _Scene:
    inputs = {spec.name for spec in base.session.inputs}
    values = tuple(name for name in cut.values if name not in inputs)
    front = open_front(base, [Group(runners=(), values=values)])
    types = {spec.name: spec.dtype for spec in front.outputs} if front is not None else {}
    inside = part_behind(executed, cut, types).positions
    kept = {
        variant: {position: array for position, array in change.items() if position in inside}
        for variant, change in changes.items()
    }
    return _Scene(
        base=base,
        executed=executed,
        changes=kept,
        positions=frozenset(chain.from_iterable(kept.values())),
        cut=cut,
        values=values,
        types=types,
        captured=capture_proofs(base, front),
    )


def _fed(scene: _Scene, has_room: Callable[[int], bool]) -> Group | None:
    read_by = readers(scene.executed, scene.positions)
    if read_by is None or not read_by <= _READ_ALIKE:
        return None
    held = [held for held in scene.executed.tensors() if held.position in scene.positions]
    own = {each.value: scene.executed.values(each) for each in held}
    name_of = {each.position: each.value for each in held}
    session = open_part(scene.base, part_behind(scene.executed, scene.cut, scene.types, fed=scene.positions).model)

    def open_runner(variant: Variant, change: Changes) -> Runner:
        weights = {**own, **{name_of[position]: array for position, array in change.items()}}
        return scene.runner(variant, Way.FED, session, weights)

    return scene.group(open_runner, has_room)


def _fixed(scene: _Scene, has_room: Callable[[int], bool]) -> Group | None:
    part = part_behind(scene.executed, scene.cut, scene.types)

    def open_runner(variant: Variant, change: Changes) -> Runner:
        model = with_values(part.model, {part.positions[position]: array for position, array in change.items()})
        runner = scene.runner(variant, Way.FIXED, open_part(scene.base, model), {})
        with scene.base.terms.meter.time("proofs"):  # so that it takes its memory now
            runner.run({**scene.base.proofs[0].batch.feeds, **scene.captured[0]})
        return runner

    return scene.group(open_runner, has_room)


def _as_base(variant: Variant) -> Runner:
    return Runner(variant=variant, way=Way.BASE)
