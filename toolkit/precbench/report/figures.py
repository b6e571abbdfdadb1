"""How a number is written."""

from collections.abc import Mapping
from typing import Any


def percent(fraction: float) -> str:
    """0.9389 -> 93.89 %."""
    return f"{100 * fraction:.2f} %"


def interval(ratio: Mapping[str, Any]) -> str:
    """Write a ratio with its interval, if it has one: 0.998 [0.991, 1.004]."""
    if ratio["low"] is None or ratio["high"] is None:
        return f"{ratio['point']:.3f} [no interval]"
    return f"{ratio['point']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"


def points(flips: Mapping[str, Any]) -> str:
    """Write a difference in accuracy with its interval: -0.15 points [-0.38, +0.08]."""
    return f"{flips['difference_points']:+.2f} points [{flips['low_points']:+.2f}, {flips['high_points']:+.2f}]"


def ratio_text(ratio: Mapping[str, Any]) -> str:
    """Write a ratio with its interval: 0.9984 [0.9961, 1.0007]."""
    if ratio["point"] is None:
        return "not measured"
    if ratio["low"] is None:
        return f"{ratio['point']:.4f} [no interval]"
    return f"{ratio['point']:.4f} [{ratio['low']:.4f}, {ratio['high']:.4f}]"


def megabytes(size_bytes: int) -> str:
    """8963072 -> 8.96 (millions of bytes)."""
    return f"{size_bytes / 1e6:.2f}"


def milliseconds(elapsed_ns: float) -> str:
    """3456789 -> 3.457 ms."""
    return f"{elapsed_ns / 1e6:.3f} ms"


def number(value: float | None) -> str:
    """Write a float in six digits, or a dash."""
    return "-" if value is None else f"{value:.6g}"


def counted(amount: float, noun: str) -> str:
    """1 and "point" -> 1 point; 0.5 -> 0.5 points."""
    return f"{amount:g} {noun}{'' if amount == 1 else 's'}"


def count(value: int | None) -> str:
    """Write a count with thousands separated, or a dash."""
    return "-" if value is None else f"{value:,}"
