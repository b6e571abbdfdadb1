"""Deployed forms of the model: what each costs in accuracy and gives in time and bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

from precbench.report.html.accuracy import alike_ratio
from precbench.report.html.material import RunMaterial
from precbench.report.html.view import Cell, Section, Sheet, amount, plain


def deployed_section(run: RunMaterial, manifests: Sequence[Mapping[str, Any]]) -> Section:
    """Return a table with a row per deployed form and batch size; empty where there is none.

    Args:
        run: that they are set beside.
        manifests: of deployed folders.
    """
    rows = [row for manifest in manifests for row in _rows(manifest)]
    columns = [
        "form",
        "batch",
        "verdict",
        "time ratio",
        "low",
        "high",
        "difference, points",
        "low",
        "high",
        "MB",
        "of the reference's",
    ]
    sheet = Sheet(name="deployed", title="Deployed forms beside the reference", columns=columns, rows=rows, numbers=8)
    said = [_timed_otherwise(one) for one in manifests if one["time"] and alike_ratio(run, one) is None]
    return Section(anchor="deployed", title="Deployed", paragraphs=said, sheets=[sheet] if rows else [])


def _timed_otherwise(manifest: Mapping[str, Any]) -> str:
    time = manifest["time"]
    batches = ", ".join(str(one["batch"]) for one in time["ratios"])
    return (
        f"{manifest['form']} was timed on {time['provider']}, {time['intra_op_threads']} thread(s), batch {batches}; "
        f"the study's variants were not, so it is not in the plot of accuracy against time."
    )


def _rows(manifest: Mapping[str, Any]) -> list[list[Cell]]:
    accuracy, time, size = manifest["accuracy"], manifest["time"], manifest["bytes"]
    flips = None if accuracy is None else accuracy["flips"]
    points = [
        amount(None if flips is None else flips[key], "{:+.2f}")
        for key in ("difference_points", "low_points", "high_points")
    ]
    bytes_ = [amount(size["model"] / 1e6, "{:.2f}"), amount(size["model"] / size["reference"], "{:.3f}")]
    ratios = time["ratios"] if time else [None]
    return [
        [
            plain(manifest["form"]),
            plain("–" if one is None else one["batch"]),
            plain("not measured" if one is None else one["verdict"]),
            *(amount(None if one is None else one["ratio"][key], "{:.3f}") for key in ("point", "low", "high")),
            *points,
            *bytes_,
        ]
        for one in ratios
    ]
