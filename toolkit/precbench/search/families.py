"""Grids side by side on one model: what each costs in bits, entropy and bytes, and does to weights and accuracy."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.accuracy import Flips, check_classes, flips, top_classes
from precbench.errors import DataError
from precbench.graph import Initializer, OnnxModel, Plan, list_initializers
from precbench.graph.rounding import fitted_grid
from precbench.graph.targets import default_targets
from precbench.grids import Grid, parse_grid
from precbench.progress import SILENT, Progress
from precbench.runtime import SessionSettings
from precbench.search.costs import stored_bytes
from precbench.search.evaluating import Part
from precbench.sweep import Variant, rounded_variant, sweep

DEFAULT_GRIDS = (
    *("decimal:1", "decimal:2", "decimal:3", "decimal:4"),
    *("1-2-5:4", "1-2-5:6", "1-2-5:8", "r10:4", "r10:6", "r10:8"),
    *("fixed:auto:4", "fixed:auto:6", "fixed:auto:8", "int:4", "int:6", "int:8"),
    *("int:4:channel", "int:6:channel", "int:8:channel", "pow2:4", "pow2:5", "pow2:6"),
    *("float8_e4m3", "float8_e5m2", "posit:8,0", "posit:8,1"),
    *("float16", "bfloat16", "posit:16,1"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GridFigures:
    """What a grid is worth on a model's target weights.

    Attributes:
        grid: its text.
        bits: of a stored code, the mean over weights, all codes of a tensor of one width; None without codes.
        entropy_bits: of the codes, per weight, each tensor's own: what no code with a table per tensor goes below.
        sqnr_db: of the weights, all together; infinite where none moves.
        zstd_bytes: of the codes, in the smallest type of 8, 16 or 32 bits, compressed.
        flips: against full precision, all target weights rounded; None where the rounded model's scores are no numbers.
    """

    grid: str
    bits: float | None
    entropy_bits: float
    sqnr_db: float
    zstd_bytes: int
    flips: Flips | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values; an infinite SQNR is None."""
        return {
            **asdict(self),
            "sqnr_db": None if np.isinf(self.sqnr_db) else self.sqnr_db,
            "flips": None if self.flips is None else self.flips.to_json(),
        }


def compare_grids(
    model: OnnxModel,
    grids: Sequence[Grid],
    part: Part,
    *,
    settings: SessionSettings,
    batch: int,
    progress: Progress = SILENT,
) -> list[GridFigures]:
    """Round all target weights to each grid in turn; return what each costs and does, in the order given.

    Args:
        model: full precision, a classifier.
        grids: no two with one text.
        part: labelled images.
        settings: of the sessions.
        batch: samples per call.
        progress: told of the images.

    Raises:
        DataError: there are no labels.
        PrecbenchError: a weight is not finite, or a variant cannot be run.
    """
    if part.labels is None:
        raise DataError("the data have no labels: accuracy cannot be compared", "give labelled data")
    initializers = list_initializers(model)
    names = set(default_targets(initializers))
    targets = [one for one in initializers if one.name in names]
    plans = {str(grid): Plan.of_grid(targets, grid) for grid in grids}
    variants = [Variant(name="base", values=dict), *(rounded_variant(n, model, plan) for n, plan in plans.items())]
    scores = {
        one.variant: next(iter(one.outputs.values()))
        for one in sweep(model, variants, part.batches(batch), settings, progress=progress)
    }
    base, truth = top_classes(scores["base"]), check_classes(part.labels)
    found = []
    for name, plan in plans.items():
        after = scores[name]
        flipped = flips(base, top_classes(after), truth) if np.isfinite(after).all() else None
        found.append(_figures(model, targets, name, plan, flipped))
    return found


def parse_default_grids() -> tuple[Grid, ...]:
    """Return the grids that are compared where none is named."""
    return tuple(map(parse_grid, DEFAULT_GRIDS))


def _figures(
    model: OnnxModel, targets: Sequence[Initializer], name: str, plan: Plan, flipped: Flips | None
) -> GridFigures:
    weights = bits = entropy = signal = noise = 0.0
    compressed, is_coded = 0, True
    for fitted, values in _fitted(model, targets, plan):
        rounded = fitted.nearest(values)
        codes, width = fitted.codes(rounded), fitted.bits(rounded)
        wide = values.astype(np.float64)
        signal += float(np.square(wide).sum())
        noise += float(np.square(rounded - wide).sum())
        entropy += _entropy_bits(rounded if isinstance(codes, str) else codes) * values.size
        weights += values.size
        is_coded &= width is not None and not isinstance(codes, str)
        bits += (width or 0) * values.size
        compressed += stored_bytes(rounded, codes)
    return GridFigures(
        grid=name,
        bits=bits / weights if is_coded else None,
        entropy_bits=entropy / weights,
        sqnr_db=10 * float(np.log10(signal / noise)) if noise else float("inf"),
        zstd_bytes=compressed,
        flips=flipped,
    )


def _fitted(model: OnnxModel, targets: Sequence[Initializer], plan: Plan) -> Iterator[tuple[Grid, NDArray[Any]]]:
    by_position = {one.position: one for one in targets}
    for held in model.tensors():
        if held.position in by_position:
            values = model.values(held)
            one = by_position[held.position]
            yield fitted_grid(one, values, plan.grids[one.name]), values


def _entropy_bits(values: NDArray[Any]) -> float:
    _, counts = np.unique(values, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())
