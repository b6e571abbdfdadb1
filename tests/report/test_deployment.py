"""What `deploy` and `verify` print says what is known, and nothing that is not."""

from typing import Any

from rich.console import Console

from precbench.report.deployment import about_deployment, about_verification, deployment_table

FLIPS = {"gained": 1, "lost": 2, "difference_points": -0.1, "low_points": -0.4, "high_points": 0.2}
ACCURACY = {
    "samples": 1000,
    "accuracy": {"fraction": 0.9},
    "reference_accuracy": {"fraction": 0.901},
    "flips": FLIPS,
}


def time(batch: int, point: float | None = 0.5) -> dict[str, Any]:
    low, high = (None, None) if point is None else (point - 0.01, point + 0.01)
    return {"batch": batch, "ratio": {"point": point, "low": low, "high": high}, "verdict": "faster"}


def row(form: str, *, drop: float | None, within: bool | None, times: list[Any] | None = None) -> dict[str, Any]:
    validation = None if drop is None else {"samples": 300, "smallest_margin_points": 1.3}
    about = {"form": form, "made": True, "model_bytes": 1000, "time": times, "drop_points": drop}
    return {**about, "within_max_drop": within, "validation": validation}


def said(holds: bool | None, own: dict[str, Any] | None, **changes: Any) -> str:
    manifest = {
        "form": "int8",
        "max_drop_points": 0.5,
        "accuracy": ACCURACY,
        "accuracy_not_measured": None,
        "time": None,
        "bytes": {"model": 1, "reference": 2, "zstd_model": 1, "zstd_reference": 2},
        "tensors": [],
        "tried": [] if own is None else [own],
        **changes,
    }
    return "\n".join(about_deployment({"folder": "out", "holds": holds, "manifest": manifest}))


def test_fastest_is_said_only_where_time_was_measured() -> None:
    assert "the fastest of the forms" in said(True, row("int8", drop=0.2, within=True, times=[time(32)]))
    assert "the smallest, since no time was measured" in said(True, row("int8", drop=0.2, within=True))


def test_a_form_that_saves_bytes_and_no_time_is_said_to() -> None:
    slower = {**time(32, 1.2), "verdict": "slower"}
    assert "what it saves is bytes" in said(True, row("int8", drop=0.2, within=True, times=[slower]))
    assert "saves is bytes" not in said(True, row("int8", drop=0.2, within=True, times=[slower, time(1)]))


def test_a_choice_that_the_test_part_does_not_bear_out_says_so() -> None:
    worse = {**ACCURACY, "flips": {**FLIPS, "low_points": -0.8}}
    own = row("int8", drop=0.2, within=True)
    assert "a loss of up to 0.80 points is not excluded" in said(True, own, accuracy=worse)
    assert "not excluded" not in said(True, own)


def test_too_few_samples_are_said_to_be_too_few() -> None:
    text = said(False, row("int8", drop=1.4, within=False))
    assert "No form is shown to lose at most 0.5 points" in text
    assert "300 samples show 1.3 points at best: give more, or a larger --max-drop" in text


def test_nothing_gained_is_said() -> None:
    assert "smaller or faster than the model as it is; int8 was kept" in said(False, row("int8", drop=0, within=True))


def test_a_form_that_was_asked_for_is_judged_by_the_limit_alone() -> None:
    assert "int8 is not shown to lose at most 0.5 points" in said(False, None)
    assert "points on the validation part" not in said(None, None, max_drop_points=None)


def test_why_accuracy_was_not_measured_is_said() -> None:
    why = "the model is no classifier"
    text = said(None, None, accuracy=None, accuracy_not_measured=why)
    assert f"nothing is known of accuracy ({why}), so no limit is checked" in text
    assert f"Accuracy: not measured ({why})." in text


def test_every_batch_size_has_a_line() -> None:
    rows = [
        row("int8", drop=0.2, within=True, times=[time(32), time(1, None)]),
        {"form": "packed", "made": False, "reason": "x"},
    ]
    console = Console(width=100)
    with console.capture() as capture:
        console.print(deployment_table(rows))
    lines = capture.get().splitlines()
    assert len(lines) == 4
    assert lines[1].split()[:3] == ["int8", "32", "0.500"]
    assert lines[2].split()[:2] == ["1", "-"]


def test_names_from_a_strangers_folder_steer_no_terminal() -> None:
    checks = [{"name": "\x1b[31mred", "passed": False, "found": "is\x07 missing", "remedy": "copy it"}]
    text = "\n".join(about_verification({"folder": "f\x1b", "form": "int8", "checks": checks}))
    assert text.isprintable()
