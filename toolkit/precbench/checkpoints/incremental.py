"""Incremental network quantization: round the largest weights, retrain the others, until all sit on the grid.

Source: A. Zhou, A. Yao, Y. Guo, L. Xu, Y. Chen, "Incremental Network Quantization: Towards Lossless CNNs with
Low-Precision Weights", ICLR 2017. What is not its own: AdamW in place of SGD, and any grid, not powers of two alone.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.checkpoints.held import Held, hold
from precbench.checkpoints.history import Epoch
from precbench.checkpoints.tensorflow_quietly import import_keras
from precbench.checkpoints.training import Trained, Training, train
from precbench.checkpoints.variables import named_variables
from precbench.datasets import Preprocessing, Splits
from precbench.errors import ModelError, UsageError
from precbench.grids import Grid
from precbench.grids.pow2 import largest_part
from precbench.progress import SILENT, Progress

PORTIONS = (0.5, 0.75, 0.875, 1.0)
"""Share of each kernel's weights on the grid after each step; the paper's, for most of its networks."""

_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the retraining.

    Attributes:
        portion: of each kernel's weights that are on the grid.
        kept_epoch: of the epochs that followed, by validation; None after the last, which trains nothing.
    """

    portion: float
    kept_epoch: int | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Incremental:
    """What the retraining gave.

    Attributes:
        trained: the model, every kernel on its grid, with the epochs of all steps, counted on.
        grids: kernel's path to its grid, fitted to the weights before.
        steps: in order.
    """

    trained: Trained
    grids: Mapping[str, Grid]
    steps: tuple[Step, ...]


def train_incrementally(
    model: Any,
    splits: Splits,
    preprocessing: Preprocessing,
    training: Training,
    grid: Grid,
    *,
    portions: Sequence[float] = PORTIONS,
    states: Path | None = None,
    clock: Callable[[], float] = time.perf_counter,
    progress: Progress = SILENT,
) -> Incremental:
    """Bring the kernels of a trained model onto a grid, step by step; the model given is not modified.

    The grid is fitted to each kernel once, before. In each step the largest weights that are not on it yet are rounded
    and held there (`held.hold`), and the others train on for `training.epochs`, biases and batch normalisation with
    them. In the last step the rest is rounded and nothing trains any more. The law: every element of every kernel of
    the result is a point of that kernel's grid; and that of `train`: one machine, the same arguments, the same bits.

    Args:
        model: a trained `keras.Model`; see `train`.
        splits: see `train`.
        preprocessing: likewise.
        training: of each step.
        grid: such as `pow2:5`, the paper's.
        portions: ascending, the last 1.
        states: a folder for what `train` goes on from after an interruption; left there at the end.
        clock: see `train`.
        progress: likewise.

    Raises:
        UsageError: the portions do not rise to 1, or the grid needs an axis that a kernel's is not known.
        ModelError: the model has no kernel.
        PrecbenchError: see `train`.
    """
    if list(portions) != sorted(set(portions)) or not portions or portions[0] <= 0 or portions[-1] != 1:
        raise UsageError(f"the portions {list(portions)} do not rise to 1", "give such as 0.5, 0.75, 0.875, 1")
    grids = {path: grid.fitted(values) for path, values in kernels(model).items()}
    if not grids:
        raise ModelError("the model has no kernel to bring onto a grid", "give a network with convolutions or layers")
    current, held, steps = model, dict[str, Held](), list[Step]()
    history: tuple[Epoch, ...] = ()
    kept_epoch = 0
    for number, portion in enumerate(portions, 1):
        held = _more(current, held, grids, portion)
        progress.note(f"{100 * portion:g} % of the weights on {grid}")
        if portion == 1:
            break
        state = None if states is None else states / f"training-state-{number}.npz"
        trained = train(
            current, splits, preprocessing, training, held=held, state=state, clock=clock, progress=progress
        )
        current, before = trained.model, len(history)
        history += tuple(replace(epoch, epoch=before + epoch.epoch) for epoch in trained.history)
        kept_epoch = before + trained.kept_epoch
        steps.append(Step(portion=portion, kept_epoch=kept_epoch))
    keras = import_keras()
    rounded = keras.models.clone_model(current)
    rounded.set_weights(current.get_weights())
    hold(keras, rounded, held)
    steps.append(Step(portion=1.0, kept_epoch=None))
    return Incremental(
        trained=Trained(model=_without_constraints(rounded), history=history, kept_epoch=kept_epoch),
        grids=grids,
        steps=tuple(steps),
    )


def kernels(model: Any) -> dict[str, NDArray[np.float32]]:
    """Return the kernels of a Keras model, those of depthwise convolutions and dense layers among them, by path."""
    return {
        variable.path: np.asarray(variable.values(), np.float32)
        for variable in named_variables(model)
        if variable.variable in _KERNELS
    }


def _more(model: Any, held: Mapping[str, Held], grids: Mapping[str, Grid], portion: float) -> dict[str, Held]:
    found = {}
    for path, values in kernels(model).items():
        mask = largest_part(values, portion, held[path].mask if path in held else None)
        found[path] = Held(mask=mask, values=grids[path].nearest(values))
    return found


def _without_constraints(model: Any) -> Any:
    for variable in named_variables(model):
        variable.keras.constraint = None
    return model
