"""Which form is kept, by made-up findings."""

from typing import Any

import pytest

from precbench.deploy.choosing import best_row, gains


def row(
    form: str, *ratios: tuple[float, float, float], drop: float | None = 0.1, size: int = 100, gained: bool = True
) -> dict[str, Any]:
    """Ratios: point, low, high of each batch size; a drop of at most 0.5 points is within the limit."""
    return {
        "form": form,
        "time": [_time(*ratio) for ratio in ratios] or None,
        "drop_points": drop,
        "within_max_drop": None if drop is None else drop <= 0.5,
        "model_bytes": size,
        "gains": gained,
    }


def _time(point: float | None, low: float | None, high: float | None, verdict: str = "faster") -> dict[str, Any]:
    return {"ratio": {"point": point, "low": low, "high": high}, "verdict": verdict}


FAST, SLOW, AS_BEFORE = (0.50, 0.49, 0.51), (0.80, 0.79, 0.81), (1.0, 0.99, 1.01)


def best(*rows: dict[str, Any]) -> str:
    return str(rows[best_row(rows)]["form"])


def test_the_fastest_of_those_within_the_limit_is_kept() -> None:
    assert best(row("packed", SLOW), row("int8", FAST)) == "int8"
    assert best(row("packed", SLOW), row("int8", FAST, drop=0.6)) == "packed"


def test_all_batch_sizes_have_a_say() -> None:
    assert best(row("packed", FAST, AS_BEFORE), row("int8", SLOW, FAST)) == "int8"


def test_of_those_that_the_intervals_do_not_tell_apart_the_smallest_is_kept() -> None:
    near = (0.505, 0.495, 0.515)
    assert best(row("int8", FAST, size=100), row("fp16", near, size=60)) == "fp16"
    assert best(row("int8", FAST, FAST, size=100), row("fp16", near, SLOW, size=60)) == "int8"


def test_what_gains_nothing_is_kept_only_where_nothing_gains() -> None:
    assert best(row("int8", FAST, gained=False), row("packed", AS_BEFORE)) == "packed"
    assert best(row("int8", FAST, gained=False), row("packed", AS_BEFORE, drop=2.0)) == "int8"


def test_where_none_is_within_the_limit_the_one_that_may_lose_least_is_kept() -> None:
    assert best(row("packed", SLOW, drop=0.7), row("int8", FAST, drop=0.9)) == "packed"
    assert best(row("packed", SLOW, drop=None), row("int8", FAST, drop=0.9)) == "int8"


def test_where_nothing_is_known_of_accuracy_what_changes_no_output_comes_first() -> None:
    assert best(row("int8", FAST, drop=None), row("packed", AS_BEFORE, drop=None)) == "packed"
    assert best(row("int8", SLOW, drop=None), row("fp16", FAST, drop=None)) == "fp16"


def test_without_times_the_smallest_within_the_limit_is_kept() -> None:
    assert best(row("packed", size=50), row("int8", size=25)) == "int8"


def test_what_could_not_be_timed_comes_last() -> None:
    untimed = {**row("int8"), "time": [_time(None, None, None, "inconclusive")]}
    assert best(row("packed", AS_BEFORE), untimed) == "packed"


@pytest.mark.parametrize(
    ("size", "verdict", "expected"),
    [(99, "slower", True), (100, "slower", False), (100, "equivalent", False), (101, "faster", True)],
)
def test_a_form_gains_that_is_smaller_or_shown_to_be_faster(size: int, verdict: str, expected: bool) -> None:
    found = {"model_bytes": size, "time": [_time(1.0, 0.9, 1.1, verdict)]}
    assert gains(found, 100) is expected
