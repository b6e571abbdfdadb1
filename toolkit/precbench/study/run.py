"""Run a study: train, export, round, evaluate, time. Each step is found again by digest when it was done before."""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zstandard
from numpy.typing import NDArray

import precbench
from precbench.bench.benchmark import benchmark
from precbench.bench.inputs import BatchInputs
from precbench.bench.options import TimingOptions
from precbench.bench.samples_file import write_samples
from precbench.bench.sessions import open_model
from precbench.datasets import Dataset, Preprocessing, source_digest
from precbench.errors import UsageError
from precbench.files import check_output, file_digest, value_digest, write_atomically, write_json
from precbench.graph import (
    OnnxModel,
    Plan,
    Selector,
    list_initializers,
    load_model,
    select,
    take_census,
)
from precbench.progress import SILENT, Progress
from precbench.runtime import SessionSettings, environment
from precbench.study.definition import Study
from precbench.study.evaluation import (
    EvaluationData,
    compare,
    load_study_splits,
    run_model,
    study_split,
)
from precbench.study.rounding import RoundedFile, round_onnx
from precbench.study.run_folder import RunFolder, Stage

if TYPE_CHECKING:
    from precbench.checkpoints.training import CheckpointFiles

SCHEMA_VERSION = 1
ZSTD_LEVEL = 10
BASE_MODEL = "base.onnx"
RESULTS = "results.json"
_VARIANT_STAGE = "variant:"


class Run:
    """A study in its run folder. Each `ensure_…` makes what is missing, and what that needs, and says what it found."""

    def __init__(self, study: Study, folder: Path, *, fresh: bool = False, progress: Progress = SILENT) -> None:
        """Open the run folder, or begin it; `fresh` starts over.

        Raises:
            PrecbenchError: the folder cannot be used, or the study asks for what there is not.
        """
        self.study = study
        self._preprocessing()
        self._session_settings()
        check_output(folder / RESULTS, force=True)
        self.folder = RunFolder(folder, study=study.to_json(), fresh=fresh)
        self.progress = progress
        self._found: dict[str, None] = {}
        self._made: set[str] = set()

    def ensure_checkpoint(self) -> Stage:
        """Train the study's network, unless that was done with the same data, architecture and training."""
        sections = (self.study.data, self.study.architecture, self.study.training)
        key = value_digest([*(asdict(section) for section in sections), self._source_digest()])
        found = self._find("checkpoint", key)
        return found if found is not None else self._train(key)

    def ensure_base(self) -> Path:
        """Export the checkpoint to `base.onnx`, checked against Keras on the study's validation images."""
        checkpoint = self.ensure_checkpoint()
        groups = {name: list(patterns) for name, patterns in self.study.groups.items()}
        preprocessing = self.study.architecture.preprocessing
        key = value_digest([_pair(checkpoint), groups, preprocessing, self._source_digest(), precbench.__version__])
        if self._find("base", key) is None:
            self._export(key, checkpoint)
        return self.folder / BASE_MODEL

    def ensure_variant(self, selectors: Sequence[Selector] = (), *, decimals: int | None = None) -> tuple[str, Stage]:
        """Round the base model; returns the variant's name, with the stage whose facts say what was rounded."""
        base = self.ensure_base()
        model = load_model(base)
        initializers = list_initializers(model)
        plan = select(initializers, selectors, decimals=decimals)
        is_uniform = decimals is not None and plan == select(initializers, decimals=decimals)
        name = f"dp{decimals}" if is_uniform else f"plan-{value_digest(plan.to_json())[7:15]}"
        key = value_digest([file_digest(base), plan.to_json(), precbench.__version__])
        found = self._find(_VARIANT_STAGE + name, key)
        return name, found if found is not None else self._round(
            name, key, model, plan, decimals if is_uniform else None
        )

    def variants(self) -> dict[str, Stage]:
        """Return the variants of the present base model that are done, by name."""
        stages = {
            name.removeprefix(_VARIANT_STAGE): stage
            for name, stage in self.folder.stages().items()
            if name.startswith(_VARIANT_STAGE)
        }
        base = file_digest(self.folder / BASE_MODEL)
        return {
            name: stage
            for name, stage in stages.items()
            if stage.facts["base"] == base and self.folder.find(_VARIANT_STAGE + name, stage.key)
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
        names = [self.ensure_variant(decimals=n)[0] for n in self.study.experiment.decimals]
        evaluations = self._evaluate(["base", *names])
        timing = self._time(names)
        facts = [dict(evaluation) for evaluation in evaluations.values()]
        key = value_digest([self.study.to_json(), names, facts, timing, precbench.__version__])
        if self._find("results", key) is None:
            write_json(self.folder / RESULTS, self._results(base, names, evaluations, timing))
            self._finish("results", key, [RESULTS])
        self._say_what_was_found()
        results: dict[str, Any] = json.loads((self.folder / RESULTS).read_text(encoding="utf-8"))
        return results

    def _finish(self, stage: str, key: str, files: Sequence[str], facts: Mapping[str, Any] | None = None) -> Stage:
        self._made.add(stage)
        return self.folder.finish(stage, key, files, facts)

    def _say_what_was_found(self) -> None:
        if self._found:
            self.progress.note(f"found by digest in {self.folder.path}, not done again: {', '.join(self._found)}")

    def _find(self, stage: str, key: str) -> Stage | None:
        found = self.folder.find(stage, key)
        if found is not None and stage not in self._made:
            self._found[stage.removeprefix(_VARIANT_STAGE)] = None
        return found

    def _train(self, key: str) -> Stage:
        from precbench.checkpoints.architectures import build
        from precbench.checkpoints.training import Training, save_checkpoint, train

        architecture, splits = self.study.architecture, load_study_splits(self.study)
        self._check_timing_batch(splits.validation)
        self.folder.begin()
        training = Training(**asdict(self.study.training))
        self.progress.note(
            f"training {architecture.name} on {self.study.data.source}, {training.epochs} epochs; "
            f"first TensorFlow builds its graph"
        )
        model = build(
            architecture.name,
            input_size=architecture.input_size,
            classes=len(splits.train.class_names),
            alpha=architecture.alpha,
            bn_momentum=training.bn_momentum,
            seed=training.seed,
        )
        trained = train(model, splits, self._preprocessing(), training, progress=self.progress)
        files = save_checkpoint(trained.model, self.folder / "checkpoint", trained.history)
        facts = {
            "images": {name: len(part) for name, part in splits},
            "kept_epoch": trained.kept_epoch,
            "history": [asdict(epoch) for epoch in trained.history],
            "versions": _versions(),
        }
        return self._finish("checkpoint", key, [f"checkpoint/{file.name}" for file in _paths(files)], facts)

    def _source_digest(self) -> str | None:
        """The bytes of data that can change; the embedded digits cannot."""
        return source_digest(self.study.data.source)

    def _session_settings(self) -> SessionSettings:
        timing = self.study.timing
        return SessionSettings(provider=timing.provider, intra_op_threads=timing.intra_op_threads)

    def _check_timing_batch(self, validation: Dataset) -> None:
        batch = self.study.timing.batch_size
        if len(validation) < batch:
            raise UsageError(
                f"[timing] batch_size is {batch}, the validation split has {len(validation)} images", "give fewer"
            )

    def _preprocessing(self) -> Preprocessing:
        architecture = self.study.architecture
        return Preprocessing.for_mode(architecture.preprocessing, architecture.input_size)

    def _export(self, key: str, checkpoint: Stage) -> Stage:
        from precbench.checkpoints.export import export_to_file
        from precbench.checkpoints.loading import load_model as load_keras

        self.progress.note(f"exporting {self.folder / 'checkpoint'} to {self.folder / BASE_MODEL}")
        with self.progress.track("exporting", 2) as advance:
            model = load_keras(
                self.folder / "checkpoint" / "architecture.json", self.folder / "checkpoint" / "weights.h5"
            )
            advance(1)
            validation = study_split(self.study, "validation")
            preprocessing = self._preprocessing()
            check = export_to_file(
                model,
                self.folder / BASE_MODEL,
                source=_pair(checkpoint),
                preprocessing=preprocessing.to_json(),
                class_names=validation.class_names,
                groups=self.study.groups,
                check_inputs=preprocessing.apply(validation.images),
            )
            advance(1)
        return self._finish("base", key, [BASE_MODEL], {"check": asdict(check)})

    def _round(self, name: str, key: str, model: OnnxModel, plan: Plan, decimals: int | None) -> Stage:
        base, path = self.folder / BASE_MODEL, self.variant_path(name)
        done = round_onnx(model, plan, path)
        digest = file_digest(base)
        record = RoundedFile(
            model=base, model_digest=digest, output=path, plan=plan, outcomes=done.outcomes, notes=done.notes
        ).to_json()
        write_json(path.with_suffix(".json"), {"schema_version": SCHEMA_VERSION, **record})
        facts = {
            "decimals": decimals,
            "base": record["model_digest"],
            "elements": record["elements"],
            "changed": record["changed"],
        }
        return self._finish(_VARIANT_STAGE + name, key, [f"variants/{name}.onnx", f"variants/{name}.json"], facts)

    def _model_path(self, name: str) -> Path:
        return self.folder / BASE_MODEL if name == "base" else self.variant_path(name)

    def _evaluate(self, names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Evaluate on the test split, each model once; the predictions are kept."""
        test = study_split(self.study, "test")
        data_key = value_digest([asdict(self.study.data), _digest(test.images), _digest(test.labels)])
        data = EvaluationData(
            description={
                "source": self.study.data.source,
                "split": "test",
                "seed": self.study.data.seed,
                "images": len(test),
            },
            images=test.images,
            labels=test.labels,
            class_names=test.class_names,
        )
        base_digest = file_digest(self.folder / BASE_MODEL)
        done: dict[str, Mapping[str, Any]] = {}
        with self.progress.track("evaluating", len(names)) as advance:
            for name in names:
                key = value_digest([file_digest(self._model_path(name)), base_digest, data_key, _packages()])
                stage = self.folder.find(f"evaluation:{name}", key) or self._evaluate_one(name, key, data)
                done[name] = stage.facts
                advance(1)
        return done

    def _evaluate_one(self, name: str, key: str, data: EvaluationData) -> Stage:
        path = self._model_path(name)
        session = open_model(path, SessionSettings())
        outputs = run_model(session, data, preprocessing=None)
        file = f"predictions/{name}.npz"
        (output, scores), *_ = outputs.items()
        write_atomically(self.folder / file, lambda temporary: np.savez_compressed(temporary, scores=scores))
        with np.load(self.folder / "predictions/base.npz", allow_pickle=False) as archive:
            expected = {output: archive["scores"]}
        evaluation = compare(outputs, expected, labels=data.labels, data=data.description, class_names=data.class_names)
        return self._finish(f"evaluation:{name}", key, [file], evaluation.to_json())

    def _time(self, names: Sequence[str]) -> Mapping[str, Any]:
        timing = self.study.timing
        base = self.folder / BASE_MODEL
        paths = [self.variant_path(name) for name in names]
        digests = [file_digest(path) for path in (base, *paths)]
        key = value_digest([names, digests, asdict(timing), self._source_digest(), _machine()])
        found = self._find("timing", key)
        if found is not None:
            return found.facts
        validation = study_split(self.study, "validation")
        self._check_timing_batch(validation)
        images = validation.images[: timing.batch_size]
        inputs = BatchInputs(
            batch=timing.batch_size,
            feeds={_input_name(base): self._preprocessing().apply(images)},
            recipe={"source": self.study.data.source, "split": "validation", "images": timing.batch_size},
        )
        result = benchmark(
            base,
            paths,
            settings=self._session_settings(),
            inputs=[inputs],
            options=TimingOptions(budget_s=timing.budget_s, margin=timing.margin, seed=timing.seed),
            progress=self.progress,
        )
        record = result.to_json()
        write_json(self.folder / "timing.json", record)
        write_samples(self.folder / "timing.parquet", result.samples())
        if not result.complete:  # what was measured is kept; the stage is not finished, so the next run measures anew
            self.progress.note(f"timing {record['ended']}; what was measured is in {self.folder / 'timing.json'}")
            raise result.failure or KeyboardInterrupt
        return self._finish("timing", key, ["timing.json", "timing.parquet"], _timing_facts(record)).facts

    def _results(
        self, base: Path, names: Sequence[str], evaluations: Mapping[str, Mapping[str, Any]], timing: Mapping[str, Any]
    ) -> dict[str, Any]:
        targets = {i.name for i in list_initializers(load_model(base)) if i.group is not None}
        rows = []
        with self.progress.track("measuring files", 1 + len(names)) as advance:
            for name in ["base", *names]:
                rows.append(self._row(name, targets, evaluations[name], timing))
                advance(1)
        return {
            "schema_version": SCHEMA_VERSION,
            "study": self.study.to_json(),
            "models": rows,
            "control": timing["control"],
            "timing": {key: timing[key] for key in ("session", "settings", "inputs", "environment", "warnings")},
            "zstd_level": ZSTD_LEVEL,
        }

    def _row(
        self, name: str, targets: set[str], evaluation: Mapping[str, Any], timing: Mapping[str, Any]
    ) -> dict[str, Any]:
        path = self._model_path(name)
        facts = {} if name == "base" else self.folder.stages()[_VARIANT_STAGE + name].facts
        return {
            "name": name,
            "file": str(path.relative_to(self.folder.path)),
            "decimals": facts.get("decimals"),
            "changed": facts.get("changed"),
            "accuracy": evaluation["accuracy"],
            "flips": evaluation["flips"] if name != "base" else None,
            "timing": timing["variants"][name] if name != "base" else None,
            "file_bytes": path.stat().st_size,
            "zstd_bytes": compressed_bytes(path),
            "targets": asdict(take_census(load_model(path), targets).total),
        }


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


def compressed_bytes(path: Path) -> int:
    """Return how many bytes a file has after zstd at `ZSTD_LEVEL`."""
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    return len(compressor.compress(path.read_bytes()))


def _packages() -> dict[str, Any]:
    return dict(environment()["packages"])


def _machine() -> dict[str, Any]:
    """What a time depends on beside the models: another processor or runtime asks for another measurement."""
    found = environment()
    return {key: found[key] for key in ("cpu_model", "affinity", "cpu_limit", "gpus", "packages")}


def _digest(array: NDArray[Any] | None) -> str | None:
    import hashlib

    return None if array is None else hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _paths(files: "CheckpointFiles") -> tuple[Path, ...]:
    return (files.architecture, files.weights, files.model, files.history)


def _input_name(model: Path) -> str:
    return str(load_model(model).proto.graph.input[0].name)


def _versions() -> dict[str, str]:
    packages = ("keras", "numpy", "scikit-learn", "tensorflow")
    return {name: importlib.metadata.version(name) for name in packages}
