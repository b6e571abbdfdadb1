"""What a search found, in tables and sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from precbench.report.figures import counted, percent, points
from precbench.report.tables import add_row, grid_name, plain_table


def plan_table(plan: Mapping[str, str]) -> Table:
    """One row per grid: how many initializers sit on it, and which."""
    by_grid: dict[str, list[str]] = {}
    for name, grid in plan.items():
        by_grid.setdefault(grid, []).append(name)
    table = plain_table("grid", "initializers", "which")
    for grid, names in sorted(by_grid.items()):
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        add_row(table, grid_name(grid), str(len(names)), shown)
    return table


def sizes_table(sizes: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row per form of the model: kB after zstd, as float32 and packed."""
    table = plain_table("model", "kB after zstd", "kB packed, after zstd")
    for name, found in sizes.items():
        packed = found["packed_zstd_bytes"]
        add_row(table, name, f"{found['zstd_bytes'] / 1e3:,.1f}", "-" if packed is None else f"{packed / 1e3:,.1f}")
    return table


def about_search(record: Mapping[str, Any]) -> list[str]:
    """Say what the plan is worth, what it took, and what many looks at the same images did to that."""
    validation, test, many = record["validation"], record["test"], record["validation_many_looks"]
    limit = counted(record["max_drop_points"], "point")
    nearest = f"No plan is shown to lose at most {limit}; the nearest was left."
    said = [_about_saving(record) if record["holds"] else nearest]
    said.append(
        f"Validation, {validation['total']:,} images, which chose it: {points(validation)}. "
        f"{counted(record['looks'], 'plan')} looked at them, along {counted(many['paths'], 'path')}, so that interval "
        f"flatters: the loss that is excluded is {many['shown_margin_points_by_paths']:.2f} points if each path counts "
        f"as a look, {many['shown_margin_points_by_looks']:.2f} if each plan does (Bonferroni)."
    )
    is_within = test["shown_margin_points"] <= record["max_drop_points"]
    within = f"a loss of more than {limit} is {'excluded' if is_within else 'not excluded'} there"
    before, after = (test[key] / test["total"] for key in ("reference_correct", "variant_correct"))
    looked = "looked at once" if record["test_looks"] == 1 else f"which have now seen {record['test_looks']} plans"
    said.append(
        f"Test, {test['total']:,} images, {looked}: {percent(after)} right, full precision {percent(before)}; "
        f"{points(test)}; {within}."
    )
    if record["other_weights"]:
        said.append(f"{counted(record['other_weights'], 'other weight tensor')}: no target, as before.")
    said.append(
        f"{record['evaluations']:,} image evaluations in {counted(record['rounds'], 'round')}: {record['stopped']}."
    )
    said.append(f"Wrote {record['output']}; {record['journal']} holds what was evaluated.")
    return said


def _about_saving(record: Mapping[str, Any]) -> str:
    sizes, uniform = record["sizes"], record["uniform"]
    if uniform is None or "best uniform" not in sizes:
        return "No one grid for all layers is within the limit; this plan is."
    mine, theirs = (_smallest(sizes[name]) for name in ("plan", "best uniform"))
    own, one = record["estimated"], uniform["estimated"]
    unit = "compressed bytes" if record["objective"] == "bytes" else "bits"
    return (
        f"{100 * (1 - own / one):.1f} % fewer {unit} in the rounded weights than on the best one grid for all that was "
        f"found, {grid_name(uniform['grid'])}; of the whole file, packed where it can be and compressed, "
        f"{100 * (1 - mine / theirs):.1f} % fewer: {mine / 1e3:,.1f} kB for {theirs / 1e3:,.1f}."
    )


def _smallest(found: Mapping[str, Any]) -> int:
    return int(min(size for size in found.values() if size is not None))


def sensitivity_table(layers: Sequence[Sequence[Mapping[str, Any]]]) -> Table:
    """One row per layer, the most fragile first: at the first grid what it does, at all the SQNR of the logits."""
    grids = [grid_name(each["grid"]) for each in layers[0]]
    table = plain_table("layer", "images", "divergence", "changed", "+", "-", *(f"dB, {grid}" for grid in grids))
    for damages in layers:
        first = damages[0]
        add_row(
            table,
            first["layer"],
            f"{first['images']:,}",
            f"{first['divergence']:.3g}",
            f"{first['changed']:,}",
            *("-" if first[key] is None else str(first[key]) for key in ("gained", "lost")),
            *("=" if each["sqnr_db"] is None else f"{each['sqnr_db']:.1f}" for each in damages),
        )
    return table


def about_sensitivity(record: Mapping[str, Any]) -> list[str]:
    """Say what the columns are, and how far the order is told."""
    layers, settled = record["layers"], record["settled"]
    first = grid_name(layers[0][0]["grid"])
    whole = sum(len(damages) for damages in layers) * record["data"].get("samples", 0)
    told = min(settled, record["top"])
    more = "" if told >= min(record["top"], len(layers)) else "; with more images more would be, if they differ"
    took = f", in place of {whole:,}" if whole > record["evaluations"] else ""
    return [
        f"Each layer rounded alone to {first}: divergence of the class probabilities in nats, images that change their "
        f"class, right answers gained (+) and lost (-); dB: SQNR of the logits.",
        f"The order of the first {told} is told by the images (two standard errors, paired){more}. "
        f"{record['evaluations']:,} image evaluations{took}.",
    ]


def grids_table(grids: Sequence[Mapping[str, Any]]) -> Table:
    """One row per grid."""
    table = plain_table("grid", "bits", "entropy", "zstd MB", "SQNR dB", "points", "95 %", "+", "-")
    for one in grids:
        flips, bits = one["flips"], one["bits"]
        accuracy = ["NaN", "", "", ""]
        if flips is not None:
            ends = f"[{flips['low_points']:+.2f}, {flips['high_points']:+.2f}]"
            accuracy = [f"{flips['difference_points']:+.2f}", ends, str(flips["gained"]), str(flips["lost"])]
        add_row(
            table,
            one["grid"],
            "-" if bits is None else f"{bits:.1f}",
            f"{one['entropy_bits']:.2f}",
            f"{one['zstd_bytes'] / 1e6:.3f}",
            "=" if one["sqnr_db"] is None else f"{one['sqnr_db']:.1f}",
            *accuracy,
        )
    return table


def about_grids(record: Mapping[str, Any]) -> str:
    """Say what the columns are."""
    total = next((one["flips"]["total"] for one in record["grids"] if one["flips"] is not None), 0)
    return (
        f"All target weights rounded to one grid, {total:,} images. bits: of a stored code, all of a tensor alike, per "
        f"weight; entropy: of the codes, bits per weight; zstd MB: the codes compressed, without the steps that some "
        f"grids keep beside them; points: accuracy less full precision's, paired; + and -: images that only the "
        f"rounded model, only full precision has right. {len(record['grids'])} grids were judged by the same images, "
        f"so the best of them looks better than it is."
    )
