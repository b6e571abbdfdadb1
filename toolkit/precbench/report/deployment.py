"""What `precbench deploy` and `precbench verify` print."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from precbench.report.figures import megabytes, percent
from precbench.report.tables import add_row, plain_table

_WORDS = {True: "ok", False: "FAILED", None: "-"}


def deployment_table(tried: Sequence[Mapping[str, Any]]) -> Table:
    """One row per form that was tried."""
    table = plain_table("form", "time", "95 %", "verdict", "may lose", "MB", "holds")
    for row in tried:
        if not row["made"]:
            add_row(table, row["form"], "-", "-", "not made", "-", "-", "-")
            continue
        first = row["time"][0] if row["time"] else None
        drop = row["drop_points"]
        add_row(
            table,
            row["form"],
            "-" if first is None or first["ratio"]["point"] is None else f"{first['ratio']['point']:.3f}",
            "-" if first is None else _interval(first["ratio"]),
            "-" if first is None else first["verdict"],
            "-" if drop is None else f"{drop:.2f}",
            megabytes(row["model_bytes"]),
            {True: "yes", False: "no", None: "-"}[row["within_max_drop"]],
        )
    return table


def _interval(ratio: Mapping[str, Any]) -> str:
    return "-" if ratio["low"] is None else f"[{ratio['low']:.3f}, {ratio['high']:.3f}]"


def about_deployment(record: Mapping[str, Any]) -> list[str]:
    """Say what was left, what it costs and gives."""
    manifest = record["manifest"]
    size = manifest["bytes"]
    said = [*_about_the_choice(record)]
    said.append(_about_accuracy(manifest))
    if manifest["time"] is not None:
        said += [_about_time(one, manifest["time"]) for one in manifest["time"]["ratios"]]
    said.append(
        f"Bytes: {megabytes(size['model'])} MB, {size['model'] / size['reference']:.3f} of the reference's "
        f"{megabytes(size['reference'])}; after zstd {megabytes(size['zstd_model'])} and "
        f"{megabytes(size['zstd_reference'])}."
    )
    kept = [tensor for tensor in manifest["tensors"] if tensor["kept"] is not None]
    if manifest["form"] == "packed" and kept:
        packed = len(manifest["tensors"]) - len(kept)
        said.append(f"{packed} tensors are packed, {len(kept)} stay as they are; the manifest says why.")
    said.append(f"Wrote {record['folder']}")
    return said


def _about_the_choice(record: Mapping[str, Any]) -> list[str]:
    manifest = record["manifest"]
    limit = manifest["max_drop_points"]
    if limit is None:
        return []
    if record["holds"] is None:
        return [f"Kept {manifest['form']}: without labelled data nothing is known of accuracy, and nothing is claimed."]
    if record["holds"]:
        return [f"Kept {manifest['form']}: the fastest that is shown to lose at most {limit:g} points."]
    return [f"No form is shown to lose at most {limit:g} points; {manifest['form']} comes nearest and was kept."]


def _about_accuracy(manifest: Mapping[str, Any]) -> str:
    accuracy = manifest["accuracy"]
    if accuracy is None or accuracy["flips"] is None:
        return "Accuracy: not measured."
    flips = accuracy["flips"]
    return (
        f"Accuracy on {accuracy['samples']:,} test samples: {percent(accuracy['accuracy']['fraction'])}, the reference "
        f"{percent(accuracy['reference_accuracy']['fraction'])}; {flips['gained']} gained, {flips['lost']} lost, "
        f"difference {flips['difference_points']:+.2f} points "
        f"[{flips['low_points']:+.2f}, {flips['high_points']:+.2f}]."
    )


def _about_time(one: Mapping[str, Any], time: Mapping[str, Any]) -> str:
    ratio = one["ratio"]
    if ratio["point"] is None:
        return f"Time at batch {one['batch']}: not measured."
    return (
        f"Time at batch {one['batch']} on {time['provider']}: {ratio['point']:.3f} {_interval(ratio)} of the "
        f"reference's, {one['verdict']}."
    )


def check_table(checks: Sequence[Mapping[str, Any]]) -> Table:
    """One row per check."""
    table = plain_table("check", "", "found", left=3)
    for check in checks:
        add_row(table, check["name"], _WORDS[check["passed"]], check["found"])
    return table


def about_verification(record: Mapping[str, Any]) -> list[str]:
    """Say whether it holds, and what to do where it does not."""
    failed = [check for check in record["checks"] if check["passed"] is False]
    if not failed:
        return [f"{record['folder']} ({record['form']}) holds here."]
    return [f"{check['name']}: {check['found']}. Try: {check['remedy']}." for check in failed]
