"""What a study works on: its images, and the network that it begins with, wherever these lie on this machine."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from precbench.datasets import Dataset, Preprocessing, Splits, load_splits, source_digest
from precbench.errors import UsageError
from precbench.files import file_digest
from precbench.nearest import nearest
from precbench.progress import SILENT, Progress
from precbench.study.definition import Study

if TYPE_CHECKING:
    from precbench.checkpoints.saving import CheckpointFiles


TRAINING_STATE = "training-state.npz"
"""What an unfinished training goes on from, in the checkpoint's folder; removed by who has saved its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things lie on this machine that a study file names and does not hold.

    Args:
        data: folder (or archive) of the data set; None takes Keras's download where there is one.
        weights: ImageNet weights without the head, in Keras's H5; None takes Keras's download.
        checkpoint: a trained network to begin with in place of training: a folder with `architecture.json` and
            `weights.h5`, or a `.keras` file; None trains.
    """

    data: Path | None = None
    weights: Path | None = None
    checkpoint: Path | None = None


class Material:
    """The images and the network of a study; images are read once, when they are first asked for."""

    def __init__(self, study: Study, places: Places, progress: Progress = SILENT) -> None:
        """Check what can be checked without reading anything.

        Raises:
            PrecbenchError: the preprocessing is unknown, or a place is given that the study has no use for.
        """
        self._study, self.places, self._progress = study, places, progress
        self.preprocessing = Preprocessing.for_mode(study.architecture.preprocessing, study.architecture.input_size)
        if places.weights is not None and study.architecture.weights != "imagenet":
            raise UsageError(
                f"weights are given ({places.weights}), and the study begins with {study.architecture.weights} ones",
                'leave --weights out, or write weights = "imagenet" in [architecture]',
            )
        if places.weights is not None and places.checkpoint is not None:
            raise UsageError("weights to train from are given, and a checkpoint in place of training", "give one")
        if places.weights is not None:
            self._weights_given()
        if places.checkpoint is not None:
            self._given()

    def split(self, name: str) -> Dataset:
        """Return the train, validation or test images.

        Raises:
            UsageError: another split is asked for.
        """
        parts = dict(self.splits)
        if name not in parts:
            raise UsageError(f"there is no split {name!r}", f"{nearest(name, parts)}; choose {', '.join(parts)}")
        return parts[name]

    @cached_property
    def splits(self) -> Splits:
        """All three."""
        data = self._study.data
        return load_splits(
            data.source,
            size=data.size or self._study.architecture.input_size,
            seed=data.seed,
            fractions=data.fractions,
            directory=self._directory,
            on_bad_image=data.on_bad_image,
            note=self._progress.note,
        )

    def digest(self) -> str | None:
        """Return the digest of the data that can change; None for what is embedded."""
        return source_digest(self._study.data.source, directory=self._directory)

    def training_key(self, begun: Mapping[str, Any]) -> list[Any]:
        """Return all that a checkpoint depends on, as JSON.

        Args:
            begun: what is known of the checkpoint that a run began with: `make_checkpoint`'s facts, or nothing. What
                was given then and is not given now is meant still.

        Raises:
            UsageError: the run began with a checkpoint, and now weights to train from are given.
        """
        size = self._study.architecture.input_size
        if self.places.checkpoint is not None:
            return [self._given_digests(), size]
        if "given" in begun:
            if self.places.weights is not None:
                raise UsageError(
                    f"the run began with a checkpoint, and now weights to train from are given ({self.places.weights})",
                    "leave --weights out, or begin anew with --fresh",
                )
            return [begun["given"], size]
        sections = (self._study.data, self._study.architecture, self._study.training)
        weights = begun.get("weights") if self.places.weights is None else self._weights_digest()
        return [*(asdict(section) for section in sections), self.digest(), weights]

    def _given_digests(self) -> dict[str, str]:
        return {path.name: file_digest(path) for path in self._given() if path is not None}

    def _weights_digest(self) -> str | None:
        return None if self.places.weights is None else file_digest(self._weights_given())

    def make_checkpoint(
        self, folder: Path, begun: Mapping[str, Any] | None = None
    ) -> tuple["CheckpointFiles", dict[str, Any]]:
        """Train the network, or take the one that is given; write it into a folder.

        Args:
            folder: for the files.
            begun: as for `training_key`.

        Returns:
            The files, and what is worth knowing of how they came to be.

        Raises:
            UsageError: it has to be made anew from what the run began with, and that is not given now.
        """
        self._check_given_again(begun or {})
        from precbench.checkpoints.saving import save_checkpoint

        if self.places.checkpoint is not None:
            from precbench.checkpoints.loading import load_model

            model = load_model(*self._given())
            self._check_fits(model.input_shape, model.output_shape)
            self._progress.note(f"beginning with the checkpoint {self.places.checkpoint}")
            return save_checkpoint(model, folder), {"given": self._given_digests()}
        return self._train(folder)

    def _check_given_again(self, begun: Mapping[str, Any]) -> None:
        for what, option, given in (
            ("given", "--checkpoint", self.places.checkpoint),
            ("weights", "--weights", self.places.weights),
        ):
            if begun.get(what) and given is None and self.places.checkpoint is None:
                raise UsageError(
                    f"the checkpoint has to be made anew, and the run began with a {option} that is not given now",
                    f"give it again with {option}, or begin anew with --fresh",
                )

    def _check_fits(self, takes: Any, gives: Any) -> None:
        """Refuse a checkpoint of other classes or images than the study's."""
        expected = (None, *self.preprocessing.size, 3), (None, len(self.splits.train.class_names))
        if (takes, gives) != expected:
            raise UsageError(
                f"the checkpoint {self.places.checkpoint} takes {takes} and gives {gives}, the study's images and "
                f"classes ask for {expected[0]} and {expected[1]}",
                "give a checkpoint of one input and one output of these shapes, or change [data] and [architecture]",
            )

    def _train(self, folder: Path) -> tuple["CheckpointFiles", dict[str, Any]]:
        from precbench.checkpoints.architectures import build
        from precbench.checkpoints.saving import save_checkpoint
        from precbench.checkpoints.training import train

        architecture, splits, training = self._study.architecture, self.splits, self._study.training
        self._progress.note(
            f"training {architecture.name} on {self._study.data.source}, {training.epochs} epochs; "
            f"first TensorFlow builds its graph"
        )
        model = build(
            architecture.name,
            input_size=architecture.input_size,
            classes=len(splits.train.class_names),
            alpha=architecture.alpha,
            bn_momentum=training.bn_momentum,
            seed=training.seed,
            weights=self._pretrained(),
            dropout=architecture.dropout,
        )
        state = folder / TRAINING_STATE
        trained = train(model, splits, self.preprocessing, training, state=state, progress=self._progress)
        files = save_checkpoint(trained.model, folder, trained.history)
        return files, {
            "images": {name: len(part) for name, part in splits},
            "weights": self._weights_digest(),
            "kept_epoch": trained.kept_epoch,
            "history": [asdict(epoch) for epoch in trained.history],
            "versions": _versions(),
        }

    @cached_property
    def _directory(self) -> Path | None:
        if self._study.data.source != "cifar10" or self.places.data is not None:
            return self.places.data
        from precbench.checkpoints.downloads import cifar10_folder

        return cifar10_folder()

    def _pretrained(self) -> Path | Literal["imagenet"] | None:
        if self._study.architecture.weights != "imagenet":
            return None
        return "imagenet" if self.places.weights is None else self._weights_given()

    def _weights_given(self) -> Path:
        path = self.places.weights
        if path is None or not path.is_file():
            raise UsageError(f"there is no file {path}", "name the ImageNet weights with --weights")
        return path

    def _given(self) -> tuple[Path, Path | None]:
        """The model's file, and its weights where they are apart."""
        path = self.places.checkpoint
        assert path is not None
        if path.is_file():
            return path, None
        pair = path / "architecture.json", path / "weights.h5"
        for file in pair:
            if not file.is_file():
                raise UsageError(
                    f"the checkpoint {path} has no {file.name}",
                    "name a folder with architecture.json and weights.h5, or a .keras file",
                )
        return pair


def _versions() -> Mapping[str, str]:
    import importlib.metadata

    packages = ("keras", "numpy", "scikit-learn", "tensorflow")
    return {name: importlib.metadata.version(name) for name in packages}
