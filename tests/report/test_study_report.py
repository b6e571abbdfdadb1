"""The tables and sentences of a study say what the records say, and no more."""

import io
from typing import Any

import pytest
from rich.console import Console

from precbench.report.study_report import experiment_table, study_sentences, weights_table

Json = dict[str, Any]


def timing(arm: str, verdict: str, ratio: tuple[float, float | None, float | None], smallest: float | None) -> Json:
    return {
        "arm": arm,
        "ratio": dict(zip(("point", "low", "high"), ratio, strict=True)),
        "verdict": verdict,
        "smallest_effect": smallest,
    }


def census(distinct: int) -> Json:
    return {"distinct": distinct, "zeros": 148_348, "subnormals": 3}


def row(
    parts: dict[str, int],
    *,
    lost: int = 0,
    change: str | None = None,
    ratio: tuple[float, float | None, float | None] | None = None,
    verdict: str = "equivalent",
    smallest: float | None = 0.012,
    zstd: int | None = None,
) -> Json:
    name = ",".join(f"{part}.dp{n}" for part, n in parts.items())
    numbers = set(parts.values())
    points = -100 * lost / 10_000
    return {
        "name": name,
        "parts": parts,
        "decimals": numbers.pop() if len(numbers) == 1 else None,
        "state": "done",
        "detail": "",
        "elements": 2_188_960,
        "changed": 2_000_001,
        "flips": {
            "gained": 0, "lost": lost, "changed": lost, "total": 10_000, "variant_correct": 9400 - lost,
            "difference_points": points, "low_points": points - 0.04, "high_points": points + 0.04,
        },
        "decision": {
            "change": change or ("loss" if lost > 50 else "no loss"), "within_margin": lost <= 40 and not change,
        },
        "timing": None if ratio is None else timing(name, verdict, ratio, smallest),
        "file": None if zstd is None else {"zstd_bytes": zstd, "file_bytes": 9_180_000, "targets": census(56)},
    }  # fmt: skip


def failed(parts: dict[str, int]) -> Json:
    return {**row(parts), "state": "failed", "detail": "its scores are NaN", "flips": None, "decision": None}


def results(*experiments: Json, published: bool = False) -> Json:
    full = {"decimals": 0, "accuracy": 0.8691, "time_s": 87.72}
    rounded = [{"decimals": 4, "accuracy": 0.8695, "time_s": 69.04}]
    return {
        "study": {
            "published": {"source": "Ow et al.", "images": 10_000, "elements": 2_188_960 if published else 0,
                          "full": full if published else None,
                          "rounded": rounded}
        },
        "base": {
            "accuracy": {"fraction": 0.94, "correct": 9400, "total": 10_000, "low": 0.935, "high": 0.944},
            "class_names": ["cat", "dog"],
            "file_bytes": 9_180_000,
            "zstd_bytes": 8_390_000,
            "targets": census(2_152_973),
        },
        "margin_points": 0.5,
        "level": 0.95,
        "smallest_margin_points": 0.0384,
        "experiments": list(experiments),
        "winners": {"combinations": "expand.dp3,project.dp2"},
        "control": {"point": 1.004, "low": 1.002, "high": 1.007},
        "timing": {"session": {"provider": "cpu", "intra_op_threads": 1}, "settings": {"margin": 0.01}},
    }  # fmt: skip


def all_groups(*rows: Json) -> Json:
    return {"name": "all", "targets": "all", "smallest_margin_points": 0.058, "rows": list(rows)}


def sentences(*experiments: Json, published: bool = False) -> str:
    return "\n".join(study_sentences(results(*experiments, published=published)))


def printed(experiment: Json, *others: Json) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(experiment_table(results(experiment, *others), experiment))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_it_says_from_which_decimals_on_there_is_no_loss_and_no_change() -> None:
    text = sentences(all_groups(*(row({"all": n}, lost=lost) for n, lost in ((1, 6000), (2, 30), (3, 1), (4, 0)))))
    assert "from 2 decimals on, a loss of 0.5 points is excluded" in text
    assert "from 4 on, none of the 10,000 images changes its class" in text
    assert "a loss is shown at 1" in text


def test_where_no_loss_is_not_shown_it_says_so() -> None:
    text = sentences(all_groups(row({"all": 1}, lost=6000), row({"all": 2}, lost=9, change="undecided")))
    assert "at no number of decimals is a loss of 0.5 points excluded" in text
    assert "none of the" not in text


def test_the_smallest_margin_that_so_many_images_show_stands_beside_the_words() -> None:
    text = sentences(all_groups(row({"all": 4}), row({"all": 5})))
    assert "so many images show 0.038 points at best, of one variant alone, and 0.058 of all 2 of all." in text
    assert "0.038 points at best, of one variant alone." in sentences(all_groups(row({"all": 4})))


def test_the_verdicts_on_time_name_their_variants_with_margin_correction_and_reach() -> None:
    text = sentences(
        all_groups(
            row({"all": 3}, ratio=(0.998, 0.995, 1.001)),
            row({"all": 4}, ratio=(1.002, 0.999, 1.005), smallest=0.02),
            row({"all": 5}, ratio=(0.9, 0.89, 0.91), verdict="faster"),
        )
    )
    assert "ratios from 0.900 to 1.002, the base against itself 1.004 [1.002, 1.007]" in text
    assert "Equivalent to full precision: N = 3, N = 4; faster than full precision: N = 5" in text
    assert "(margin 1 %, corrected for 3 variants; effects from 2.0 % could have been called)" in text


def test_winners_that_are_timed_are_told_with_their_ratios() -> None:
    both = {"name": "combinations", "targets": "combinations", "smallest_margin_points": 0.05, "rows": [
        row({"expand": 3, "project": 2}, ratio=(1.001, 0.998, 1.004))
    ]}  # fmt: skip
    text = sentences(all_groups(row({"all": 4}, ratio=(0.998, 0.995, 1.001))), both)
    assert "Equivalent to full precision: N = 4, expand at 3 + project at 2 (margin" in text
    assert "Of the winners: expand at 3 + project at 2 1.001 [0.998, 1.004]." in text


def test_a_network_that_only_guesses_is_said_to_do_so() -> None:
    record = results(all_groups(row({"all": 4})))
    assert "guessing" not in "\n".join(study_sentences(record))
    record["base"]["accuracy"] |= {"fraction": 0.52, "low": 0.49}
    assert "not shown to be better than guessing one of the 2 classes" in "\n".join(study_sentences(record))


def test_a_study_that_times_nothing_says_nothing_of_time() -> None:
    text = sentences(all_groups(row({"all": 4})))
    assert "Time on" not in text
    assert "Bytes" not in text


def test_bytes_are_those_of_the_fewest_decimals_without_loss() -> None:
    text = sentences(
        all_groups(row({"all": 1}, lost=6000, zstd=1_000_000), row({"all": 2}, zstd=2_000_000), row({"all": 3}, zstd=3))
    )
    assert "takes 2.00 MB at 2 decimals, 8.39 MB before" in text


def test_single_layers_say_at_which_decimals_how_many_lose() -> None:
    layers = {"name": "layers", "targets": "each-layer", "smallest_margin_points": 0.09, "rows": [
        row({"stem": 1}, lost=800), row({"b1": 1}, lost=70), row({"b2": 1}),
        row({"stem": 3}, lost=2), row({"b1": 3}), row({"b2": 3}),
        row({"stem": 5}), row({"b1": 5}), row({"b2": 5}),
    ]}  # fmt: skip
    text = sentences(layers)
    assert "Layers, one at a time: at 1 a loss of 0.5 points is excluded for 1 of 3, and a loss shown for 2, " in text
    assert "the largest -8.00 points (stem); at 3 a loss of 0.5 points is excluded for 3 of 3;" in text
    assert "from 5 on no image changes its class." in text
    grid = printed(layers)
    assert [line.split() for line in grid.splitlines()] == [
        ["points", "at", "N", "=", "1", "3", "5"],
        ["stem", "-8.00!", "-0.02", "="],
        ["b1", "-0.70!", "=", "="],
        ["b2", "=", "=", "="],
    ]


def test_what_shows_nothing_is_not_called_no_loss() -> None:
    rows = [row({"stem": 1}, lost=9, change="undecided"), row({"b1": 1}, change="undecided"), failed({"b2": 1})]
    layers = {"name": "layers", "targets": "each-layer", "smallest_margin_points": 0.09, "rows": rows}
    text = sentences(layers)
    assert "Layers, one at a time: at 1 a loss of 0.5 points is excluded for 0 of 3." in text
    assert "no loss is" not in text.replace("'No loss' is", "")
    rows[1:] = [failed({"b1": 1})]
    rows[0] = row({"stem": 1})
    assert "on no image changes" not in sentences(layers)


def test_weights_that_changed_stand_beside_the_publications() -> None:
    experiment = all_groups(row({"all": 2}, zstd=2_000_000), row({"all": 3}), failed({"all": 1}))
    console = Console(file=io.StringIO(), width=80)
    console.print(weights_table(results(experiment, published=True), experiment))
    assert [line.split() for line in console.file.getvalue().splitlines()] == [  # type: ignore[attr-defined]
        ["N", "weights", "rounded", "changed", "distinct", "zeros", "subnormal"],
        ["full", "2,152,973", "148,348", "3"],
        ["2", "2,188,960", "2,000,001", "56", "148,348", "3"],
        ["3", "2,188,960", "2,000,001"],
        ["1"],
        ["published", "2,188,960"],
    ]


def test_combinations_name_the_winner() -> None:
    both = [row({"expand": 3, "project": 2}), row({"expand": 2, "project": 2}, lost=700)]
    text = sentences({"name": "combinations", "targets": "combinations", "smallest_margin_points": 0.05, "rows": both})
    assert "for 1 of 2 a loss of 0.5 points is excluded; the fewest decimals among these: expand 3, project 2" in text
    assert "which chose it: other images have to confirm it" in text


def test_a_failed_point_is_named_with_the_reason() -> None:
    text = sentences(all_groups(failed({"all": 1}), row({"all": 4})))
    assert "Failed: all.dp1 of all: its scores are NaN" in text
    assert "failed" in printed(all_groups(failed({"all": 1}), row({"all": 4})))


def test_the_publications_figures_stand_beside() -> None:
    text = sentences(all_groups(row({"all": 4})), published=True)
    assert "Published (Ow et al.): full precision 86.91 % of 10,000 images in 87.72 s" in text
    assert "at 4 decimals 86.95 % and 69.04 s, a ratio of 0.787" in text


@pytest.mark.parametrize("lost", [0, 6000])
def test_tables_fit_80_columns(lost: int) -> None:
    wide = row({"all": 4}, lost=lost, ratio=(0.998, 0.995, 1.001), verdict="inconclusive", zstd=8_390_000)
    wide["decision"]["change"] = "loss within the margin"
    text = printed(all_groups(wide))
    assert "small loss" in text
    assert "0.998 [0.995, 1.001]" in text
    assert "inconclusive" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    combined = {"name": "c", "targets": "combinations", "rows": [
        row(dict.fromkeys(["conv1", "expand", "depthwise", "project", "conv"], 3), lost=lost)
    ]}  # fmt: skip
    assert "depthwise" in printed(combined)
