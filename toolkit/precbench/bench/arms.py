"""Which sessions a benchmark times, under which names, and which of them share a process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from precbench.errors import UsageError
from precbench.timing.verdict import Comparison

BASE, CONTROL = "base", "control"
BASE_ALONE, CONTROL_ALONE, DENORMALS_OFF = "base alone", "control alone", "denormals-off"
_RESERVED = {BASE, CONTROL, BASE_ALONE, CONTROL_ALONE, DENORMALS_OFF}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One session to time.

    Args:
        model: its file.
        denormals_as_zero: whether subnormal floats are flushed to zero; then it needs a process of its own.
    """

    model: Path
    denormals_as_zero: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"model": str(self.model), "denormals_as_zero": self.denormals_as_zero}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """All arms of a benchmark.

    Args:
        arms: name to arm.
        groups: names that share a process, the base of each first.
        comparisons: what is compared with what.
    """

    arms: Mapping[str, Arm]
    groups: tuple[tuple[str, ...], ...]
    comparisons: tuple[Comparison, ...]


def line_up(base: Path, variants: Sequence[Path], *, denormals_off: bool = False) -> Line:
    """Return the base, a second session of it as control, and the variants, all in one process.

    With `denormals_off`, three processes more: the base, the base again as control, and the base with subnormals
    flushed to zero. That flag, set by a process's first session, governs all that follow, so it cannot share one.

    Raises:
        UsageError: there is nothing to compare with the base.
    """
    if not variants and not denormals_off:
        raise UsageError(
            "there is no variant to compare with the base",
            "name at least two models: precbench bench BASE.onnx VARIANT.onnx",
        )
    arms, groups, comparisons = dict[str, Arm](), list[tuple[str, ...]](), list[Comparison]()
    if variants:
        names = arm_names(variants)
        arms |= {BASE: Arm(model=base), CONTROL: Arm(model=base)}
        arms |= {name: Arm(model=path) for name, path in zip(names, variants, strict=True)}
        groups.append((BASE, CONTROL, *names))
        comparisons += [Comparison(arm=name, base=BASE, control=CONTROL) for name in names]
    if denormals_off:
        arms |= {BASE_ALONE: Arm(model=base), CONTROL_ALONE: Arm(model=base)}
        arms[DENORMALS_OFF] = Arm(model=base, denormals_as_zero=True)
        groups += [(BASE_ALONE,), (CONTROL_ALONE,), (DENORMALS_OFF,)]
        comparisons.append(Comparison(arm=DENORMALS_OFF, base=BASE_ALONE, control=CONTROL_ALONE))
    return Line(arms=arms, groups=tuple(groups), comparisons=tuple(comparisons))


def line_up_passes(base: Path, variants: Sequence[Path]) -> Line:
    """Return the base, the base again as control, and the variants if there are any: one pass each, one process."""
    if variants:
        return line_up(base, variants)
    return Line(arms={BASE: Arm(model=base), CONTROL: Arm(model=base)}, groups=((BASE, CONTROL),), comparisons=())


def arm_names(variants: Sequence[Path]) -> list[str]:
    """Return file stems where they tell the variants apart, else whole paths, else numbered paths."""
    for names in ([path.stem for path in variants], [str(path) for path in variants]):
        if len(set(names)) == len(names) and not _RESERVED & set(names):
            return names
    return [f"{number}: {path}" for number, path in enumerate(variants, 1)]
