"""The answer in sentences says what the records say, and no more."""

import io
from typing import Any

import pytest
from rich.console import Console

from precbench.report.study_report import study_sentences, study_table


def model(
    decimals: int | None,
    *,
    changed: int = 0,
    ratio: tuple[float, float, float] = (1.0, 0.99, 1.01),
    beyond: bool = False,
) -> dict[str, Any]:
    flips = {"gained": 0, "lost": changed, "changed": changed, "low_points": -1.06 - changed}
    return {
        "name": "base" if decimals is None else f"dp{decimals}",
        "decimals": decimals,
        "accuracy": {"fraction": 0.95, "correct": 342, "total": 360},
        "flips": None if decimals is None else flips,
        "ratio": None if decimals is None else dict(zip(("point", "low", "high"), ratio, strict=True)),
        "told_apart": None if decimals is None else beyond,
        "file_bytes": 9_180_000,
        "zstd_bytes": 8_390_000 if decimals is None else 1_000_000 * decimals,
        "targets": {"elements": 2_188_960, "distinct": 2_152_611, "zeros": 0, "subnormals": 3},
    }


def results(*models: dict[str, Any]) -> dict[str, Any]:
    return {
        "models": [model(None), *models],
        "control": {"point": 1.004, "low": 1.002, "high": 1.007},
        "timing": {"session": {"provider": "cpu", "intra_op_threads": 1}},
        "zstd_level": 10,
    }


def sentences(*models: dict[str, Any]) -> str:
    return "\n".join(study_sentences(results(*models)))


def test_the_fewest_decimals_are_those_from_which_on_nothing_changes() -> None:
    text = sentences(model(1, changed=300), model(2), model(3, changed=1), model(4), model(5))
    assert "from 4 decimals on, none of the 360 test images changes its class" in text
    assert "cannot exclude a loss of up to 1.1 points" in text
    assert "takes 4.00 MB at 4 decimals, 8.39 MB before" in text


def test_where_something_always_changes_it_says_so() -> None:
    assert "at every number of decimals tried, some test image changes" in sentences(
        model(1, changed=9), model(2, changed=1)
    )


def test_no_speed_up_is_reported_as_the_finding() -> None:
    assert "rounding in place shows no speed-up" in sentences(model(4))


def test_a_ratio_beyond_the_control_is_shown_with_its_interval_and_the_caveat() -> None:
    text = sentences(model(4, ratio=(0.9, 0.88, 0.92), beyond=True))
    assert "N = 4: 0.900 [0.880, 0.920]" in text
    assert "repeat the run before you believe it" in text


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_fits_the_terminal(width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(study_table(results(model(1, changed=300), model(9))))
    lines = out.getvalue().splitlines()
    assert len(lines) == 5
    assert max(len(line) for line in lines) <= 80
    assert "…" not in out.getvalue()
    assert "A/A" in lines[2]
