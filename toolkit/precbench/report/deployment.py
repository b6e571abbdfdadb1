"""What `precbench deploy` and `precbench verify` print."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from precbench.errors import printable
from precbench.report.figures import megabytes, percent
from precbench.report.tables import add_row, plain_table

_WORDS = {True: "ok", False: "FAILED", None: "-"}


def deployment_table(tried: Sequence[Mapping[str, Any]]) -> Table:
    """One row per form that was tried and batch size that it was timed at."""
    table = plain_table("form", "batch", "time", "95 %", "verdict", "may lose", "MB", "holds")
    for row in tried:
        if not row["made"]:
            add_row(table, row["form"], "-", "-", "-", "not made", "-", "-", "-")
            continue
        drop = "-" if row["drop_points"] is None else f"{row['drop_points']:.2f}"
        about = (drop, megabytes(row["model_bytes"]), {True: "yes", False: "no", None: "-"}[row["within_max_drop"]])
        times = [_time_cells(one) for one in row["time"] or ()] or [("-", "-", "-", "-")]
        for place, cells in enumerate(times):
            add_row(table, *((row["form"], *cells, *about) if place == 0 else ("", *cells, "", "", "")))
    return table


def _time_cells(one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    ratio = one["ratio"]
    point = "-" if ratio["point"] is None else f"{ratio['point']:.3f}"
    return str(one["batch"]), point, _interval(ratio), one["verdict"]


def _interval(ratio: Mapping[str, Any]) -> str:
    return "-" if ratio["low"] is None else f"[{ratio['low']:.3f}, {ratio['high']:.3f}]"


def about_deployment(record: Mapping[str, Any]) -> list[str]:
    """Say what was left, what it costs and gives."""
    manifest = record["manifest"]
    size = manifest["bytes"]
    said = [*_about_the_choice(record)]
    said.append(_about_accuracy(manifest))
    if manifest["form"] == "packed" and manifest["reference"]["digest"] == manifest["source"]["digest"]:
        said.append(
            "That is against the rounded model itself; give --reference MODEL to count what rounding cost, too."
        )
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
    manifest, holds = record["manifest"], record["holds"]
    limit, form = manifest["max_drop_points"], manifest["form"]
    if limit is None:
        return []
    if holds is None:
        why = manifest["accuracy_not_measured"]
        return [f"Kept {form}: nothing is known of accuracy ({why}), so no limit is checked and nothing is claimed."]
    own = next((row for row in manifest["tried"] if row["form"] == form), None)
    if own is None:  # the form was asked for
        words = "is shown to lose" if holds else "is not shown to lose"
        return [f"{form} {words} at most {limit:g} points on the validation part.", *_about_the_test(manifest, holds)]
    if holds:
        best = "the fastest" if own["time"] else "the smallest, since no time was measured,"
        said = f"Kept {form}: {best} of the forms that lose at most {limit:g} points on the validation part."
        slower = bool(own["time"]) and all(one["verdict"] == "slower" for one in own["time"])
        bytes_alone = " It is slower than the model as it is: what it saves is bytes." if slower else ""
        return [said + bytes_alone, *_about_the_test(manifest, holds)]
    if own["within_max_drop"]:
        return [f"No form within {limit:g} points is smaller or faster than the model as it is; {form} was kept."]
    return [
        f"No form is shown to lose at most {limit:g} points; {form} comes nearest and was kept.{_too_few(own, limit)}"
    ]


def _too_few(row: Mapping[str, Any], limit: float) -> str:
    validation = row["validation"]
    smallest = None if validation is None else validation["smallest_margin_points"]
    if smallest is None or smallest <= limit:
        return ""
    return f" {validation['samples']:,} samples show {smallest:.2g} points at best: give more, or a larger --max-drop."


def _about_the_test(manifest: Mapping[str, Any], holds: bool) -> list[str]:
    """Where the test part, which had no say, does not bear the choice out."""
    accuracy, limit = manifest["accuracy"], manifest["max_drop_points"]
    if not holds or manifest["form"] == "packed" or accuracy is None or accuracy["flips"] is None:
        return []
    loss = -accuracy["flips"]["low_points"]
    if loss <= limit:
        return []
    return [f"On the test part, which had no say in this, a loss of up to {loss:.2f} points is not excluded."]


def _about_accuracy(manifest: Mapping[str, Any]) -> str:
    accuracy = manifest["accuracy"]
    if accuracy is None or accuracy["flips"] is None:
        why = manifest["accuracy_not_measured"]
        return f"Accuracy: not measured{f' ({why})' if why else ''}."
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
    """Say whether it holds, and what to do where it does not; names are from a stranger's file."""
    failed = [check for check in record["checks"] if check["passed"] is False]
    if not failed:
        return [printable(f"{record['folder']} ({record['form']}) holds here.")]
    return [printable(f"{check['name']}: {check['found']}. Try: {check['remedy']}.") for check in failed]
