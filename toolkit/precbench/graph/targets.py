"""Which initializers to round, and to which grid: from what a user types to a plan."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from precbench.errors import TargetError, UsageError
from precbench.graph.initializers import Initializer, Role
from precbench.graph.metadata import match_names
from precbench.grids import DecimalGrid, Grid, parse_grid
from precbench.nearest import nearest


class SelectorKind(StrEnum):
    """How a pattern is read; the value is the name of the command-line option."""

    OP_TYPE = "op-type"
    GROUP = "group"
    REGEX = "regex"
    TARGET = "target"


_ORDER = tuple(SelectorKind)
_WHOLE = re.compile(r"[+-]?[0-9]{1,9}")
_GRID_LIKE = re.compile(r"[+-]?[0-9]{1,9}|b?float[0-9a-z_]+|[0-9a-z-]+:[^=:]+(?::[a-z0-9]+)?", re.ASCII)
"""What stands for a grid behind a pattern: a number of decimals, or a text like that of a grid, right or misspelt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A pattern that selects initializers, with a grid of its own or None for the call's default.

    - op-type: the floating-point weights of every `Conv`, `Gemm`, … node;
    - group: the weights of a group of layers named in the model's metadata;
    - regex: every initializer whose whole name the expression matches;
    - target: a layer name stands for that layer's weights; else an initializer's name, or a glob over names.

    A regex or a glob means what it says: if it matches a bias, it asks for the bias.
    """

    kind: SelectorKind
    pattern: str
    grid: Grid | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A grid per initializer name. An initializer that is not named stays as it is."""

    grids: Mapping[str, Grid]

    @classmethod
    def of_decimals(cls, decimals: Mapping[str, int]) -> Self:
        """Return the plan that rounds each initializer to its number of decimals, 0 to 12."""
        return cls(grids={name: DecimalGrid(number) for name, number in decimals.items()})

    @classmethod
    def of_grid(cls, initializers: Sequence[Initializer], grid: Grid) -> Self:
        """Return the plan that rounds initializers to one grid together; on `fixed:auto` they share its bits."""
        shared = grid.shared([one.elements for one in initializers])
        return cls(grids={one.name: own for one, own in zip(initializers, shared, strict=True)})

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON, names in the model's order."""
        return {"grids": {name: str(grid) for name, grid in self.grids.items()}}


def parse_selector(kind: SelectorKind, text: str) -> Selector:
    """Read `PATTERN`, `PATTERN=N` or `PATTERN=GRID`, as typed after `--target`, `--group`, `--regex` or `--op-type`.

    Raises:
        UsageError: the pattern is empty, N is out of range, the grid or the regular expression is not one.
    """
    pattern, equals, own = text.rpartition("=")
    if not (equals and _GRID_LIKE.fullmatch(own)):
        pattern, own = text, ""
    if not pattern:
        raise UsageError(
            f"--{kind} has the empty pattern {text!r}", "write PATTERN, or PATTERN=N for decimals of its own"
        )
    if kind is SelectorKind.REGEX:
        _compile(pattern)
    return Selector(kind=kind, pattern=pattern, grid=_grid(own) if own else None)


def _grid(text: str) -> Grid:
    return DecimalGrid(int(text)) if _WHOLE.fullmatch(text) else parse_grid(text)


def select(
    initializers: Sequence[Initializer], selectors: Sequence[Selector] = (), *, grid: Grid | None = None
) -> Plan:
    """Turn selectors into a plan.

    With no selector the paper's set is meant: the weights of every group that the model's metadata names; for a model
    without groups the floating-point weights of Conv, ConvTranspose, Gemm and MatMul. Where several selectors match
    one initializer the last in the order op-type, group, regex, target decides, and within one kind the later one.

    Args:
        initializers: of the model.
        selectors: at least one match is asked of each.
        grid: for the selectors that name none.

    Raises:
        TargetError: a selector matches nothing (the message names the nearest candidates), or the model has no weights.
        UsageError: a selector has no grid and none was given for all.
    """
    check_grid_given(selectors, grid)
    chosen: dict[str, Grid | None] = {} if selectors else dict.fromkeys(default_targets(initializers), grid)
    for selector in sorted(selectors, key=lambda s: _ORDER.index(s.kind)):
        chosen |= dict.fromkeys(_matches(initializers, selector), selector.grid or grid)
    grids: dict[str, Grid] = {}
    for text, own in {str(own): own for own in chosen.values() if own is not None}.items():
        grids |= Plan.of_grid([one for one in initializers if str(chosen.get(one.name)) == text], own).grids
    return Plan(grids={one.name: grids[one.name] for one in initializers if one.name in grids})


def check_grid_given(selectors: Sequence[Selector], grid: Grid | None) -> None:
    """Refuse a call that names no grid for a pattern, before any work is done.

    Raises:
        UsageError: neither the call nor each of its patterns names one.
    """
    if grid is None and (not selectors or any(selector.grid is None for selector in selectors)):
        raise UsageError("no number of decimals is given", "add --dp N or --grid GRID, or write PATTERN=N")


def default_targets(initializers: Sequence[Initializer]) -> tuple[str, ...]:
    """Return the names that are rounded where nothing else is asked for.

    Raises:
        TargetError: the model has no floating-point weight.
    """
    grouped = tuple(i.name for i in initializers if i.group is not None)
    weights = grouped or tuple(i.name for i in initializers if i.role is Role.WEIGHT)
    if not weights:
        raise TargetError(
            "no kernel matched: the model has no constant floating-point weight of Conv, ConvTranspose, Gemm or MatMul",
            "see what it has with `precbench inspect`, and name initializers with --target or --regex",
        )
    return weights


def _matches(initializers: Sequence[Initializer], selector: Selector) -> list[str]:
    names, candidates = _lookup(initializers, selector)
    if not names:
        raise TargetError(
            f"--{selector.kind} {selector.pattern!r} matches nothing in the model",
            nearest(selector.pattern, candidates),
        )
    return names


def _lookup(initializers: Sequence[Initializer], selector: Selector) -> tuple[list[str], Iterable[str]]:
    """Return the names selected, and what could have been asked for."""
    weights = [i for i in initializers if i.role is Role.WEIGHT]
    match selector.kind:
        case SelectorKind.OP_TYPE:
            types = {op for i in weights for op in i.op_types}
            return [i.name for i in weights if selector.pattern in i.op_types], types
        case SelectorKind.GROUP:
            groups = {i.group for i in initializers if i.group is not None}
            return [i.name for i in initializers if i.group == selector.pattern], groups
        case SelectorKind.REGEX:
            expression = _compile(selector.pattern)
            return [i.name for i in initializers if expression.fullmatch(i.name)], [i.name for i in initializers]
        case SelectorKind.TARGET:
            of_layer = [i.name for i in weights if i.layer == selector.pattern]
            every = [i.name for i in initializers]
            return of_layer or match_names(every, selector.pattern), [*{i.layer: None for i in weights}, *every]


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"--regex {pattern!r} is no regular expression: {error}",
            "use Python's syntax; it is matched against the whole name",
        ) from error
