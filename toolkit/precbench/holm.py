"""Several hypotheses tested in one go: Holm's correction holds the chance of any false rejection at the level."""

from collections.abc import Sequence


def holm(p_values: Sequence[float], family: int | None = None) -> list[float]:
    """Return Holm's adjusted p-values: reject where one is at most the level, and the family's error is held.

    An adjusted p-value is at least its raw one, and the order of the raw ones is kept.

    Args:
        p_values: of these tests, 0..1, in any order.
        family: number of tests, these and others; each of these is then adjusted as if all others ranked below it,
            which errs on the safe side. None: these.

    Returns:
        One per p-value, in their order, 0..1.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979.
    """
    adjusted, largest, tests = [0.0] * len(p_values), 0.0, max(len(p_values), family or 0)
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (tests - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def holm_levels(p_values: Sequence[float], level: float, family: int | None = None) -> list[float]:
    """Return what each p-value has to be at most for Holm to reject it, the others being what they are.

    It is `level` over the number of hypotheses where no other is rejected, and more where some are.

    Args:
        p_values: of these tests, 0..1.
        level: of the family, inside 0..1.
        family: as in `holm`.
    """
    tests = max(len(p_values), family or 0)
    return [_level([*p_values[:i], *p_values[i + 1 :]], level, tests) for i in range(len(p_values))]


def _level(others: Sequence[float], level: float, left: int) -> float:
    for p_value in sorted(others):
        if p_value > level / left:
            break
        left -= 1
    return level / left
