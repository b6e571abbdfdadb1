"""Which layers of a model hold on a grid, asked of as few images as the answers take."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.accuracy import check_classes
from precbench.datasets import Preprocessing
from precbench.errors import DataError
from precbench.graph import Plan, list_initializers, load_model
from precbench.grids import DecimalGrid, Grid
from precbench.progress import SILENT, Progress
from precbench.runtime import Session, fixed_batch
from precbench.runtime.batches import batched_names
from precbench.study.evaluation import EvaluationData, image_feeds, is_classifier, model_preprocessing, with_class_names
from precbench.study.experiments import target_layers
from precbench.sweep import Screened, rounded_variant, screen


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenedLayer:
    """A layer on a grid, and what screening says of it."""

    layer: str
    grid: Grid
    found: Screened

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        found = self.found.to_json()
        del found["variant"]
        decimals = self.grid.decimals if isinstance(self.grid, DecimalGrid) else None
        return {"layer": self.layer, "grid": str(self.grid), "decimals": decimals, **found}


def screen_layers(
    session: Session,
    data: EvaluationData,
    *,
    grids: Sequence[Grid],
    margin_points: float = 0.5,
    alpha: float = 0.05,
    preprocessing: Preprocessing | None = None,
    batch: int = 32,
    seed: int = 0,
    progress: Progress = SILENT,
) -> list[ScreenedLayer]:
    """Say of each target layer on each grid whether it loses at most the margin.

    Args:
        session: of the full-precision model.
        data: labelled; what is asked is asked of all of it.
        grids: no two with one text.
        margin_points: see `sweep.screen`.
        alpha: see `sweep.screen`.
        preprocessing: of images; None for what the model's metadata says.
        batch: images per call, where the model fixes none.
        seed: of the order of the images.
        progress: told of each block.

    Returns:
        One per layer and grid, in the model's order.

    Raises:
        DataError: there are no labels, or the model is no classifier of the data.
        PrecbenchError: the model cannot be run on the data.
    """
    if data.labels is None or not is_classifier(session):
        why = "the data has no labels" if data.labels is None else "the model is no classifier"
        raise DataError(f"there is nothing to lose: {why}", "give labelled data of the model's classes")
    data = with_class_names(data, session.model)
    assert data.labels is not None
    model, classes = load_model(session.model), session.outputs[0].shape[1]
    initializers = list_initializers(model)
    points = {
        f"{layer} {grid}": (layer, grid, Plan(grids=dict.fromkeys(names, grid)))
        for layer, names in target_layers(initializers).items()
        for grid in grids
    }
    found = screen(
        model,
        [rounded_variant(name, model, plan) for name, (_, _, plan) in points.items()],
        check_classes(data.labels, classes if isinstance(classes, int) else None),
        feeds_of_rows(session, data, preprocessing),
        session.settings,
        margin_points=margin_points,
        alpha=alpha,
        batch=fixed_batch(session.inputs) or batch,
        seed=seed,
        progress=progress,
    )
    by_name = {one.variant: one for one in found}
    return [ScreenedLayer(layer=layer, grid=grid, found=by_name[name]) for name, (layer, grid, _) in points.items()]


def feeds_of_rows(
    session: Session, data: EvaluationData, preprocessing: Preprocessing | None
) -> Callable[[NDArray[np.intp]], Mapping[str, NDArray[Any]]]:
    """Return what makes the model's feeds of some rows of the data.

    Args:
        session: of the model.
        data: images, or arrays.
        preprocessing: of images; None for what the model's metadata says.
    """
    images, inputs = data.images, data.inputs or {}
    if images is None:
        batched = batched_names(session.inputs)
        return lambda rows: {name: array[rows] if name in batched else array for name, array in inputs.items()}
    preprocess = preprocessing or model_preprocessing(session)
    return lambda rows: image_feeds(session.model, session.inputs, preprocess, images[rows])
