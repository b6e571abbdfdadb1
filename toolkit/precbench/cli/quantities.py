"""Quantities as users type them: a duration, a percentage, lists of batch sizes and of decimals. Types of options."""

import math
import re
from decimal import Decimal

from precbench.errors import UsageError
from precbench.grids import DecimalGrid, Grid, check_decimals, parse_grid

_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_DURATION = re.compile(rf"\s*({_NUMBER})\s*(ms|s|m|h|)\s*", re.ASCII)
_PERCENT = re.compile(rf"\s*({_NUMBER})\s*(%?)\s*", re.ASCII)
_WHOLE = re.compile(r"\s*[0-9]{1,9}\s*", re.ASCII)
_BATCH = re.compile(r"\s*0*([1-9][0-9]{0,8})\s*", re.ASCII)


def parse_duration_s(text: str) -> float:
    """Read `60s`, `2m`, `1.5h`, `500ms`, or `60` for seconds; return seconds, positive and finite.

    Raises:
        UsageError: not written so, zero, negative, or too large for a number.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{text!r} is no duration", "write a number with ms, s, m or h behind it, such as 500ms, 60s, 2m or 1.5h"
        )
    seconds = float(Decimal(found[1]) * _SECONDS[found[2]])
    if seconds == 0:
        raise UsageError(
            f"a budget of {text!r} is no time at all: nothing could be measured", "give some, such as 20s or 2m"
        )
    if seconds < 0 or not math.isfinite(seconds):
        raise UsageError(
            f"the duration {text!r} is {'negative' if seconds < 0 else 'endless'}", "give some time, such as 60s"
        )
    return seconds


def parse_percent(text: str) -> float:
    """Read `1%` or `0.5 %`; return the fraction, inside 0..1: 0.01 and 0.005.

    A bare number is refused: 0.01 may be meant as one percent or as a hundredth of it.

    Raises:
        UsageError: not written so, or not between 0 % and 100 %.
    """
    found = _PERCENT.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no percentage", "write a number and the sign, such as 1% or 0.5%")
    if not found[2]:
        raise UsageError(f"{text!r} does not say whether it is in percent", _with_sign(found[1]))
    fraction = float(Decimal(found[1]) / 100)
    if not 0 < fraction < 1:
        raise UsageError(f"{text!r} is not between 0 % and 100 %", "give a percentage between them, such as 1%")
    return fraction


def parse_batches(text: str) -> tuple[int, ...]:
    """Read `1,32`; return the batch sizes in the order given, each at least 1 and given once.

    Raises:
        UsageError: not written so, or a size is given twice.
    """
    found = [_BATCH.fullmatch(part) for part in text.split(",")]
    sizes = tuple(int(each[1]) for each in found if each is not None)
    if len(sizes) < len(found):
        raise UsageError(
            f"{text!r} is no list of batch sizes",
            "write whole numbers from 1 to 999999999 with commas between, such as 1,32",
        )
    twice = next((size for size in sizes if sizes.count(size) > 1), None)
    if twice is not None:
        raise UsageError(f"{text!r} has the batch size {twice} more than once", "give each size once")
    return sizes


def parse_decimals(text: str) -> tuple[int, ...]:
    """Read `4` or `1,3,5`; return the numbers of decimals in the order given, each 0..12 and given once.

    Raises:
        UsageError: not written so, out of range, or a number is given twice.
    """
    parts = text.split(",")
    if not all(_WHOLE.fullmatch(part) for part in parts):
        raise UsageError(f"{text!r} is no list of decimals", "write whole numbers with commas between, such as 2,3,4")
    numbers = tuple(check_decimals(int(part)) for part in parts)
    twice = next((number for number in numbers if numbers.count(number) > 1), None)
    if twice is not None:
        raise UsageError(f"{text!r} has {twice} decimals more than once", "give each once")
    return numbers


def _with_sign(number: str) -> str:
    """What a bare number may have been meant as: itself in percent, or the fraction if it can be one."""
    value = Decimal(number)
    if 0 < value < 1:
        return f"write {format((100 * value).normalize(), 'f')}% if it is a fraction, {number}% if it is in percent"
    return f"write {number}%" if 0 < value < 100 else "write a percentage between 0 % and 100 %, such as 1%"


def parse_grid_given(decimals: int | None, grid: str | None) -> Grid | None:
    """Return the grid that `--dp` or `--grid` names; None where neither is given.

    Raises:
        UsageError: both are given, or what is given is none.
    """
    if decimals is not None and grid is not None:
        raise UsageError(f"--dp {decimals} and --grid {grid} are both given", "give one of them")
    if grid is not None:
        return parse_grid(grid)
    return None if decimals is None else DecimalGrid(decimals)


def parse_grids(decimals: str | None, grids: list[str] | None) -> tuple[Grid, ...]:
    """Return the grids that `--dp 2,3` and `--grid`, given once or more, name together, each once.

    Raises:
        UsageError: a number or a text is none.
    """
    named = [*([] if decimals is None else map(DecimalGrid, parse_decimals(decimals))), *map(parse_grid, grids or [])]
    return tuple({str(grid): grid for grid in named}.values())
