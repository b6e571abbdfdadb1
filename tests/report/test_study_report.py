"""The answer in sentences says what the records say, and no more."""

import io
from typing import Any

import pytest
from rich.console import Console

from precbench.report.study_report import study_sentences, study_table


def timing(verdict: str, ratio: tuple[float, float | None, float | None], smallest: float | None) -> dict[str, Any]:
    return {
        "ratio": dict(zip(("point", "low", "high"), ratio, strict=True)),
        "verdict": verdict,
        "smallest_effect": smallest,
    }


def model(
    decimals: int | None,
    *,
    changed: int = 0,
    ratio: tuple[float, float | None, float | None] = (1.0, 0.99, 1.01),
    verdict: str = "equivalent",
    smallest: float | None = 0.012,
) -> dict[str, Any]:
    flips = {"gained": 0, "lost": changed, "changed": changed, "low_points": -1.06 - changed}
    return {
        "name": "base" if decimals is None else f"dp{decimals}",
        "decimals": decimals,
        "accuracy": {"fraction": 0.95, "correct": 342, "total": 360},
        "flips": None if decimals is None else flips,
        "timing": None if decimals is None else timing(verdict, ratio, smallest),
        "file_bytes": 9_180_000,
        "zstd_bytes": 8_390_000 if decimals is None else 1_000_000 * decimals,
        "targets": {"elements": 2_188_960, "distinct": 2_152_611, "zeros": 0, "subnormals": 3},
    }


def results(*models: dict[str, Any]) -> dict[str, Any]:
    return {
        "models": [model(None), *models],
        "control": {"point": 1.004, "low": 1.002, "high": 1.007},
        "timing": {"session": {"provider": "cpu", "intra_op_threads": 1}, "settings": {"margin": 0.01}},
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


def test_equivalence_is_reported_as_the_finding_with_margin_correction_and_reach() -> None:
    text = sentences(model(3, ratio=(0.998, 0.995, 1.001)), model(4, ratio=(1.002, 0.999, 1.005), smallest=0.02))
    assert "ratios from 0.998 to 1.002, the base against itself 1.004 [1.002, 1.007]" in text
    assert "Equivalent to full precision: N = 3, 4" in text
    assert "(margin 1 %, corrected for 2 variants; effects from 2.0 % could have been called)" in text


def test_each_verdict_names_its_variants() -> None:
    text = sentences(
        model(1, verdict="faster"),
        model(2, verdict="slower"),
        model(3, verdict="inconclusive"),
        model(4, verdict="faster"),
    )
    assert "Faster than full precision: N = 1, 4; slower than full precision: N = 2; inconclusive: N = 3" in text


def test_where_no_effect_could_have_been_called_none_is_claimed() -> None:
    assert "could have been called" not in sentences(model(4, verdict="inconclusive", smallest=None))


def test_a_run_too_short_for_an_interval_says_so() -> None:
    out, short = io.StringIO(), results(model(4, ratio=(1.01, None, None), verdict="inconclusive", smallest=None))
    short["control"] = {"point": 1.0, "low": None, "high": None}
    Console(file=out, width=80).print(study_table(short))
    assert "1.010 [no interval]" in out.getvalue()
    assert "the base against itself 1.000 [no interval]" in "\n".join(study_sentences(short))


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_fits_the_terminal(width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(study_table(results(model(1, changed=300, verdict="inconclusive"), model(9))))
    lines = out.getvalue().splitlines()
    assert len(lines) == 5
    assert max(len(line) for line in lines) <= 80
    assert "…" not in out.getvalue()
    assert "A/A" in lines[2]
    assert "verdict" in lines[0]
    assert "inconclusive" in lines[3]
    assert "equivalent" in lines[4]
