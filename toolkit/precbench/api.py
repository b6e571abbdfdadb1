"""The Python interface: what the commands do, as functions that return what was found.

`import precbench as pb` gives these names; nothing heavy is imported before one of them is called. Problems that a
user can cause and cure are raised as `precbench.errors.PrecbenchError`, with `problem` and `remedy`.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from precbench.errors import UsageError
from precbench.study.definition import Study, load_study

if TYPE_CHECKING:
    from precbench.bench.benchmark import Benchmark
    from precbench.bench.comparison import RunComparison
    from precbench.deploy.deploying import Deployed
    from precbench.deploy.verifying import Verification
    from precbench.grids import Grid
    from precbench.study.evaluation import Evaluation
    from precbench.study.rounding import RoundedFile

_File = str | PathLike[str]


def round_model(
    model: _File, *, decimals: int | None = None, grid: "Grid | str | None" = None,
    targets: "Mapping[str, int | str | Grid | None] | None" = None, plan: _File | None = None,
    output: _File | None = None, force: bool = False,
) -> "RoundedFile":  # fmt: skip
    """Round the weights of a model file to N decimals, or to another grid, into a new file.

    Args:
        model: ONNX, a Keras weights H5, or `.keras`.
        decimals: 0 to 12; for the targets that give none.
        grid: in place of `decimals`: a `precbench.grids.Grid`, one of your own perhaps, or its text such as "int:8".
        targets: glob over initializer names to decimals or a grid (None: as given for all). Where not given, the groups
            that the model's metadata names, else the constant weights of Conv, ConvTranspose, Gemm and MatMul.
        plan: a plan file in place of all these.
        output: `<name>.dpN<suffix>` or the like beside the model where not given.
        force: replace the output where it exists.

    Returns:
        What was rounded: `output`, `plan`, and an outcome per initializer.

    Raises:
        PrecbenchError: the model cannot be read or rounded as asked, or the output exists.
    """
    from precbench.graph.targets import Selector, SelectorKind
    from precbench.study.plan_file import read_plan
    from precbench.study.rounding import round_file

    if plan is not None:
        if decimals is not None or grid is not None or targets:
            raise UsageError(
                f"the plan {plan} is given, and decimals, a grid or targets besides", "give the plan alone"
            )
        return round_file(Path(model), _path(output), plan=read_plan(Path(plan)), force=force)
    if decimals is not None and grid is not None:
        raise UsageError(f"decimals={decimals} and grid={str(grid)!r} are both given", "give one of them")
    chosen = {one: _grid(asked) for one, asked in (targets or {}).items()}
    selectors = [Selector(kind=SelectorKind.TARGET, pattern=one, grid=found) for one, found in chosen.items()]
    default = _grid(decimals if grid is None else grid)
    return round_file(Path(model), _path(output), selectors, grid=default, force=force)


def evaluate(
    model: _File, reference: _File | None = None, *, data: str, directory: _File | None = None,
    preprocess: str | None = None, provider: str = "cpu",
) -> "Evaluation":  # fmt: skip
    """Evaluate a model on labelled images, and against a reference image by image.

    Args:
        model: ONNX.
        reference: the full-precision model; None: accuracy alone.
        data: what `precbench evaluate --data` takes: digits, cifar10, a study, `folder:PATH`, or an `.npz`.
        directory: where cifar10 lies.
        preprocess: "tf", "torch", "caffe" or "none"; else as the model's metadata says.
        provider: "cpu", "cuda", "tensorrt" or "auto".

    Returns:
        Accuracy with its interval, the confusion matrix, and the flips with their paired interval.

    Raises:
        PrecbenchError: the data do not fit the model, or it cannot be run.
    """
    from precbench.bench.sessions import open_model
    from precbench.runtime import SessionSettings
    from precbench.study.evaluation import evaluate as evaluate_model
    from precbench.study.evaluation import load_data, preprocessing_for

    settings = SessionSettings(provider=provider)
    session = open_model(Path(model), settings)
    loaded = load_data(data, session, split="test", seed=0, directory=_path(directory))
    return evaluate_model(
        session,
        loaded,
        reference=None if reference is None else open_model(Path(reference), settings),
        preprocessing=None if preprocess is None else preprocessing_for(session, preprocess, loaded),
    )


def benchmark(
    base: _File, *variants: _File, budget_s: float = 60.0, margin: float = 0.01, batches: Sequence[int] = (32,),
    provider: str = "cpu", threads: int = 1, seed: int = 0,
) -> "Benchmark":  # fmt: skip
    """Time variants against their base, interleaved in fresh processes with the base a second time as a control.

    Args:
        base: ONNX, full precision.
        variants: ONNX, at least one.
        budget_s: seconds for all batch sizes together.
        margin: a ratio within this fraction of 1 counts as equivalent.
        batches: samples per call.
        provider: "cpu", "cuda", "tensorrt" or "auto".
        threads: intra-op threads of a session.
        seed: of the inputs and the orders.

    Returns:
        The record; `to_json()` gives plain values with every verdict.

    Raises:
        PrecbenchError: a model cannot be timed as asked.
    """
    from precbench.bench.benchmark import benchmark as time_models
    from precbench.bench.inputs import inputs_for_batches
    from precbench.bench.options import TimingOptions
    from precbench.runtime import SessionSettings

    settings = SessionSettings(provider=provider, intra_op_threads=threads)
    inputs = inputs_for_batches(Path(base), settings, batches, file=None, seed=seed, shapes={})
    options = TimingOptions(budget_s=budget_s, margin=margin, seed=seed)
    models = [Path(one) for one in variants]
    record = time_models(Path(base), models, settings=settings, inputs=inputs, options=options)
    if record.failure is not None:
        raise record.failure
    if not record.complete:
        raise KeyboardInterrupt
    return record


def compare(first: _File, second: _File) -> "RunComparison":
    """Set two records of `precbench bench`, or of `benchmark`, side by side, and say what differs between them.

    Args:
        first: JSON, with its samples beside it.
        second: another one.

    Returns:
        Each variant's ratio and verdict in both, and every difference in settings, session, inputs and environment.

    Raises:
        PrecbenchError: one is no record, or is damaged.
    """
    from precbench.bench.comparison import compare_records
    from precbench.bench.records import read_record

    return compare_records(read_record(Path(first)), read_record(Path(second)))


def deploy_model(
    model: _File, output: _File, *, form: str = "auto", data: str | None = None, directory: _File | None = None,
    max_drop_points: float | None = None, budget_s: float = 20.0, provider: str = "cpu", force: bool = False,
) -> "Deployed":  # fmt: skip
    """Write a folder with the model in a form that is smaller or faster, and what was measured of it.

    Args:
        model: ONNX, float32; for "packed" a rounded one.
        output: the folder to write.
        form: "packed", "int8", "fp16" or "auto".
        data: to calibrate, choose and report with; see `evaluate`.
        directory: where cifar10 lies.
        max_drop_points: accuracy that may be lost, by the end of the paired 95 % interval; with "auto" 0.5 where None.
        budget_s: how long to time; 0 leaves time unmeasured.
        provider: "cpu", "cuda", "tensorrt" or "auto".
        force: replace a deployed folder.

    Returns:
        Where it lies, the manifest, and whether it holds.

    Raises:
        PrecbenchError: the model cannot be had in that form, or the folder exists.
    """
    from precbench.bench.options import TimingOptions
    from precbench.bench.sessions import open_model
    from precbench.deploy.data import load_deployment_data
    from precbench.deploy.deploying import deploy
    from precbench.deploy.forms import parse_form
    from precbench.deploy.request import Request
    from precbench.runtime import SessionSettings

    settings = SessionSettings(provider=provider)
    request = Request(
        model=Path(model),
        output=Path(output),
        form=parse_form(form),
        max_drop_points=max_drop_points,
        settings=settings,
        timing=TimingOptions(budget_s=budget_s) if budget_s else None,
        force=force,
    )
    loaded = None
    if data is not None:
        loaded = load_deployment_data(data, open_model(Path(model), settings), directory=_path(directory))
    return deploy(request, loaded)


def verify(folder: _File, *, provider: str = "cpu") -> "Verification":
    """Check a deployed folder on this machine: digests, provider, outputs.

    Raises:
        PrecbenchError: it is no deployed folder, or its manifest is damaged.
    """
    from precbench.deploy.verifying import verify as verify_folder
    from precbench.runtime import SessionSettings

    return verify_folder(Path(folder), SessionSettings(provider=provider))


def run_study(
    study: str | Study, folder: _File | None = None, *, data: _File | None = None, weights: _File | None = None,
    checkpoint: _File | None = None, fresh: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Do a whole study, or what is missing of it, and return the results.

    They are also in the run folder: `results.json`, and `report.html` to look at.

    Args:
        study: a study, its file, or the name of one that comes with precbench.
        folder: the run folder; `runs/NAME` where not given.
        data: where the data set lies, where the study does not say.
        weights: ImageNet weights to begin with.
        checkpoint: a trained network to take in place of training.
        fresh: start over.

    Raises:
        PrecbenchError: a step cannot be done; what was finished before it stays.
    """
    from precbench.report.html.installed import check_installed

    check_installed(extra="keras")
    from precbench.report.html.making import write_report_of_run
    from precbench.study.material import Places
    from precbench.study.run import Run

    definition = study if isinstance(study, Study) else load_study(study)
    places = Places(data=_path(data), weights=_path(weights), checkpoint=_path(checkpoint))
    where = _path(folder) or Path("runs") / definition.name
    with Run(definition, where, places=places, fresh=fresh) as run:
        results = run.run()
        write_report_of_run(where, run.material.splits.test.images)
    return results


def write_report(*folders: _File, output: _File | None = None, data: _File | None = None, force: bool = False) -> Path:
    """Write the HTML report of a run with its deployed folders, or of several runs; return where it lies.

    Raises:
        PrecbenchError: there is no run among the folders, or the output exists.
    """
    from precbench.report.html.installed import check_installed

    check_installed()
    from precbench.report.html import making

    sources = [Path(folder) for folder in folders]
    return making.write_report(making.make_page(sources, data=_path(data)), sources, _path(output), force=force)


def _grid(value: "int | str | Grid | None") -> "Grid | None":
    from precbench.grids import DecimalGrid, parse_grid

    if isinstance(value, str):
        return parse_grid(value)
    return DecimalGrid(value) if isinstance(value, int) else value


def _path(value: _File | None) -> Path | None:
    return None if value is None else Path(value)
