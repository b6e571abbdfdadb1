"""Run a study: train, export, round, evaluate, time. What was done before is found again by digest."""

import importlib.metadata
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import precbench
from precbench.accuracy import check_classes
from precbench.bench.benchmark import benchmark
from precbench.bench.inputs import BatchInputs
from precbench.bench.options import TimingOptions
from precbench.bench.samples_file import write_samples
from precbench.datasets import Dataset
from precbench.errors import NoTimeError, UsageError
from precbench.files import check_output, file_digest, value_digest, write_json
from precbench.graph import (
    OnnxModel,
    Plan,
    Selector,
    list_initializers,
    load_model,
    select,
    take_census,
)
from precbench.graph.targets import default_targets
from precbench.grids import DecimalGrid, Grid
from precbench.progress import SILENT, Progress
from precbench.runtime import SessionSettings, environment
from precbench.runtime.providers import check_listed
from precbench.study.compression import ZSTD_LEVEL, compressed_bytes
from precbench.study.definition import Study
from precbench.study.experiments import Point, points_of
from precbench.study.journal import Stage, State
from precbench.study.material import TRAINING_STATE, Material, Places
from precbench.study.points import BASE, EvaluationSet, evaluate_points, labels_key, point_key
from precbench.study.results import Row, accuracy_json, base_json, rows_by_experiment, winner
from precbench.study.rounding import RoundedFile, round_onnx, short_name
from precbench.study.run_folder import BASE_MODEL, RESULTS, VARIANT_STAGE, RunFolder

SCHEMA_VERSION = 2
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,-]{0,99}")


class Run:
    """A study in its run folder, which no other process works in until it is closed.

    Each `ensure_…` makes what is missing, and what that needs, and says what it found.
    """

    def __init__(
        self,
        study: Study,
        folder: Path,
        *,
        places: Places | None = None,
        fresh: bool = False,
        progress: Progress = SILENT,
    ) -> None:
        """Open the run folder, or begin it; `fresh` starts over.

        Args:
            study: what to do.
            folder: where.
            places: of what lies elsewhere on this machine.
            fresh: forget what was done.
            progress: told of everything.

        Raises:
            PrecbenchError: the folder cannot be used, or the study asks for what there is not.
        """
        self.study = study
        self.material = Material(study, places or Places(), progress)
        if self._session_settings().provider in ("cuda", "tensorrt"):
            check_listed(study.timing.provider)
        check_output(folder / RESULTS, force=True)
        given = self.material.places.checkpoint
        if fresh and given is not None and given.resolve().is_relative_to(folder.resolve()):
            raise UsageError(
                f"the checkpoint {given} lies in the run folder that --fresh empties", "copy it elsewhere first"
            )
        self.folder = RunFolder(folder, study=study.to_json(), fresh=fresh)
        if fresh:
            (folder / "checkpoint" / TRAINING_STATE).unlink(missing_ok=True)
        self.progress = progress
        self._found: dict[str, None] = {}
        self._made: set[str] = set()

    def __enter__(self) -> Self:
        """Return the run itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let another process work in the folder."""
        self.close()

    def close(self) -> None:
        """Let another process work in the folder."""
        self.folder.close()

    def ensure_checkpoint(self) -> Stage:
        """Train the study's network, unless that was done with the same data, architecture and training.

        A checkpoint or weights that the run began with need not be given again.
        """
        begun = self.folder.stages().get("checkpoint")
        facts = {} if begun is None else begun.facts
        key = value_digest(self.material.training_key(facts))
        found = self._find("checkpoint", key)
        return found if found is not None else self._train(key, facts)

    def ensure_base(self) -> Path:
        """Export the checkpoint to `base.onnx`, checked against Keras on the study's validation images."""
        checkpoint = self.ensure_checkpoint()
        groups = {name: list(patterns) for name, patterns in self.study.groups.items()}
        preprocessing = self.material.preprocessing.to_json()
        key = value_digest([_pair(checkpoint), groups, preprocessing, self.material.digest(), precbench.__version__])
        if self._find("base", key) is None:
            self._export(key, checkpoint)
        return self.folder / BASE_MODEL

    def ensure_variant(self, selectors: Sequence[Selector] = (), *, grid: Grid | None = None) -> tuple[str, Stage]:
        """Round the base model; returns the variant's name, with the stage whose facts say what was rounded."""
        model = load_model(self.ensure_base())
        initializers = list_initializers(model)
        plan = select(initializers, selectors, grid=grid)
        is_uniform = grid is not None and plan == select(initializers, grid=grid)
        name = short_name(grid) if grid is not None and is_uniform else _plan_name(plan)
        decimals = grid.decimals if is_uniform and isinstance(grid, DecimalGrid) else None
        return name, self._ensure_file(name, model, plan, decimals)

    def variants(self) -> dict[str, Stage]:
        """Return the variants of the present base model that are done, by name."""
        stages = {
            name.removeprefix(VARIANT_STAGE): stage
            for name, stage in self.folder.stages().items()
            if name.startswith(VARIANT_STAGE)
        }
        base = file_digest(self.folder / BASE_MODEL)
        return {
            name: stage
            for name, stage in stages.items()
            if stage.facts["base"] == base and self.folder.find(VARIANT_STAGE + name, stage.key)
        }

    def variant_path(self, name: str) -> Path:
        """Return where a variant's model lies."""
        return self.folder / "variants" / f"{name}.onnx"

    def variant_record(self, name: str) -> dict[str, Any]:
        """Return what rounding did to each initializer of a variant."""
        path = self.variant_path(name)
        record: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return record | {"model": str(self.folder / BASE_MODEL), "output": str(path)}  # the folder may have moved

    def export_record(self) -> dict[str, Any]:
        """Export the checkpoint; returns what it was made from and the check that it passed."""
        base = self.ensure_base()
        stages = self.folder.stages()
        source = _pair(stages["checkpoint"])
        return {
            "source": source,
            "output": str(base),
            "groups_from": self.study.name,
            "check": stages["base"].facts["check"],
            "found": "base" in self._found,
        }

    def run(self) -> dict[str, Any]:
        """Do everything, and return the results, which are also in `results.json`.

        Raises:
            PrecbenchError: a step cannot be done; what was finished before it stays.
        """
        base = self.ensure_base()
        model = load_model(base)
        initializers = list_initializers(model)
        experiments = {one.name: points_of(one, initializers) for one in self.study.experiment}
        test = self._evaluate(base, model, [point for points in experiments.values() for point in points])
        rows = self._rows(experiments, test)
        targets = default_targets(initializers)
        elements = {i.name: i.elements for i in initializers if i.name in targets}
        winners = {name: winner(found, elements) for name, found in rows.items()}
        files = self._files(model, rows, winners)
        timing = self._time(files)
        key = value_digest(
            [self.study.to_json(), test.key, sorted(self.folder.journal.known_predictions()), timing, _versions()]
        )
        if self._find("results", key) is None:
            write_json(self.folder / RESULTS, self._results(base, rows, winners, files=files, timing=timing, test=test))
            self._finish("results", key, [RESULTS])
        self._say_what_was_found()
        results: dict[str, Any] = json.loads((self.folder / RESULTS).read_text(encoding="utf-8"))
        return results

    def _finish(self, stage: str, key: str, files: Sequence[str], facts: Mapping[str, Any] | None = None) -> Stage:
        self._made.add(stage)
        return self.folder.finish(stage, key, files, facts)

    def _say_why_anew(self, stage: str, what: str) -> None:
        if stage in self.folder.stages():
            self.progress.note(
                f"{stage}: made anew, since {what} is not as it was; what was there is replaced at the end"
            )

    def _say_what_was_found(self) -> None:
        if self._found:
            self.progress.note(f"found by digest in {self.folder.path}, not done again: {', '.join(self._found)}")

    def _find(self, stage: str, key: str) -> Stage | None:
        found = self.folder.find(stage, key)
        if found is not None and stage not in self._made:
            self._found[stage.removeprefix(VARIANT_STAGE)] = None
        return found

    def _train(self, key: str, begun: Mapping[str, Any]) -> Stage:
        self._check_timing_batch(self.material.split("validation"))
        self._say_why_anew("checkpoint", "the data, [architecture], [training] or what was given")
        files, facts = self.material.make_checkpoint(self.folder / "checkpoint", begun)
        self.folder.forget("base", "predictions", "timing", "results")
        done = self._finish("checkpoint", key, [f"checkpoint/{file.name}" for file in files.paths], facts)
        (self.folder / "checkpoint" / TRAINING_STATE).unlink(missing_ok=True)
        return done

    def _session_settings(self) -> SessionSettings:
        timing = self.study.timing
        return SessionSettings(provider=timing.provider, intra_op_threads=timing.intra_op_threads)

    def _check_timing_batch(self, validation: Dataset) -> None:
        batch = self.study.timing.batch_size
        if len(validation) < batch:
            raise UsageError(
                f"[timing] batch_size is {batch}, the validation split has {len(validation)} images", "give fewer"
            )

    def _export(self, key: str, checkpoint: Stage) -> Stage:
        from precbench.checkpoints.export import export_to_file
        from precbench.checkpoints.loading import load_model as load_keras

        self.folder.forget("predictions", "timing", "results")
        self.progress.note(f"exporting {self.folder / 'checkpoint'} to {self.folder / BASE_MODEL}")
        with self.progress.track("exporting", 2) as advance:
            model = load_keras(
                self.folder / "checkpoint" / "architecture.json", self.folder / "checkpoint" / "weights.h5"
            )
            advance(1)
            validation = self.material.split("validation")
            preprocessing = self.material.preprocessing
            check = export_to_file(
                model,
                self.folder / BASE_MODEL,
                source=_pair(checkpoint),
                preprocessing=preprocessing.to_json(),
                class_names=validation.class_names,
                groups=self.study.groups,
                check_inputs=preprocessing.apply(validation.images[:_CHECKED_IMAGES]),
            )
            advance(1)
        return self._finish("base", key, [BASE_MODEL], {"check": asdict(check)})

    def _ensure_file(self, name: str, model: OnnxModel, plan: Plan, decimals: int | None) -> Stage:
        key = value_digest([file_digest(self.folder / BASE_MODEL), plan.to_json(), precbench.__version__])
        found = self._find(VARIANT_STAGE + name, key)
        return found if found is not None else self._round(name, key, model, plan, decimals)

    def _round(self, name: str, key: str, model: OnnxModel, plan: Plan, decimals: int | None) -> Stage:
        base, path = self.folder / BASE_MODEL, self.variant_path(name)
        done = round_onnx(model, plan, path)
        digest = file_digest(base)
        record = RoundedFile(
            model=base, model_digest=digest, output=path, plan=plan, outcomes=done.outcomes, notes=done.notes
        ).to_json()
        write_json(path.with_suffix(".json"), {"schema_version": 1, **record})
        facts = {
            "decimals": decimals,
            "base": record["model_digest"],
            "elements": record["elements"],
            "changed": record["changed"],
        }
        return self._finish(VARIANT_STAGE + name, key, [f"variants/{name}.onnx", f"variants/{name}.json"], facts)

    def _evaluate(self, base: Path, model: OnnxModel, points: Sequence[Point]) -> EvaluationSet:
        """Predict the test images with full precision and at every point; what is in the journal is not done again."""
        test = EvaluationSet.of(self.material.split("test"), self.study.data, base)
        before = self.folder.stages().get("predictions")
        if before is not None and before.key != test.key:
            self.folder.forget("results")
        keys = {"base": point_key(test, BASE), "labels": labels_key(test)}
        self._finish("predictions", test.key, [], keys)  # so that the journal can be read without the images, any time
        evaluate_points(base, model, points, test, self.folder.journal, progress=self.progress)
        return test

    def _rows(self, experiments: Mapping[str, Sequence[Point]], test: EvaluationSet) -> dict[str, list[Row]]:
        journal = self.folder.journal
        base = journal.predictions(point_key(test, BASE))
        assert base is not None
        return rows_by_experiment(
            experiments,
            journal,
            base=base.classes,
            labels=check_classes(test.labels),
            accuracy=self.study.accuracy,
        )

    def _files(
        self, model: OnnxModel, rows: Mapping[str, Sequence[Row]], winners: Mapping[str, Row | None]
    ) -> dict[str, Plan]:
        """Save the variants that are timed, each once; return their names with their plans."""
        files: dict[str, Plan] = {}
        chosen = [*self._timed_rows(rows, winners)]
        with self.progress.track("saving variants", len(chosen)) as advance:
            for row in chosen:
                plan = row.point.plan
                if plan not in files.values():
                    is_plain = _PLAIN_NAME.fullmatch(row.point.name) and row.point.name not in files
                    name = row.point.name if is_plain else _plan_name(plan)
                    decimals = next(iter(row.point.parts.values())) if [*row.point.parts] == ["all"] else None
                    self._ensure_file(name, model, plan, decimals)
                    files[name] = plan
                advance(1)
        return files

    def _timed_rows(self, rows: Mapping[str, Sequence[Row]], winners: Mapping[str, Row | None]) -> Iterator[Row]:
        timed = self.study.timed_experiments
        for name in timed:
            yield from (row for row in rows[name] if row.state is State.DONE)
        for name, row in winners.items() if self.study.timing.winners else ():
            if row is not None and name not in timed:
                yield row

    def _time(self, files: Mapping[str, Plan]) -> Mapping[str, Any] | None:
        """Time the saved variants; nothing else runs meanwhile."""
        if not files:
            return None
        timing = self.study.timing
        base = self.folder / BASE_MODEL
        paths = [self.variant_path(name) for name in files]
        digests = [file_digest(path) for path in (base, *paths)]
        asked = {key: value for key, value in asdict(timing).items() if key not in ("experiments", "winners")}
        key = value_digest([[*files], digests, asked, self.material.digest(), _machine()])
        found = self._find("timing", key)
        if found is not None:
            return found.facts
        self._say_why_anew("timing", "the models, [timing], the machine or a package")
        validation = self.material.split("validation")
        self._check_timing_batch(validation)
        images = validation.images[: timing.batch_size]
        inputs = BatchInputs(
            batch=timing.batch_size,
            feeds={_input_name(base): self.material.preprocessing.apply(images)},
            recipe={"source": self.study.data.source, "split": "validation", "images": timing.batch_size},
        )
        try:
            result = benchmark(
                base,
                paths,
                settings=self._session_settings(),
                inputs=[inputs],
                options=TimingOptions(budget_s=timing.budget_s, margin=timing.margin, seed=timing.seed),
                progress=self.progress,
            )
        except NoTimeError as error:
            raise UsageError(error.problem, "write a larger budget_s or a smaller batch_size in [timing]") from error
        record = result.to_json()
        partial = [self.folder / f"timing.partial.{kind}" for kind in ("json", "parquet")]
        if not result.complete:  # what was measured is kept, beside a finished measurement; the next run measures anew
            write_json(partial[0], record)
            write_samples(partial[1], result.samples())
            self.progress.note(
                f"timing {record['ended']}; what was measured is in {partial[0]}; timing begins anew next time"
            )
            raise result.failure or KeyboardInterrupt
        self.folder.forget("results")  # of the measurement that is replaced now
        write_json(self.folder / "timing.json", record)
        write_samples(self.folder / "timing.parquet", result.samples())
        for path in partial:
            path.unlink(missing_ok=True)
        return self._finish("timing", key, ["timing.json", "timing.parquet"], _timing_facts(record)).facts

    def _results(
        self,
        base: Path,
        rows: Mapping[str, Sequence[Row]],
        winners: Mapping[str, Row | None],
        *,
        files: Mapping[str, Plan],
        timing: Mapping[str, Any] | None,
        test: EvaluationSet,
    ) -> dict[str, Any]:
        targets = set(default_targets(list_initializers(load_model(base))))
        predicted = self.folder.journal.predictions(point_key(test, BASE))
        assert predicted is not None
        about = {}
        with self.progress.track("measuring files", 1 + len(files)) as advance:
            for name in ["", *files]:
                path = self.variant_path(name) if name else base
                about[name] = self._about_file(path, targets)
                advance(1)
        names = {value_digest(plan.to_json()): name for name, plan in files.items()}

        def row_json(row: Row) -> dict[str, Any]:
            name = names.get(value_digest(row.point.plan.to_json()))
            measured = None if name is None or timing is None else timing["variants"][name]
            return {**row.to_json(), "file": None if name is None else about[name], "timing": measured}

        return {
            "schema_version": SCHEMA_VERSION,
            "study": self.study.to_json(),
            "base": {**base_json(predicted.classes, test.labels, test.class_names), **about[""]},
            **accuracy_json(self.study, rows, len(test.labels), row_json),
            "winners": {name: None if row is None else row.point.name for name, row in winners.items()},
            "control": None if timing is None else timing["control"],
            "timing": None
            if timing is None
            else {key: timing[key] for key in ("session", "settings", "inputs", "environment", "warnings")},
            "environment": environment(),
            "zstd_level": ZSTD_LEVEL,
        }

    def _about_file(self, path: Path, targets: set[str]) -> dict[str, Any]:
        return {
            "file": str(path.relative_to(self.folder.path)),
            "file_bytes": path.stat().st_size,
            "zstd_bytes": compressed_bytes(path),
            "targets": asdict(take_census(load_model(path), targets).total),
        }


_CHECKED_IMAGES = 1000


def _plan_name(plan: Plan) -> str:
    return f"plan-{value_digest(plan.to_json())[7:15]}"


def _timing_facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the results need of a benchmark's record: the variants, by their names as arms, and the conditions."""
    (measured,) = record["measurements"]
    comparisons = {one["arm"]: one for one in measured["comparisons"]}
    return {
        "variants": comparisons,
        "control": next(iter(comparisons.values()))["control_ratio"],
        "arms": measured["arms"],
        "session": record["session"],
        "settings": record["settings"],
        "inputs": measured["inputs"],
        "environment": record["environment"],
        "warnings": [*record["warnings"], *measured["warnings"]],
    }


def _pair(checkpoint: Stage) -> dict[str, str]:
    """The paper's pair, which is what is exported; the `.keras` file beside it carries the date it was saved."""
    return {name: digest for name, digest in checkpoint.files.items() if name.endswith((".json", ".h5"))}


def _machine() -> dict[str, Any]:
    """What a time depends on beside the models: another processor or runtime asks for another measurement."""
    found = environment()
    packages = {name: found["packages"].get(name) for name in ("onnxruntime", "onnxruntime-gpu", "numpy", "precbench")}
    return {**{key: found[key] for key in ("cpu_model", "affinity", "cpu_limit", "gpus")}, "packages": packages}


def _input_name(model: Path) -> str:
    return str(load_model(model).proto.graph.input[0].name)


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("numpy", "onnx")} | {"precbench": precbench.__version__}
