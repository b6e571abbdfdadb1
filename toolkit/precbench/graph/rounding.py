"""Round chosen initializers of a model to grids: a new model, and one outcome per initializer."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from precbench.errors import ModelError, TargetError
from precbench.graph.initializers import Initializer, Role, list_initializers
from precbench.graph.model import HeldTensor, OnnxModel, graphs, is_external
from precbench.graph.targets import Plan
from precbench.grids import DecimalGrid, Grid

NOT_TARGETED = "not targeted"
ROUNDABLE_TYPES = ("FLOAT16", "FLOAT", "DOUBLE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What rounding did to one initializer.

    Attributes:
        initializer: its name.
        grid: the text of the grid that it was rounded to, fitted to it; None where it was skipped.
        decimals: N where that grid is decimal.
        skipped: why it was not rounded, None where it was.
        elements: how many it has.
        changed: how many of them have another value now.
    """

    initializer: str
    layer: str
    group: str | None
    grid: str | None
    decimals: int | None
    skipped: str | None
    elements: int
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounded:
    """A rounded model with one outcome per initializer, in the model's order; `notes` say what was not looked at."""

    model: OnnxModel
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...]

    @property
    def elements(self) -> int:
        """How many elements were rounded."""
        return sum(outcome.elements for outcome in self.outcomes if outcome.skipped is None)

    @property
    def changed(self) -> int:
        """How many elements have another value now."""
        return sum(outcome.changed for outcome in self.outcomes)


def round_model(model: OnnxModel, plan: Plan) -> Rounded:
    """Round the planned initializers of a model; the model given is not modified.

    The law: the new model equals the old one field by field except for the values of the rounded tensors, which are
    `grid.fitted(…).nearest(…)` of the old ones, in the same storage (raw bytes, typed values or external data).

    Raises:
        ModelError: a planned tensor holds NaN or infinity.
        TargetError: the plan names a tensor that the model lacks.
    """
    initializers = {i.position: i for i in list_initializers(model)}
    check_plan(plan, initializers.values())
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    replaced, outcomes = dict(model.replaced), []
    for held in OnnxModel(proto=proto, folder=model.folder, replaced=model.replaced).tensors():
        initializer = initializers.get(held.position)
        if initializer is None:
            continue
        skipped = _reason_to_skip(initializer, plan)
        changed, grid = 0, None
        if skipped is None:
            before = model.values(held)
            grid = fitted_grid(initializer, before, plan.grids[initializer.name])
            after = grid.nearest(before)
            changed = int(np.count_nonzero(before != after))
            _store(held, after, replaced)
        outcomes.append(_outcome(initializer, grid, skipped, changed))
    return Rounded(
        model=OnnxModel(proto=proto, folder=model.folder, replaced=replaced),
        outcomes=(*outcomes, *_sparse_outcomes(proto)),
        notes=_notes(proto),
    )


def _sparse_outcomes(proto: onnx.ModelProto) -> Iterator[Outcome]:
    for graph in graphs(proto.graph):
        for sparse in graph.sparse_initializer:
            yield Outcome(
                initializer=sparse.values.name,
                layer=sparse.values.name,
                group=None,
                grid=None,
                decimals=None,
                skipped="sparse initializers are not rounded",
                elements=sum(sparse.values.dims),
                changed=0,
            )


def _notes(proto: onnx.ModelProto) -> tuple[str, ...]:
    if not proto.functions:
        return ()
    names = ", ".join(function.name for function in proto.functions[:3])
    return (
        f"the model has {len(proto.functions)} functions of its own ({names}): weights inside them are not looked at, "
        f"and what only they use is rounded only where it is named",
    )


def check_finite(model: OnnxModel, path: Path) -> None:
    """Refuse a model with NaN or infinity in a weight, a bias or a batch-normalisation variable.

    Other constants may be infinite: masks and limits are.

    Raises:
        ModelError: the first such tensor is named.
    """
    parts = {i.position: i for i in list_initializers(model) if i.role in (Role.WEIGHT, Role.BIAS, Role.BATCH_NORM)}
    for held in model.tensors():
        if held.position in parts and parts[held.position].dtype in ROUNDABLE_TYPES:
            values = model.values(held)
            bad = int(values.size - np.count_nonzero(np.isfinite(values)))
            if bad:
                raise _not_finite(f"{path}: the weights {held.name!r}", bad, values.size, "repair the model")


def _not_finite(what: str, bad: int, size: int, remedy: str) -> ModelError:
    return ModelError(f"{what} hold {bad:,} NaN or infinite values of {size:,}", remedy)


def check_plan(plan: Plan, initializers: Iterable[Initializer]) -> None:
    """Refuse a plan that was not made for these initializers.

    Raises:
        TargetError: it names one that is not among them.
    """
    unknown = plan.grids.keys() - {i.name for i in initializers}
    if unknown:
        raise TargetError(
            f"the plan names {min(unknown)!r}, which the model has not",
            "make the plan for this model; `precbench inspect` lists its initializers",
        )


def _reason_to_skip(initializer: Initializer, plan: Plan) -> str | None:
    if initializer.name not in plan.grids:
        return NOT_TARGETED
    if initializer.dtype not in ROUNDABLE_TYPES:
        return f"{initializer.dtype} is not rounded; {', '.join(ROUNDABLE_TYPES)} are"
    return None


def fitted_grid(initializer: Initializer, values: NDArray[Any], grid: Grid) -> Grid:
    """Return a grid fitted to a tensor's values, whose nearest points they become.

    Args:
        initializer: whose values they are.
        values: of a type in `ROUNDABLE_TYPES`.
        grid: to fit.

    Raises:
        ModelError: there is NaN or infinity among the values.
        UsageError: the grid does not fit such a tensor.
    """
    bad = int(values.size - np.count_nonzero(np.isfinite(values)))
    if bad:
        remedy = "repair the model, or leave that initializer out (--target, --regex, --group)"
        raise _not_finite(f"the weights {initializer.name!r}", bad, values.size, remedy)
    return grid.fitted(values, initializer.channel_axis)


def _outcome(initializer: Initializer, grid: Grid | None, skipped: str | None, changed: int) -> Outcome:
    return Outcome(
        initializer=initializer.name,
        layer=initializer.layer,
        group=initializer.group,
        grid=None if grid is None else str(grid),
        decimals=grid.decimals if isinstance(grid, DecimalGrid) else None,
        skipped=skipped,
        elements=initializer.elements,
        changed=changed,
    )


def _store(held: HeldTensor, values: NDArray[Any], replaced: dict[int, NDArray[Any]]) -> None:
    """Put new values where the old ones were kept, in the same kind of storage."""
    tensor = held.proto
    if is_external(tensor):
        replaced[held.position] = values
    elif tensor.HasField("raw_data"):
        tensor.raw_data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    elif values.dtype == np.float16:
        tensor.int32_data[:] = values.view(np.uint16).reshape(-1).tolist()
    elif values.dtype == np.float32:
        tensor.float_data[:] = values.reshape(-1).tolist()
    else:
        tensor.double_data[:] = values.reshape(-1).tolist()
