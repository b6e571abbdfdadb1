"""The network in figures: its layers in order, and its groups' weights with the grid."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from precbench.graph import OnnxModel, Role, list_initializers
from precbench.graph.targets import default_targets
from precbench.report.html import charts
from precbench.report.html.view import Cell, Figure, Sheet, amount, plain

_BINS = 80
_CUT = 0.999  # share of the weights that the histogram's range holds: a few far ones would flatten it
_MOST_LINES = 60


def network_figures(model: OnnxModel) -> list[Figure]:
    """Return the strip of layers (the paper's figure 2) and the histograms of the weights that are rounded."""
    return [_strip(model), *_histograms(model)]


def _strip(model: OnnxModel) -> Figure:
    initializers = list_initializers(model)
    targets = set(default_targets(initializers))
    rows: list[dict[str, Any]] = []
    for one in initializers:
        if one.role is Role.WEIGHT:
            role = (one.group or "rounded") if one.name in targets else "not rounded"
            rows.append({"place": len(rows) + 1, "layer": one.layer, "weights": one.elements, "role": role})
    rounded = sum(1 for row in rows if row["role"] != "not rounded")
    return Figure(
        name="network",
        title=f"The network's {len(rows)} layers with weights; {rounded} are rounded",
        alt=f"A bar for each of {len(rows)} layers, as high as its weights are many, coloured by group.",
        spec=charts.network_strip(rows),
        sheet=Sheet(
            name="network",
            title="Layers",
            columns=["layer", "group", "place", "weights"],
            rows=[[plain(r["layer"]), plain(r["role"]), amount(r["place"]), amount(r["weights"])] for r in rows],
            numbers=2,
        ),
    )


def _histograms(model: OnnxModel) -> list[Figure]:
    rows: list[dict[str, Any]] = []
    grids: list[dict[str, Any]] = []
    weights = _weights_by_group(model)
    for group, values in weights.items():
        reach = float(np.quantile(np.abs(values), _CUT)) or 1.0
        counts, edges = np.histogram(values, bins=_BINS, range=(-reach, reach))
        shares = counts / values.size
        ends = zip(edges[:-1], edges[1:], shares, strict=True)
        rows += [{"group": group, "left": float(a), "right": float(b), "share": float(s)} for a, b, s in ends]
        for decimals in (2, 1):
            lines = np.arange(-np.floor(reach * 10**decimals), np.floor(reach * 10**decimals) + 1) / 10**decimals
            if 1 < len(lines) <= _MOST_LINES:
                name = f"{decimals} decimal{'s' if decimals > 1 else ''}"
                grids += [{"group": group, "at": float(at), "grid": name} for at in lines]
    if not rows:
        return []
    return [
        Figure(
            name="weights",
            title="The weights that are rounded, and the points of the decimal grid",
            alt="A histogram of a group's weights, with vertical lines where the grid's points are.",
            spec=charts.histograms(rows, grids, groups=list(weights)),
            sheet=Sheet(
                name="weights",
                title=f"Histogram; the range holds {100 * _CUT:g} % of each group's weights",
                columns=["group", "from", "to", "share"],
                rows=[_bin_row(row) for row in rows],
                numbers=3,
            ),
        )
    ]


def _bin_row(row: Mapping[str, Any]) -> list[Cell]:
    ends = (amount(row["left"], "{:.4g}"), amount(row["right"], "{:.4g}"))
    return [plain(row["group"]), *ends, amount(row["share"], "{:.4%}")]


def _weights_by_group(model: OnnxModel) -> Mapping[str, np.ndarray[Any, np.dtype[np.float32]]]:
    targets = {one.position: one for one in list_initializers(model)}
    names = set(default_targets(list(targets.values())))
    found: dict[str, list[Any]] = {}
    for held in model.tensors():
        one = targets.get(held.position)
        if one is not None and one.name in names:
            found.setdefault(one.group or "rounded", []).append(model.values(held).ravel())
    return {group: np.concatenate(parts) for group, parts in found.items()}
