"""Static figures, by matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from precbench.errors import MissingDependencyError
from precbench.files import write_atomically


def figure(*, columns: int, size_inches: tuple[float, float]) -> tuple[Any, Sequence[Any]]:
    """Return a matplotlib figure with so many axes beside each other, without a window.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "figures need matplotlib, which is not installed", "pip install 'precbench[keras]'"
        ) from error
    drawing = Figure(figsize=size_inches, layout="constrained")
    axes = [drawing.add_subplot(1, columns, number + 1) for number in range(columns)]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(alpha=0.3)
    return drawing, axes


def save_figure(drawing: Any, path: Path) -> None:
    """Write a figure in the format of the path's suffix; the same figure gives the same bytes."""
    from matplotlib import rc_context

    dates = {"png": {"Software": None}, "svg": {"Date": None}}
    with rc_context({"svg.hashsalt": "precbench"}):  # else its ids are random
        drawing.savefig(path, dpi=150, metadata=dates.get(path.suffix.removeprefix(".")))


def write_decimals_figure(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw accuracy and time ratio against decimals, all groups together, as `accuracy-and-time.png` and `.svg`.

    With 95 % intervals, the control's band, and the published points beside them (the paper's Figure 3).

    Returns:
        The files; none where no such experiment has a point.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    rows = [r for e in results["experiments"] if e["targets"] == "all" for r in e["rows"] if r["flips"] is not None]
    if not rows:
        return []
    drawing, (accuracy, time) = figure(columns=2, size_inches=(9.0, 3.8))
    _draw_accuracy(accuracy, results, rows)
    _draw_time(time, results, [row for row in rows if row["timing"] is not None])
    files = [folder / f"accuracy-and-time.{suffix}" for suffix in ("png", "svg")]
    for path in files:
        write_atomically(path, lambda temporary: save_figure(drawing, temporary))
    return files


def _draw_accuracy(axes: Any, results: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    full = 100 * results["base"]["accuracy"]["fraction"]
    points = [100 * row["flips"]["variant_correct"] / row["flips"]["total"] for row in rows]
    below = [row["flips"]["difference_points"] - row["flips"]["low_points"] for row in rows]
    above = [row["flips"]["high_points"] - row["flips"]["difference_points"] for row in rows]
    decimals = [row["decimals"] for row in rows]
    axes.axhline(full, color="black", linewidth=0.8, label="full precision")
    axes.errorbar(decimals, points, yerr=[below, above], fmt="o", capsize=3, label="rounded; paired interval")
    published = results["study"]["published"]
    if published["full"]:
        axes.axhline(100 * published["full"]["accuracy"], color="tab:red", linewidth=0.8, linestyle=":")
        axes.plot(
            [p["decimals"] for p in published["rounded"]],
            [100 * p["accuracy"] for p in published["rounded"]],
            "s",
            color="tab:red",
            label="published",
        )
    axes.set(xlabel="decimals, all groups", ylabel="accuracy in %")
    axes.legend(frameon=False, loc="lower right")


def _draw_time(axes: Any, results: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    axes.axhline(1, color="black", linewidth=0.8)
    control = results["control"]
    if control is not None and control["low"] is not None:
        axes.axhspan(control["low"], control["high"], color="grey", alpha=0.25, label="base against itself")
    measured = [row for row in rows if row["timing"]["ratio"]["low"] is not None]
    ratios = [row["timing"]["ratio"] for row in measured]
    if ratios:
        axes.errorbar(
            [row["decimals"] for row in measured],
            [ratio["point"] for ratio in ratios],
            yerr=[[r["point"] - r["low"] for r in ratios], [r["high"] - r["point"] for r in ratios]],
            fmt="o",
            capsize=3,
            label="rounded",
        )
    published = results["study"]["published"]
    if published["full"]:
        axes.plot(
            [p["decimals"] for p in published["rounded"]],
            [p["time_s"] / published["full"]["time_s"] for p in published["rounded"]],
            "s",
            color="tab:red",
            label="published",
        )
    axes.set(xlabel="decimals, all groups", ylabel="time over full precision's")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
