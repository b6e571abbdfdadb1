"""The plots, in Vega-Lite by way of Altair. Each function takes numbers that are there and draws them."""

from collections.abc import Sequence
from typing import Any

import altair as alt

Rows = Sequence[dict[str, Any]]

BLUE, ORANGE, GREY, RED = "#3b82c4", "#d97706", "#8b949e", "#c2410c"
_HEIGHT = 260
_OURS, _FULL, _CONTROL = "rounded", "full precision", "the base against itself"
_PUBLISHED = "published"
_COLOURS = {_OURS: BLUE, _FULL: GREY, _CONTROL: GREY, _PUBLISHED: ORANGE}
_MEASURED = frozenset({"point", "low", "high", "points", "cost", "left", "right", "share", "ms", "ratio"})
_POINTS_SCALE = alt.Scale(type="symlog", constant=0.5)
_POINTS_TICKS = [-90, -50, -20, -10, -5, -2, -1, -0.5, 0, 0.5, 1, 2, 5, 10]


def intervals_by_decimals(
    rows: Rows,
    *,
    y: str,
    line: float,
    published: Rows = (),
    band: tuple[float, float] | None = None,
    points: bool = False,
) -> dict[str, Any]:
    """Points with intervals against the number of decimals, full precision's level, a band, and published points.

    Args:
        rows: `decimals`, `point`, and `low` and `high` where there is an interval.
        y: title of the axis, with its unit.
        line: the level of full precision.
        published: `decimals`, `point`.
        band: low and high of the base against itself.
        points: whether these are differences in percentage points: then a tenth and ninety are both to be seen.
    """
    x = alt.X("decimals:O", title="decimals", axis=alt.Axis(labelAngle=0))
    scale = _POINTS_SCALE if points else alt.Scale(zero=False)
    axis = alt.Axis(values=_POINTS_TICKS, labelExpr="'' + datum.value") if points else alt.Axis()
    kinds = [_OURS, _FULL, *([_CONTROL] if band is not None else []), *([_PUBLISHED] if published else [])]
    colour = alt.Color(
        "what:N",
        title=None,
        scale=alt.Scale(domain=kinds, range=[_COLOURS[kind] for kind in kinds]),
        legend=alt.Legend(orient="bottom", labelLimit=320, symbolOpacity=1),
    )
    layers: list[alt.Chart] = []
    if band is not None:
        extent = alt.Chart(_values([{"low": band[0], "high": band[1], "what": _CONTROL}]))
        layers.append(extent.mark_rect(opacity=0.25).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q", color=colour))
    level = alt.Chart(_values([{"level": line, "what": _FULL}]))
    layers.append(level.mark_rule(strokeDash=[5, 3], strokeWidth=1.5).encode(y="level:Q", color=colour))
    ours = alt.Chart(_values([{**row, "what": _OURS} for row in rows])).encode(x=x, color=colour)
    up = alt.Y("low:Q", title=y, scale=scale, axis=axis)
    layers.append(ours.mark_rule(strokeWidth=2).encode(y=up, y2="high:Q"))
    told = _told("decimals", "point", "low", "high")
    layers.append(
        ours.mark_point(filled=True, size=55, opacity=1).encode(y=alt.Y("point:Q", scale=scale), tooltip=told)
    )
    if published:
        theirs = alt.Chart(_values([{**row, "what": _PUBLISHED} for row in published])).encode(x=x, color=colour)
        mark = theirs.mark_point(shape="square", filled=True, size=70)
        layers.append(mark.encode(y="point:Q", tooltip=_told("decimals", "point")))
    return _spec(alt.layer(*layers))


def tradeoff(rows: Rows, *, x: str) -> dict[str, Any]:
    """Accuracy against what it costs; the points that none beats in both are marked and joined.

    Args:
        rows: `name`, `label` (may be empty), `cost`, `points` (accuracy less full precision's), `front` (whether none
            beats it).
        x: title of the axis, with its unit.
    """
    axis = alt.X("cost:Q", title=x, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=8))
    ticks = alt.Axis(values=_POINTS_TICKS, labelExpr="'' + datum.value")
    up = alt.Y("points:Q", title="accuracy less full precision's, points", scale=_POINTS_SCALE, axis=ticks)
    every = alt.Chart(_values(rows))
    front = every.transform_filter("datum.front")
    points = every.mark_point(filled=True, size=60).encode(
        x=axis,
        y=up,
        color=alt.Color(
            "front:N",
            scale=alt.Scale(domain=[True, False], range=[BLUE, GREY]),
            legend=alt.Legend(title=None, labelExpr="datum.value ? 'on the Pareto front' : 'not on it'"),
        ),
        tooltip=_told("name", "cost", "points"),
    )
    names = front.mark_text(align="left", dx=7, dy=-6).encode(x=axis, y=up, text="label:N")
    return _spec(alt.layer(front.mark_line(color=BLUE, opacity=0.5).encode(x=axis, y=up), points, names))


def heat_map(rows: Rows, *, parts: Sequence[str]) -> dict[str, Any]:
    """Change of accuracy by part and decimals, with the number of images that changed class in each cell.

    Args:
        rows: `part`, `decimals`, `points` (percentage points; None: not evaluated), `changed` (images).
        parts: in the network's order.
    """
    largest = max((abs(row["points"]) for row in rows if row["points"] is not None), default=0.0) or 1.0
    base = alt.Chart(_values(rows)).encode(
        x=alt.X("decimals:O", title="decimals", axis=alt.Axis(labelAngle=0, orient="top")),
        y=alt.Y("part:N", title=None, sort=list(parts), axis=alt.Axis(labelLimit=220)),
    )
    cells = base.mark_rect().encode(
        color=alt.Color(
            "points:Q",
            title="points",
            scale=alt.Scale(type="symlog", constant=0.1, domain=[-largest, largest], domainMid=0, scheme="redblue"),
        ),
        tooltip=_told("part", "decimals", "points", "changed"),
    )
    dark = f"abs(datum.points) > {0.2 * largest}"  # of the colours' ends, on which light text is read
    numbers = base.mark_text(fontSize=10).encode(
        text=alt.Text("label:N"), color=alt.when(dark).then(alt.value("#ffffff")).otherwise(alt.value("#1b1f24"))
    )
    return _spec(alt.layer(cells, numbers), height=max(120, 17 * len(parts)))


def network_strip(rows: Rows) -> dict[str, Any]:
    """The network's layers in order, as tall as their weights are many; those that are rounded are marked.

    Args:
        rows: `place` (from 1), `layer`, `weights`, `role` (its group, or "not rounded").
    """
    roles = list(dict.fromkeys(row["role"] for row in rows))
    colours = [BLUE, ORANGE, "#2f9e6e", "#8b5cf6", RED, "#0e7490", "#a16207"]
    named = [role for role in roles if role != "not rounded"]
    scale = alt.Scale(
        domain=[*named, "not rounded"], range=[*(colours[i % len(colours)] for i in range(len(named))), GREY]
    )
    bars = (
        alt.Chart(_values(rows))
        .mark_bar()
        .encode(
            x=alt.X("place:O", title="layers, from input to output", axis=alt.Axis(labels=False, ticks=False)),
            y=alt.Y("weights:Q", title="weights", scale=alt.Scale(type="symlog", constant=100)),
            color=alt.Color("role:N", title=None, scale=scale),
            tooltip=_told("place", "layer", "weights", "role"),
        )
    )
    return _spec(bars, height=140)


def histograms(rows: Rows, grids: Rows, *, groups: Sequence[str]) -> dict[str, Any]:
    """Histogram of a group's weights, with the points of its coarsest grids; the group is chosen on the plot.

    Args:
        rows: `group`, `left`, `right` (of the bin), `share` (of the group's weights).
        grids: `group`, `at`, `grid` (such as "1 decimal").
        groups: to choose from.
    """
    chosen = alt.selection_point(
        fields=["group"], bind=alt.binding_select(options=list(groups), name="group "), value=groups[0], name="chosen"
    )
    bars = (
        alt.Chart(_values(rows))
        .mark_bar(color=BLUE)
        .encode(
            x=alt.X("left:Q", title="weight, full precision", bin="binned"),
            x2="right:Q",
            y=alt.Y("share:Q", title="share of the group's weights", axis=alt.Axis(format="%")),
            tooltip=_told("group", "left", "right", "share"),
        )
        .add_params(chosen)
        .transform_filter(chosen)
    )
    lines = (
        alt.Chart(_values(grids))
        .mark_rule(opacity=0.55)
        .encode(
            x=alt.X("at:Q"),
            color=alt.Color("grid:N", title="grid points", scale=alt.Scale(range=[ORANGE, GREY])),
        )
        .transform_filter(chosen)
    )
    return _spec(alt.layer(bars, lines))


def samples_in_order(rows: Rows) -> dict[str, Any]:
    """Block medians in the order in which they were measured, base, control and variants.

    Args:
        rows: `block` (from 1, over all processes), `process`, `arm`, `ms` (median of the block's calls).
    """
    starts = [{"block": block} for block in _firsts(rows)]
    points = (
        alt.Chart(_values(rows))
        .mark_point(size=18, filled=True, opacity=0.7)
        .encode(
            x=alt.X("block:Q", title="block, in the order measured; lines: a new process"),
            y=alt.Y("ms:Q", title="ms per call, median of the block", scale=alt.Scale(zero=False)),
            color=alt.Color("arm:N", title=None),
            shape=alt.Shape("arm:N", title=None),
            tooltip=_told("block", "process", "arm", "ms"),
        )
    )
    lines = alt.Chart(_values(starts)).mark_rule(color=GREY, opacity=0.35).encode(x="block:Q")
    return _spec(alt.layer(lines, points))


def ratios_by_process(rows: Rows) -> dict[str, Any]:
    """Each process's ratio of a variant over the base, beside the control's: how much processes differ.

    Args:
        rows: `process`, `arm`, `ratio`.
    """
    points = (
        alt.Chart(_values(rows))
        .mark_point(filled=True, opacity=0.7)
        .encode(
            x=alt.X(
                "ratio:Q",
                title="time over the base's, per process",
                scale=alt.Scale(zero=False),
                axis=alt.Axis(tickCount=8),
            ),
            y=alt.Y("arm:N", title=None),
            color=alt.Color("arm:N", legend=None),
            tooltip=_told("arm", "process", "ratio"),
        )
    )
    one = alt.Chart(_values([{"one": 1}])).mark_rule(color=GREY, strokeDash=[5, 3]).encode(x="one:Q")
    return _spec(alt.layer(one, points), height=24 * (1 + len({row["arm"] for row in rows})))


def several_runs(rows: Rows, *, y: str, points: bool = False) -> dict[str, Any]:
    """Points with intervals against decimals, a colour and a shape per run.

    Args:
        rows: `run`, `decimals`, `point`, `low`, `high`.
        y: title of the axis, with its unit.
        points: whether these are differences in percentage points.
    """
    scale = _POINTS_SCALE if points else alt.Scale(zero=False)
    axis = alt.Axis(values=_POINTS_TICKS, labelExpr="'' + datum.value") if points else alt.Axis()
    order = list(dict.fromkeys(row["run"] for row in rows))
    base = alt.Chart(_values(rows)).encode(
        x=alt.X("decimals:O", title="decimals", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("run:N", sort=order),
        color=alt.Color("run:N", title=None, sort=order),
    )
    bars = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", title=y, scale=scale, axis=axis), y2="high:Q")
    dots = base.mark_point(filled=True, size=55, opacity=1).encode(
        y="point:Q",
        shape=alt.Shape("run:N", legend=None, sort=order),
        tooltip=_told("run", "decimals", "point", "low", "high"),
    )
    return _spec(alt.layer(bars, dots))


def training_curve(rows: Rows, *, y: str) -> dict[str, Any]:
    """A curve by epoch, of training and validation.

    Args:
        rows: `epoch`, `part` ("train" or "validation"), `value`.
        y: title of the axis, with its unit.
    """
    lines = (
        alt.Chart(_values(rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("value:Q", title=y, scale=alt.Scale(zero=False)),
            color=alt.Color("part:N", title=None, scale=alt.Scale(range=[BLUE, ORANGE])),
        )
    )
    return _spec(lines)


def _told(*fields: str) -> list[alt.Tooltip]:
    return [_measured(field) if field in _MEASURED else alt.Tooltip(field, type="nominal") for field in fields]


def _measured(field: str) -> alt.Tooltip:
    return alt.Tooltip(field, type="quantitative", format=".4~g")


def _firsts(rows: Rows) -> list[float]:
    """The first block of each process but the first."""
    first: dict[Any, float] = {}
    for row in rows:
        first[row["process"]] = min(first.get(row["process"], row["block"]), row["block"])
    return sorted(value - 0.5 for value in first.values())[1:]


def _values(rows: Rows) -> alt.InlineData:
    return alt.InlineData(values=list(rows))


def _spec(chart: Any, *, height: int = _HEIGHT) -> dict[str, Any]:
    made = chart.properties(width="container", height=height, background="transparent").configure_view(stroke=None)
    spec: dict[str, Any] = made.configure_legend(orient="bottom", labelLimit=320).to_dict()
    return spec
