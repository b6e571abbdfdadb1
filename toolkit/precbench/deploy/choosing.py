"""Which form to ship: make those that there are, judge each on the validation part, and time them together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from statistics import fmean
from typing import Any

from precbench.bench.inputs import inputs_for_batches
from precbench.bench.sessions import open_model
from precbench.deploy.data import DeploymentData, reference_feeds
from precbench.deploy.forms import Form, Made, make
from precbench.deploy.likeness import check_likeness
from precbench.deploy.manifest import MODEL
from precbench.deploy.measuring import compare_accuracy, drop_points, measure_time
from precbench.deploy.request import Request
from precbench.deploy.sizes import model_bytes
from precbench.errors import DataError, ModelError, ProviderError, UsageError
from precbench.graph import load_model
from precbench.progress import Progress
from precbench.runtime import Session
from precbench.timing.verdict import Verdict

Row = dict[str, Any]
"""What was found of a form: form, made (else reason), model_bytes, time (a list, one per batch size, or None),
validation, drop_points, within_max_drop (None: not known), gains (None: not made)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The form that is shipped, and what was found on the way.

    Args:
        made: the model.
        tried: one row per form, those that could not be made among them.
        holds: whether it is shown to lose at most what was asked for and, where it was chosen, is smaller or faster;
            None where nothing was asked, or is known.
        time: ratios by form and what they were measured with; None where nothing was timed.
    """

    made: Made
    tried: tuple[Mapping[str, Any], ...]
    holds: bool | None
    time: Mapping[str, Any] | None


def choose(
    request: Request, session: Session, data: DeploymentData | None, stage: Path, *, progress: Progress
) -> Choice:
    """Make the forms asked for, and keep the best (see `best_row`).

    Args:
        request: see `Request`.
        session: of the model as it is.
        data: to calibrate on and to choose by.
        stage: folder to make them in.
        progress: told of the steps.

    Raises:
        ModelError, UsageError, DataError: the form that was asked for cannot be made, or none can.
    """
    made, rows, failed = _make_all(request, session, data, stage, progress)
    timed = _time(request, made, progress)
    size = model_bytes(request.compared_with)
    for row in rows:
        row["time"] = None if timed is None else timed["ratios"][row["form"]]
        row["gains"] = gains(row, size)
    if request.form is not None:
        return Choice(made=made[0], tried=tuple(rows), holds=rows[0]["within_max_drop"], time=timed)
    best = best_row(rows)
    within = rows[best]["within_max_drop"]
    holds = None if within is None else bool(within and rows[best]["gains"])
    return Choice(made=made[best], tried=(*rows, *failed), holds=holds, time=timed)


def gains(row: Mapping[str, Any], reference_bytes: int) -> bool:
    """Say whether a form is smaller than the reference, or shown to be faster at a batch size."""
    faster = any(one["verdict"] == Verdict.FASTER for one in row["time"] or ())
    return faster or row["model_bytes"] < reference_bytes


def best_row(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return the position of the form to keep, of those made.

    Of those within the limit and smaller or faster than the reference: the fastest by the geometric mean over batch
    sizes, and of those that the intervals do not tell from it, the smallest file. Where there is none: the one that
    may lose least. Where nothing is known of accuracy, what changes no output comes first.
    """
    found = range(len(rows))
    if all(row["within_max_drop"] is None for row in rows):
        exact = [index for index in found if rows[index]["form"] == Form.PACKED]
        return _fastest(rows, exact or list(found))
    within = [index for index in found if rows[index]["within_max_drop"]]
    candidates = [index for index in within if rows[index]["gains"]] or within
    if candidates:
        return _fastest(rows, candidates)
    return min(found, key=lambda index: (_drop(rows[index]), _mean_ratio(rows[index])))


def _fastest(rows: Sequence[Mapping[str, Any]], among: Sequence[int]) -> int:
    fastest = min(among, key=lambda index: _mean_ratio(rows[index]))
    alike = [index for index in among if _alike(rows[index], rows[fastest])]
    return min(alike, key=lambda index: (rows[index]["model_bytes"], _mean_ratio(rows[index])))


def _mean_ratio(row: Mapping[str, Any]) -> float:
    """Geometric mean over batch sizes; what could not be timed counts as slower than all that could."""
    points = [one["ratio"]["point"] for one in row["time"] or ()]
    if not points:
        return 1.0
    return float("inf") if None in points else exp(fmean(log(point) for point in points))


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the intervals overlap at every batch size; one that is not there overlaps with all."""
    pairs = zip(one["time"] or (), other["time"] or (), strict=True)
    return all(_overlap(mine["ratio"], its["ratio"]) for mine, its in pairs)


def _overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if one["low"] is None or other["low"] is None:
        return True
    return bool(one["low"] <= other["high"] and other["low"] <= one["high"])


def _drop(row: Mapping[str, Any]) -> float:
    return float("inf") if row["drop_points"] is None else float(row["drop_points"])


def _forms(request: Request, session: Session) -> list[Form]:
    if request.form is not None:
        return [request.form]
    return [Form.PACKED, Form.INT8, *([] if session.provider == "cpu" else [Form.FP16])]


def _make_all(
    request: Request, session: Session, data: DeploymentData | None, stage: Path, progress: Progress
) -> tuple[list[Made], list[Row], list[Row]]:
    """Return what could be made, a row for each, and a row for each that could not be made or cannot be used."""
    made, rows, failed = list[Made](), list[Row](), list[Row]()
    for form in _forms(request, session):
        try:
            one = _make(form, request, session, data, stage, progress=progress)
            rows.append(_row(request, one, data, progress))
            made.append(one)
        except (ModelError, UsageError, DataError, ProviderError) as error:
            if request.form is not None:
                raise
            failed.append({"form": str(form), "made": False, "reason": error.problem})
            progress.note(f"{form}: {error.problem}")
    if not made:
        reasons = "; ".join(f"{row['form']}: {row['reason']}" for row in failed)
        give_data = "name some images with --data for int8, or " if data is None else ""
        raise ModelError(f"{request.model} can be had in no form: {reasons}", f"{give_data}round it for packed")
    return made, rows, failed


def _make(
    form: Form, request: Request, session: Session, data: DeploymentData | None, stage: Path, *, progress: Progress
) -> Made:
    path = stage / form / MODEL
    made = make(
        form,
        load_model(request.model),
        path,
        session=session,
        data=data,
        method=request.method,
        seed=request.seed,
        progress=progress,
    )
    try:
        open_model(path, request.settings)
    except ModelError as error:  # of a file that the user never saw
        raise ModelError(error.problem.replace(str(path), f"the {form} form"), "deploy it in another form") from error
    feeds, _ = reference_feeds(data, session, seed=request.seed, shapes=request.shapes)
    check_likeness(made, request.model, feeds)
    return made


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


def _row(request: Request, one: Made, data: DeploymentData | None, progress: Progress) -> Row:
    """What was found of one form; its accuracy where a limit is set to what it may lose."""
    row: Row = {
        "form": str(one.form),
        "made": True,
        "model_bytes": model_bytes(one.path),
        "validation": None,
        "drop_points": None,
        "within_max_drop": None,
    }
    limit = request.limit_points
    if limit is None:
        return row
    if one.form is Form.PACKED and request.reference is None:  # its outputs are the model's own: see check_likeness
        return row | {"drop_points": 0.0, "within_max_drop": True}
    if data is None or data.validation is None:
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
        row["within_max_drop"] = drop <= limit
    return row
