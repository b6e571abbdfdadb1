"""From an experiment as the study file says it to its points: one plan each, in a fixed order."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from precbench.errors import TargetError, UsageError
from precbench.graph import Initializer, Plan, Selector, select
from precbench.graph.targets import SelectorKind, default_targets
from precbench.grids import DecimalGrid
from precbench.nearest import nearest
from precbench.study.definition import ExperimentSection, Targets

MOST_POINTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One variant of an experiment.

    Attributes:
        experiment: its name.
        name: of the variant, unlike any other in the experiment.
        parts: what is rounded to how many decimals, as a reader names it: "all", groups, or a layer.
        plan: the same per initializer.
    """

    experiment: str
    name: str
    parts: Mapping[str, int]
    plan: Plan


def points_of(experiment: ExperimentSection, initializers: Sequence[Initializer]) -> list[Point]:
    """Return the points of an experiment on a model.

    - all: every target together, at each number of decimals;
    - each-group: one group of the model at a time, at each;
    - each-layer: one layer that has targets at a time, at each;
    - combinations: those listed, and every combination of the levels of `factorial`; groups that are not named stay
      as they are.

    Raises:
        TargetError: it names a group that the model has not, or the model has none.
        UsageError: it has more than 10,000 points.
    """
    points = list(itertools.islice(_points(experiment, initializers), MOST_POINTS + 1))
    if len(points) > MOST_POINTS:
        raise UsageError(
            f"the experiment {experiment.name!r} has more than {MOST_POINTS:,} points", "give fewer levels or decimals"
        )
    return points


def _points(experiment: ExperimentSection, initializers: Sequence[Initializer]) -> Iterator[Point]:
    match Targets(experiment.targets):
        case Targets.ALL:
            for decimals in experiment.decimals:
                plan = select(initializers, grid=DecimalGrid(decimals))
                yield Point(experiment=experiment.name, name=f"dp{decimals}", parts={"all": decimals}, plan=plan)
        case Targets.EACH_GROUP:
            for group, decimals in itertools.product(_groups(experiment, initializers), experiment.decimals):
                yield _of_groups(experiment, initializers, {group: decimals})
        case Targets.EACH_LAYER:
            for layer, names in target_layers(initializers).items():
                for decimals in experiment.decimals:
                    yield Point(
                        experiment=experiment.name,
                        name=f"{layer}.dp{decimals}",
                        parts={layer: decimals},
                        plan=Plan(grids=dict.fromkeys(names, DecimalGrid(decimals))),
                    )
        case Targets.COMBINATIONS:
            for parts in _combinations(experiment):
                yield _of_groups(experiment, initializers, parts)


def _of_groups(experiment: ExperimentSection, initializers: Sequence[Initializer], parts: Mapping[str, int]) -> Point:
    known = list(dict.fromkeys(i.group for i in initializers if i.group is not None))
    for group in parts:
        if group not in known:
            raise TargetError(
                f"experiment {experiment.name!r} names the group {group!r}, the model has {', '.join(known) or 'none'}",
                nearest(group, known) if known else "name groups in [groups]",
            )
    selectors = [Selector(kind=SelectorKind.GROUP, pattern=group, grid=DecimalGrid(n)) for group, n in parts.items()]
    plan = select(initializers, selectors)
    name = ",".join(f"{group}.dp{decimals}" for group, decimals in parts.items())
    return Point(experiment=experiment.name, name=name, parts=dict(parts), plan=plan)


def _combinations(experiment: ExperimentSection) -> Iterator[Mapping[str, int]]:
    """Those listed, then those crossed; each once."""
    groups, levels = list(experiment.factorial), experiment.factorial.values()
    crossed = (dict(zip(groups, each, strict=True)) for each in itertools.product(*levels) if each)
    seen = set[frozenset[tuple[str, int]]]()
    for parts in itertools.chain(experiment.combinations, crossed):
        if (key := frozenset(parts.items())) not in seen:
            seen.add(key)
            yield parts


def _groups(experiment: ExperimentSection, initializers: Sequence[Initializer]) -> list[str]:
    groups = list(dict.fromkeys(i.group for i in initializers if i.group is not None))
    if not groups:
        raise TargetError(
            f"experiment {experiment.name!r} is of each group, and the model names no groups",
            'name them in [groups], or use targets = "each-layer"',
        )
    return groups


def target_layers(initializers: Sequence[Initializer]) -> dict[str, list[str]]:
    """Return each layer that has targets, with their names, in the model's order."""
    targets, layers = set(default_targets(initializers)), dict[str, list[str]]()
    for initializer in initializers:
        if initializer.name in targets:
            layers.setdefault(initializer.layer, []).append(initializer.name)
    return layers
