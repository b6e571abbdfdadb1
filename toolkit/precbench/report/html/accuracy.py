"""Accuracy and time against decimals, and against what a variant costs; groups and layers."""

from collections.abc import Mapping, Sequence
from typing import Any

from precbench.report.html import charts
from precbench.report.html.material import Experiment, RunMaterial
from precbench.report.html.view import Cell, Figure, Sheet, amount, plain

Row = Mapping[str, Any]
_LONGEST_LABEL = 20  # on a plot; a combination's name is longer, and in the table
_MOST_PARTS = 120  # more layers than that make no picture; the table has all


def decimals_figures(run: RunMaterial) -> list[Figure]:
    """Return accuracy, and the time ratio where it was measured, against decimals, all groups together."""
    shown = [one for one in run.experiments("all") if one.rows]
    return [figure for one in shown for figure in (_accuracy(run, one), *_time(run, one))]


def _accuracy(run: RunMaterial, one: Experiment) -> Figure:
    rows, name, title = one.rows, f"accuracy{one.suffix}", one.title[0].lower() + one.title[1:]
    full = 100 * run.results["base"]["accuracy"]["fraction"]
    points = [difference_of(row) for row in rows]
    published = run.results["study"]["published"]
    before, rounded = published["full"], published["rounded"] if published["full"] else []
    theirs = [{"decimals": p["decimals"], "point": 100 * (p["accuracy"] - before["accuracy"])} for p in rounded]
    return Figure(
        name=name,
        title=f"Accuracy less full precision's {full:.2f} %, against decimals, {title} ({_level(run)})",
        alt=f"Differences of {len(rows)} variants with paired intervals.",
        spec=charts.intervals_by_decimals(points, y="points", line=0.0, published=theirs, points=True),
        sheet=flips_sheet(run, one.title, rows, name=name),
    )


def difference_of(row: Row) -> dict[str, Any]:
    """Return decimals, and the difference from full precision with its interval, in percentage points."""
    keys = {"point": "difference_points", "low": "low_points", "high": "high_points"}
    return {"decimals": row["decimals"], **{to: row["flips"][key] for to, key in keys.items()}}


def ratio_of(row: Row) -> dict[str, Any] | None:
    """Return decimals, and the time ratio with its interval; None where there is no interval."""
    ratio = _ratio(row)
    return None if ratio is None else {"decimals": row["decimals"], **{k: ratio[k] for k in ("point", "low", "high")}}


def _level(run: RunMaterial) -> str:
    return f"{100 * run.results['level']:g} % intervals"


def _time(run: RunMaterial, one: Experiment) -> list[Figure]:
    rows, name = [row for row in one.rows if _ratio(row) is not None], f"time{one.suffix}"
    if not rows:
        return []
    ratios = [ratio for row in rows if (ratio := ratio_of(row)) is not None]
    published, control = run.results["study"]["published"], run.results["control"]
    full = published["full"]
    theirs = [
        {"decimals": p["decimals"], "point": p["time_s"] / full["time_s"]}
        for p in (published["rounded"] if full else [])
    ]
    band = None if control is None or control["low"] is None else (control["low"], control["high"])
    return [
        Figure(
            name=name,
            title=f"Time over full precision's, against decimals; below 1 is faster ({_level(run)})",
            alt=f"Time ratios of {len(rows)} variants with intervals, beside the base against itself.",
            spec=charts.intervals_by_decimals(ratios, y="time ratio", line=1.0, published=theirs, band=band),
            sheet=Sheet(
                name=name,
                title="Time over full precision's",
                columns=["variant", "verdict", "ratio", "low", "high", "could be called from, %"],
                rows=[_time_row(row) for row in rows],
                numbers=4,
            ),
        )
    ]


def _time_row(row: Row) -> list[Cell]:
    timing, ratio = row["timing"], row["timing"]["ratio"]
    tone = {"faster": "good", "slower": "bad"}.get(timing["verdict"], "")
    effect = timing["smallest_effect"]
    return [
        plain(row["name"]),
        Cell(text=timing["verdict"], tone=tone),
        *(amount(ratio[key], "{:.4f}") for key in ("point", "low", "high")),
        amount(None if effect is None else 100 * effect, "{:.2f}"),
    ]


def flips_sheet(run: RunMaterial, title: str, rows: Sequence[Row], *, name: str) -> Sheet:
    """Return a row per variant: accuracy, flips, the difference with its interval, what that shows."""
    level = f"{100 * run.results['level']:g} %"
    return Sheet(
        name=name,
        title=f"{title}: against full precision on {run.results['base']['accuracy']['total']:,} test images",
        columns=[
            *("variant", "what it shows", "accuracy, %", "gained", "lost", "class changed"),
            *("difference, points", f"low ({level})", f"high ({level})", "zstd bytes"),
        ],
        rows=[_flips_row(row) for row in rows],
        numbers=8,
    )


def _flips_row(row: Row) -> list[Cell]:
    flips, word = row["flips"], row["decision"]["change"]
    tone = "good" if row["decision"]["within_margin"] else "bad" if word.startswith("loss") else ""
    return [
        plain(row["name"]),
        Cell(text=word, tone=tone),
        amount(_percent(row), "{:.2f}"),
        *(amount(flips[key]) for key in ("gained", "lost", "changed")),
        *(amount(flips[key], "{:+.2f}") for key in ("difference_points", "low_points", "high_points")),
        amount(None if row["file"] is None else row["file"]["zstd_bytes"]),
    ]


def tradeoff_figures(run: RunMaterial, deployed: Sequence[Mapping[str, Any]] = ()) -> list[Figure]:
    """Return accuracy against compressed bytes and against time, with the Pareto front marked."""
    base = run.results["base"]
    rows = [row for one in run.results["experiments"] for row in one["rows"] if row["flips"] is not None]
    full = 100 * base["accuracy"]["fraction"]
    files = {row["file"]["file"]: row for row in reversed(rows) if row["file"] is not None}  # a shared plan counts once
    sized = {_file_name(file): (row["file"]["zstd_bytes"] / 1e6, _percent(row)) for file, row in files.items()}
    ratios = {_file_name(file): _ratio(row) for file, row in files.items()}
    timed = {name: (r["point"], sized[name][1]) for name, r in ratios.items() if r is not None}
    if base["zstd_bytes"]:
        sized["full precision"] = (base["zstd_bytes"] / 1e6, full)
    if timed:
        timed["full precision"] = (1.0, full)
    for manifest in deployed:
        accuracy, name = manifest["accuracy"], f"{manifest['form']} (deployed)"
        if accuracy is not None and accuracy["flips"] is not None:
            percent = full + accuracy["flips"]["difference_points"]
            sized[name] = (manifest["bytes"]["zstd_model"] / 1e6, percent)
            ratio = alike_ratio(run, manifest)
            if ratio is not None:
                timed[name] = (ratio, percent)
    return [
        *_tradeoff("bytes", "Accuracy against bytes", "file after zstd, MB", sized, full),
        *_tradeoff("time-accuracy", "Accuracy against time", "time over full precision's", timed, full),
    ]


def alike_ratio(run: RunMaterial, manifest: Mapping[str, Any]) -> float | None:
    """Return the time ratio of a deployed form that was measured as the study's are: batch, provider, threads."""
    timing, time = run.results["timing"], manifest["time"]
    if timing is None or not time:
        return None
    keys = ("provider", "intra_op_threads")
    if any(timing["session"].get(key) != time.get(key) for key in keys):
        return None
    batch = run.results["study"]["timing"]["batch_size"]
    points = [one["ratio"]["point"] for one in time["ratios"] if one["batch"] == batch]
    return points[0] if points else None


def _tradeoff(name: str, title: str, x: str, found: Mapping[str, tuple[float, float]], full: float) -> list[Figure]:
    if len(found) < 2:
        return []
    front = pareto_front(found)
    rows = [
        {
            "name": model,
            "label": model if len(model) <= _LONGEST_LABEL else "",
            "cost": cost,
            "accuracy": right,
            "points": right - full,
            "front": model in front,
        }
        for model, (cost, right) in found.items()
    ]
    return [
        Figure(
            name=name,
            title=f"{title}, with the Pareto front by point estimates",
            alt=f"{len(rows)} models by {x} and accuracy; on the front: {', '.join(front)}.",
            spec=charts.tradeoff(rows, x=x),
            sheet=Sheet(
                name=name,
                title=title,
                columns=["model", "on the front", x, "accuracy, %"],
                rows=[_tradeoff_row(row) for row in rows],
                numbers=2,
            ),
        )
    ]


def _file_name(file: str) -> str:
    return file.removeprefix("variants/").removesuffix(".onnx")


def _tradeoff_row(row: Row) -> list[Cell]:
    on_the_front = plain("yes" if row["front"] else "no")
    return [plain(row["name"]), on_the_front, amount(row["cost"], "{:.4g}"), amount(row["accuracy"], "{:.2f}")]


def pareto_front(found: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the names of those that none beats: no other costs at most as much and is at least as right, one strictly.

    Args:
        found: name to cost and accuracy.
    """

    def beaten(name: str) -> bool:
        cost, right = found[name]
        return any(
            c <= cost and r >= right and (c < cost or r > right) for other, (c, r) in found.items() if other != name
        )

    return sorted((name for name in found if not beaten(name)), key=lambda name: found[name])


def part_figures(run: RunMaterial) -> list[Figure]:
    """Return heat maps of groups and of layers: change of accuracy against decimals."""
    kinds = (("each-group", "groups"), ("each-layer", "layers"))
    return [_parts(run, one, kind) for targets, kind in kinds for one in run.experiments(targets) if one.rows]


def _parts(run: RunMaterial, one: Experiment, kind: str) -> Figure:
    cells = [_part_cell(row) for row in one.rows]
    every = list(dict.fromkeys(cell["part"] for cell in cells))
    worst = sorted(every, key=lambda part: min(c["points"] for c in cells if c["part"] == part))[:_MOST_PARTS]
    parts = [part for part in every if part in set(worst)]
    which = "" if len(parts) == len(every) else f" of the {len(parts)} that lose most of {len(every)}"
    name = f"{kind}{one.suffix}"
    return Figure(
        name=name,
        title=f"{one.title}: change of accuracy in points{which}; =: no image changes its class",
        alt=f"A heat map of {len(parts)} {kind} by decimals; the table has the numbers.",
        spec=charts.heat_map([cell for cell in cells if cell["part"] in set(parts)], parts=parts),
        sheet=flips_sheet(run, one.title, one.rows, name=name),
    )


def _part_cell(row: Row) -> dict[str, Any]:
    flips = row["flips"]
    return {
        "part": next(iter(row["parts"])),
        "decimals": row["decimals"],
        "points": flips["difference_points"],
        "changed": flips["changed"],
        "label": f"{flips['difference_points']:+.2f}" if flips["changed"] else "=",
    }


def _percent(row: Row) -> float:
    return float(100 * row["flips"]["variant_correct"] / row["flips"]["total"])


def _ratio(row: Row) -> Mapping[str, Any] | None:
    timing = row["timing"]
    return None if timing is None or timing["ratio"]["low"] is None else dict(timing["ratio"])
