"""A plan as a small file that a person can read and change: which layer sits on which grid."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from precbench.errors import TargetError, UsageError, printable
from precbench.graph import Initializer, Plan, Selector, select
from precbench.graph.targets import SelectorKind
from precbench.grids import DecimalGrid, Grid, parse_grid
from precbench.nearest import nearest

SCHEMA_VERSION = 1
_KEYS = ("schema_version", "model", "grids")
_MOST_BYTES = 1 << 20
_MOST_PARTS = 16
"""Of a dotted key: a plan has none, and tomllib takes quadratic time over it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """What a plan file says.

    Attributes:
        path: of the file, for messages.
        model: digest of the model that it was made for, `sha256:…`; None where the file does not say.
        grids: by what names the initializers: a layer, an initializer, or a glob over initializers' names.
    """

    path: Path
    model: str | None
    grids: Mapping[str, Grid]

    def plan(self, initializers: Sequence[Initializer], digest: str) -> Plan:
        """Return the plan for a model; where two names match one initializer, the later one decides.

        A name that an initializer has means that one, also where a layer has it too. Each gets the grid as it stands.

        Args:
            initializers: of the model.
            digest: of the model.

        Raises:
            UsageError: it was made for another model.
            TargetError: it names what the model has not.
        """
        if self.model is not None and self.model != digest:
            raise UsageError(
                f"{self.path} was made for the model {self.model[:19]}…, this one is {digest[:19]}…",
                "give that model, or take the line `model` out of the plan if it is meant for this one too",
            )
        known = {one.name for one in initializers}
        grids: dict[str, Grid] = {}
        for name, grid in self.grids.items():
            try:
                chosen = [name] if name in known else select(initializers, [_selector(name, grid)]).grids
            except TargetError as error:
                raise TargetError(f"{self.path} names {name!r}, which the model has not", error.remedy) from error
            grids |= dict.fromkeys(chosen, grid)
        return Plan(grids={one.name: grids[one.name] for one in initializers if one.name in grids})


def _selector(name: str, grid: Grid) -> Selector:
    return Selector(kind=SelectorKind.TARGET, pattern=name, grid=grid)


def read_plan(path: Path) -> PlanFile:
    """Read a plan file.

    Raises:
        UsageError: it cannot be read, is no TOML, has keys or values that a plan has not, or names no grid.
    """
    value = _parsed(path)
    for key in value:
        if key not in _KEYS:
            raise UsageError(f"{path}: a plan has no {key!r}", nearest(key, _KEYS))
    if value.get("schema_version") != SCHEMA_VERSION or value["schema_version"] is True:
        raise UsageError(
            f"{path}: schema_version is {value.get('schema_version')!r}", f"write schema_version = {SCHEMA_VERSION}"
        )
    model = value.get("model")
    if model is not None and not isinstance(model, str):
        raise UsageError(f"{path}: model is {model!r}", "give the digest in quotes, or leave the line out")
    grids = value.get("grids")
    if not isinstance(grids, dict) or not grids:
        raise UsageError(f"{path} names no grid", 'write a table [grids] with lines such as "block_1_expand" = 2')
    return PlanFile(path=path, model=model, grids={name: _grid(path, name, each) for name, each in grids.items()})


def plan_text(grids: Mapping[str, Grid], *, model: str, about: Sequence[str] = ()) -> str:
    """Return what a plan file holds.

    The law: `read_plan` gives the same grids back, in the same order.

    Args:
        grids: by layer or initializer.
        model: digest of the model that it is for.
        about: lines of comment at the top.
    """
    lines = [f"# {printable(one)}" for text in about for one in text.splitlines()]
    lines += [f"schema_version = {SCHEMA_VERSION}", f"model = {json.dumps(model)}", "", "[grids]"]
    lines += [f"{_quoted(name)} = {_written(grid)}" for name, grid in grids.items()]
    return "\n".join(lines) + "\n"


def _parsed(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{path} has {path.stat().st_size:,} bytes", "give a plan file")
        text = path.read_text(encoding="utf-8")
        if any(line.partition("#")[0].count(".") >= _MOST_PARTS for line in _unquoted(text).splitlines()):
            raise UsageError(f"{path} has keys of more than {_MOST_PARTS} parts", 'put names in quotes: "a.b" = 2')
        return tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "name a plan, such as plan.toml") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no plan, which is TOML: {error}", "give a plan, such as search writes") from error


def _unquoted(text: str) -> str:
    """A text without what is in quotes, which may hold dots."""
    return re.sub(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', "", text)


def _grid(path: Path, name: str, value: object) -> Grid:
    try:
        if isinstance(value, dict):
            inner = next(iter(value), "")
            raise UsageError(
                f"{name} is a table with {inner!r} in it, not a grid",
                f'put a name with dots in quotes: "{name}.{inner}"',
            )
        if isinstance(value, str):
            if value.isdecimal():
                raise UsageError(f"{value!r} is in quotes", f"write {value} without them for decimals")
            return parse_grid(value)
        return DecimalGrid(value)  # type: ignore[arg-type]  # which refuses what is no number of decimals
    except UsageError as error:
        raise UsageError(f"{path}: {name}: {error.problem}", error.remedy) from error


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")  # a TOML basic string knows JSON's escapes


def _written(grid: Grid) -> str:
    return str(grid.decimals) if isinstance(grid, DecimalGrid) else json.dumps(str(grid))
