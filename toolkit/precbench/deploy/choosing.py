"""Which form to ship: make those that there are, time them together, judge each on the validation part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from precbench.bench.inputs import inputs_for_batches
from precbench.bench.sessions import open_model
from precbench.deploy.data import DeploymentData
from precbench.deploy.forms import Form, Made, make
from precbench.deploy.manifest import MODEL
from precbench.deploy.measuring import compare_accuracy, drop_points, measure_time
from precbench.deploy.request import Request
from precbench.deploy.sizes import model_bytes
from precbench.errors import DataError, ModelError, ProviderError, UsageError
from precbench.graph import load_model
from precbench.progress import Progress
from precbench.runtime import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The form that is shipped, and what was found on the way.

    Args:
        made: the model.
        tried: one row per form, those that could not be made among them.
        holds: whether it is shown to lose at most what was asked for; None where nothing was asked, or is known.
        time: ratios by form and what they were measured with; None where nothing was timed.
    """

    made: Made
    tried: tuple[Mapping[str, Any], ...]
    holds: bool | None
    time: Mapping[str, Any] | None


def choose(
    request: Request, session: Session, data: DeploymentData | None, stage: Path, *, progress: Progress
) -> Choice:
    """Make the forms asked for, and keep the fastest that holds; where none holds, the one that loses least.

    Args:
        request: see `Request`.
        session: of the model as it is.
        data: to calibrate on and to choose by.
        stage: folder to make them in.
        progress: told of the steps.

    Raises:
        ModelError, UsageError, DataError: the form that was asked for cannot be made, or none can.
    """
    made, failed = _make_all(request, session, data, stage, progress)
    timed = _time(request, made, progress)
    rows = [_row(request, one, data, timed, progress) for one in made]
    best = min(range(len(made)), key=lambda index: _rank(rows[index], request.form))
    holds = rows[best]["within_max_drop"] if request.form is None else None
    return Choice(made=made[best], tried=(*rows, *failed), holds=holds, time=timed)


def _forms(request: Request, session: Session) -> list[Form]:
    if request.form is not None:
        return [request.form]
    return [Form.PACKED, Form.INT8, *([] if session.provider == "cpu" else [Form.FP16])]


def _make_all(
    request: Request, session: Session, data: DeploymentData | None, stage: Path, progress: Progress
) -> tuple[list[Made], list[dict[str, Any]]]:
    made, failed = list[Made](), list[dict[str, Any]]()
    for form in _forms(request, session):
        path = stage / form / MODEL
        try:
            one = make(
                form,
                load_model(request.model),
                path,
                session=session,
                data=data,
                method=request.method,
                seed=request.seed,
                progress=progress,
            )
            open_model(path, request.settings)
            made.append(one)
        except (ModelError, UsageError, DataError, ProviderError) as error:
            if request.form is not None:
                raise
            failed.append({"form": str(form), "made": False, "reason": error.problem})
            progress.note(f"{form}: {error.problem}")
    if not made:
        reasons = "; ".join(f"{row['form']}: {row['reason']}" for row in failed)
        raise ModelError(f"{request.model} can be had in no form: {reasons}", "mend the reason of one of them")
    return made, failed


def _time(request: Request, made: Sequence[Made], progress: Progress) -> dict[str, Any] | None:
    if request.timing is None:
        return None
    reference = request.compared_with
    inputs = inputs_for_batches(
        reference, request.settings, request.batches, file=None, seed=request.seed, shapes=request.shapes
    )
    paths = {str(one.form): one.path for one in made}
    ratios, record = measure_time(reference, paths, request.settings, inputs, request.timing, progress=progress)
    return {
        "ratios": {form: [ratio.to_json() for ratio in found] for form, found in ratios.items()},
        "provider": record["session"]["provider"],
        "intra_op_threads": request.settings.intra_op_threads,
        "budget_s": request.timing.budget_s,
        "environment": record["environment"],
        "warnings": [*record["warnings"], *(w for one in record["measurements"] for w in one["warnings"])],
    }


def _row(
    request: Request, one: Made, data: DeploymentData | None, timed: Mapping[str, Any] | None, progress: Progress
) -> dict[str, Any]:
    """What was found of one form; its accuracy where a choice has to be made by it."""
    row: dict[str, Any] = {
        "form": str(one.form),
        "made": True,
        "model_bytes": model_bytes(one.path),
        "time": None if timed is None else timed["ratios"][str(one.form)],
        "validation": None,
        "drop_points": None,
        "within_max_drop": None,
    }
    if request.form is not None or data is None or data.validation is None:
        return row
    progress.note(f"{one.form}: accuracy on the validation part")
    found = compare_accuracy(
        one.path,
        request.compared_with,
        data.validation,
        request.settings,
        preprocessing=data.preprocessing,
        progress=progress,
    )
    if found.flips is not None:
        drop = drop_points(found.flips)
        row |= {"validation": found.in_short(), "drop_points": drop}
        row["within_max_drop"] = drop <= request.max_drop_points
    return row


def _rank(row: Mapping[str, Any], asked: Form | None) -> tuple[float, ...]:
    """Order forms: those that hold by time, then bytes; the others by what they may lose."""
    if asked is not None:
        return (0.0,)
    point = row["time"][0]["ratio"]["point"] if row["time"] else None
    time = 1.0 if point is None else float(point)
    if row["within_max_drop"] is None:  # nothing is known of accuracy: what changes no output comes first
        return (float(row["form"] != Form.PACKED), time)
    if row["within_max_drop"]:
        return (0.0, time, float(row["model_bytes"]))
    return (1.0, float(row["drop_points"]), time)
