"""What a study found: one table, and the answer in plain sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from precbench.report.figures import count, interval, megabytes
from precbench.report.tables import add_row


def study_table(results: Mapping[str, Any]) -> Table:
    """One row per model: decimals, accuracy, flips, time ratio, bytes, and what its targeted weights hold."""
    table = Table(padding=(0, 1), collapse_padding=True, pad_edge=False, box=None, header_style="bold")
    for header in ("N", "acc. %", "+", "-", "time ratio [95 %]", "verdict", "zstd MB", "distinct", "zeros"):
        table.add_column(header, justify="right", no_wrap=True)
    base, *variants = results["models"]
    add_row(table, *_row(base))
    add_row(table, "A/A", "", "", "", interval(results["control"]), "A/A")
    for variant in variants:
        add_row(table, *_row(variant))
    return table


def _row(model: Mapping[str, Any]) -> list[str]:
    flips, timing, targets = model["flips"], model["timing"], model["targets"]
    return [
        "full" if model["decimals"] is None else str(model["decimals"]),
        f"{100 * model['accuracy']['fraction']:.2f}",
        "" if flips is None else count(flips["gained"]),
        "" if flips is None else count(flips["lost"]),
        "1 (base)" if timing is None else interval(timing["ratio"]),
        "" if timing is None else timing["verdict"],
        megabytes(model["zstd_bytes"]),
        count(targets["distinct"]),
        count(targets["zeros"]),
    ]


def study_sentences(results: Mapping[str, Any]) -> list[str]:
    """Say what the table says: accuracy first, then time, then bytes, each with its evidence."""
    base, *variants = results["models"]
    return [
        _about_the_table(results, base),
        _about_accuracy(variants, base["accuracy"]["total"]),
        _about_time(variants, results["control"], results["timing"]),
        _about_bytes(base, variants),
    ]


def _about_the_table(results: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    return (
        f"{base['accuracy']['total']} test images; + and -: images that only the variant, only the base has right. "
        f"Distinct, zeros: of the {base['targets']['elements']:,} targeted weights{_about_subnormals(results)}. "
        f"A/A: the base against a second session of itself. zstd at level {results['zstd_level']}."
    )


def _about_accuracy(variants: Sequence[Mapping[str, Any]], images: int) -> str:
    steady = _fewest_steady(variants)
    if steady is None:
        return "Accuracy: at every number of decimals tried, some test image changes its class."
    flips = steady["flips"]
    return (
        f"Accuracy: from {steady['decimals']} decimals on, none of the {images} test images changes its class; "
        f"so few images cannot exclude a loss of up to {-flips['low_points']:.1f} points (95 %)."
    )


def _fewest_steady(variants: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the variant of the fewest decimals from which on no image changes its class."""
    steady = None
    for variant in sorted(variants, key=lambda v: -v["decimals"]):
        if variant["flips"]["changed"]:
            break
        steady = variant
    return steady


def _about_subnormals(results: Mapping[str, Any]) -> str:
    most = max(results["models"], key=lambda model: model["targets"]["subnormals"])
    counted = most["targets"]["subnormals"]
    return f"; subnormal are at most {counted:,} ({most['name']})" if counted else ", none of them subnormal"


def _about_time(variants: Sequence[Mapping[str, Any]], control: Mapping[str, Any], timing: Mapping[str, Any]) -> str:
    session, margin = timing["session"], timing["settings"]["margin"]
    points = [variant["timing"]["ratio"]["point"] for variant in variants]
    smallest = [v["timing"]["smallest_effect"] for v in variants if v["timing"]["smallest_effect"] is not None]
    able = f"; effects from {100 * max(smallest):.1f} % could have been called" if smallest else ""
    return (
        f"Time on {session['provider']}, {session['intra_op_threads']} thread(s): ratios from {min(points):.3f} to "
        f"{max(points):.3f}, the base against itself {interval(control)}. {_verdicts(variants)} "
        f"(margin {100 * margin:g} %, corrected for {len(variants)} variants{able})."
    )


def _verdicts(variants: Sequence[Mapping[str, Any]]) -> str:
    by_word: dict[str, list[str]] = {}
    for variant in variants:
        by_word.setdefault(variant["timing"]["verdict"], []).append(str(variant["decimals"]))
    text = "; ".join(
        f"{word} than full precision: N = {', '.join(n)}"
        if word in ("faster", "slower")
        else f"{word}{' to full precision' if word == 'equivalent' else ''}: N = {', '.join(n)}"
        for word, n in by_word.items()
    )
    return text[:1].upper() + text[1:]


def _about_bytes(base: Mapping[str, Any], variants: Sequence[Mapping[str, Any]]) -> str:
    chosen = _fewest_steady(variants) or max(variants, key=lambda v: v["decimals"])
    return (
        f"Bytes: the file keeps its size ({megabytes(base['file_bytes'])} MB), since rounded float32 is still float32; "
        f"compressed (zstd) it takes {megabytes(chosen['zstd_bytes'])} MB at {chosen['decimals']} decimals, "
        f"{megabytes(base['zstd_bytes'])} MB before."
    )
