"""Round a file, whichever of the two kinds a user has: an ONNX model, or the Keras checkpoint of the paper."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from precbench.errors import TargetError
from precbench.files import check_named, check_not_input, check_output, file_digest
from precbench.graph import (
    Initializer,
    OnnxModel,
    Outcome,
    Plan,
    Role,
    Rounded,
    Selector,
    assign_groups,
    list_initializers,
    load_model,
    model_digest,
    round_model,
    save_model,
    select,
)
from precbench.graph.rounding import NOT_TARGETED
from precbench.graph.targets import check_grid_given
from precbench.grids import DecimalGrid, Grid
from precbench.progress import SILENT, Progress
from precbench.study.definition import shipped_groups
from precbench.study.plan_file import PlanFile

_KERAS_SUFFIXES = (".h5", ".hdf5", ".keras")
_ROLES = {"kernel": Role.WEIGHT, "bias": Role.BIAS, "batch_norm": Role.BATCH_NORM, "other": Role.OTHER}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundedFile:
    """A rounded copy of a file, with one outcome per initializer (of ONNX) or variable (of Keras)."""

    model: Path
    model_digest: str
    output: Path
    plan: Plan
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return {
            "model": str(self.model),
            "model_digest": self.model_digest,
            "output": str(self.output),
            "output_digest": file_digest(self.output),
            "elements": sum(o.elements for o in self.outcomes if o.skipped is None),
            "changed": sum(o.changed for o in self.outcomes),
            "notes": list(self.notes),
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
        }


def round_file(
    model: Path,
    output: Path | None,
    selectors: Sequence[Selector] = (),
    *,
    grid: Grid | None = None,
    plan: PlanFile | None = None,
    architecture: Path | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> RoundedFile:
    """Round an ONNX model, a Keras weights H5 or a `.keras` file into a new file.

    The same weights are meant in all of them: rounding a checkpoint and exporting it gives the initializers that
    exporting it and rounding gives.

    Args:
        output: beside the model where None: `<name>.dpN<suffix>`, `<name>.GRID<suffix>` of other grids,
            `<name>.rounded<suffix>` with selectors, `<name>.PLAN<suffix>` with a plan.
        selectors: see `graph.select`.
        grid: for the selectors that name none.
        plan: in place of selectors and grid.
        architecture: the JSON of a Keras `.weights.h5` that records no layer names.
        force: replace the output where it exists.

    Raises:
        PrecbenchError: the model cannot be read or rounded as asked, or the output exists; nothing is left then.
    """
    if plan is None:
        check_grid_given(selectors, grid)
    check_named(model)
    path = output or _beside(model, _how(selectors, grid, plan))
    check_not_input(path, [model, architecture])
    check_output(path, force=force)

    def choose(initializers: Sequence[Initializer], digest: str) -> Plan:
        if plan is not None:
            return plan.plan(initializers, digest)
        return select(initializers, selectors, grid=grid)

    with progress.track(f"rounding {model.name}", 1) as advance:
        if model.suffix.lower() in _KERAS_SUFFIXES:
            digest = file_digest(model) if model.is_file() else ""
            chosen, outcomes = _round_keras(model, path, lambda each: choose(each, digest), architecture)
            notes: tuple[str, ...] = ()
        else:
            loaded = load_model(model)
            digest = model_digest(loaded, model)
            chosen = choose(list_initializers(loaded), digest)
            rounded = round_onnx(loaded, chosen, path)
            outcomes, notes = rounded.outcomes, rounded.notes
        advance(1)
    return RoundedFile(model=model, model_digest=digest, output=path, plan=chosen, outcomes=outcomes, notes=notes)


def _how(selectors: Sequence[Selector], grid: Grid | None, plan: PlanFile | None) -> str:
    if plan is not None:
        return plan.path.stem
    return "rounded" if selectors or grid is None else short_name(grid)


def _beside(model: Path, how: str) -> Path:
    """`model.onnx` -> `model.dp4.onnx`; Keras 3 asks for `.weights.h5` at the end, so that stays together."""
    suffix = ".weights.h5" if model.name.endswith(".weights.h5") else model.suffix
    return model.with_name(f"{model.name.removesuffix(suffix)}.{how}{suffix}")


def short_name(grid: Grid) -> str:
    """Return how a grid is called in the name of a file: `dp4`, `int-8-channel`."""
    if isinstance(grid, DecimalGrid):
        return f"dp{grid.decimals}"
    return re.sub(r"[^A-Za-z0-9.]+", "-", str(grid)).strip("-.")


def round_onnx(model: OnnxModel, plan: Plan, output: Path) -> Rounded:
    """Round a loaded model by a plan and save it.

    Raises:
        TargetError: none of the planned tensors can be rounded; nothing is written then.
    """
    rounded = round_model(model, plan)
    _check_something_rounded(rounded.outcomes)
    save_model(rounded.model, output)
    return rounded


def _check_something_rounded(outcomes: Sequence[Outcome]) -> None:
    reasons = [f"{o.initializer}: {o.skipped}" for o in outcomes if is_skipped_target(o.skipped)]
    if reasons and all(outcome.skipped is not None for outcome in outcomes):
        raise TargetError(f"nothing can be rounded; {reasons[0]}", "choose floating-point initializers")


def is_skipped_target(skipped: str | None) -> bool:
    """Whether an outcome is of a tensor that was asked for and yet left as it is."""
    return skipped not in (None, NOT_TARGETED)


def _round_keras(
    model: Path, output: Path, choose: Callable[[Sequence[Initializer]], Plan], architecture: Path | None
) -> tuple[Plan, tuple[Outcome, ...]]:
    from precbench.checkpoints.checkpoint_variables import list_variables
    from precbench.checkpoints.rounding import round_checkpoint

    variables = list_variables(model, architecture=architecture)
    names = [variable.name for variable in variables]
    found = shipped_groups(names)
    groups = assign_groups(names, found[1]) if found is not None else dict.fromkeys(names)
    initializers = [
        Initializer(
            position=position,
            name=variable.name,
            layer=variable.layer,
            group=groups[variable.name],
            role=_ROLES[variable.role],
            op_types=(),
            dtype=variable.dtype,
            shape=variable.shape,
        )
        for position, variable in enumerate(variables)
    ]
    plan = choose(initializers)
    outcomes = round_checkpoint(model, output, plan.grids, architecture=architecture)
    return plan, tuple(replace(outcome, group=groups[outcome.initializer]) for outcome in outcomes)
