"""Which initializers to round, and to how many decimals: from what a user types to a plan."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from precbench.errors import TargetError, UsageError
from precbench.graph.initializers import Initializer, Role
from precbench.graph.metadata import match_names
from precbench.grids import check_decimals
from precbench.nearest import nearest


class SelectorKind(StrEnum):
    """How a pattern is read; the value is the name of the command-line option."""

    OP_TYPE = "op-type"
    GROUP = "group"
    REGEX = "regex"
    TARGET = "target"


_ORDER = tuple(SelectorKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A pattern that selects initializers, with decimals of its own or None for the call's default.

    - op-type: the floating-point weights of every `Conv`, `Gemm`, … node;
    - group: the weights of a group of layers named in the model's metadata;
    - regex: every initializer whose whole name the expression matches;
    - target: a layer name stands for that layer's weights; else an initializer's name, or a glob over names.

    A regex or a glob means what it says: if it matches a bias, it asks for the bias.
    """

    kind: SelectorKind
    pattern: str
    decimals: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Decimals per initializer name. An initializer that is not named stays as it is."""

    decimals: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON, names in the model's order."""
        return {"decimals": dict(self.decimals)}


def parse_selector(kind: SelectorKind, text: str) -> Selector:
    """Read `PATTERN` or `PATTERN=N`, as typed after `--target`, `--group`, `--regex` or `--op-type`.

    Raises:
        UsageError: the pattern is empty, N is out of range, or the regular expression is not one.
    """
    pattern, equals, number = text.rpartition("=")
    if not (equals and re.fullmatch(r"[+-]?[0-9]{1,9}", number)):
        pattern, number = text, ""
    if not pattern:
        raise UsageError(
            f"--{kind} has the empty pattern {text!r}", "write PATTERN, or PATTERN=N for decimals of its own"
        )
    if kind is SelectorKind.REGEX:
        _compile(pattern)
    return Selector(kind=kind, pattern=pattern, decimals=check_decimals(int(number)) if number else None)


def select(
    initializers: Sequence[Initializer], selectors: Sequence[Selector] = (), *, decimals: int | None = None
) -> Plan:
    """Turn selectors into a plan.

    With no selector the paper's set is meant: the weights of every group that the model's metadata names; for a model
    without groups the floating-point weights of Conv, ConvTranspose, Gemm and MatMul. Where several selectors match
    one initializer the last in the order op-type, group, regex, target decides, and within one kind the later one.

    Args:
        initializers: of the model.
        selectors: at least one match is asked of each.
        decimals: for the selectors that name none, 0 to 12.

    Raises:
        TargetError: a selector matches nothing (the message names the nearest candidates), or the model has no weights.
        UsageError: a selector has no decimals and none were given for all.
    """
    chosen: dict[str, int] = {}
    if not selectors:
        chosen = dict.fromkeys(default_targets(initializers), _decimals(None, decimals))
    for selector in sorted(selectors, key=lambda s: _ORDER.index(s.kind)):
        chosen |= dict.fromkeys(_matches(initializers, selector), _decimals(selector.decimals, decimals))
    return Plan(decimals={i.name: chosen[i.name] for i in initializers if i.name in chosen})


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


def _decimals(own: int | None, default: int | None) -> int:
    if own is None and default is None:
        raise UsageError("no number of decimals is given", "add --dp N, or write PATTERN=N")
    return check_decimals(own if own is not None else default)


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
