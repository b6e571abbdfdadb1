"""What a stage depends on is in its key: a change asks for the work again, and nothing else does."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from precbench.errors import DataError, OutputError, ProviderError, UsageError
from precbench.runtime.providers import nvidia_device_present
from precbench.study import run as run_module
from precbench.study.definition import Study, load_study
from precbench.study.journal import Stage
from precbench.study.material import Material, Places
from precbench.study.run import Run


@pytest.fixture
def study(tmp_path: Path) -> Study:
    write_images(tmp_path / "photos.npz", seed=1)
    digits = load_study("mobilenetv2-digits")
    return replace(digits, data=replace(digits.data, source=f"npz:{tmp_path / 'photos.npz'}"))


def write_images(path: Path, *, seed: int) -> None:
    rng = np.random.default_rng(seed)
    np.savez(path, images=rng.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8), labels=np.arange(30) % 3)


@pytest.fixture
def checkpoint_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Study], str]:
    def train(self: Run, key: str, begun: Mapping[str, Any]) -> Stage:
        del begun
        return Stage(key=key, files={}, facts={})

    monkeypatch.setattr(Run, "_train", train)

    def key(study: Study) -> str:
        with Run(study, tmp_path / "run") as run:
            return run.ensure_checkpoint().key

    return key


def test_other_images_under_the_same_name_are_trained_on_again(
    study: Study, checkpoint_key: Callable[[Study], str], tmp_path: Path
) -> None:
    first = checkpoint_key(study)
    assert checkpoint_key(study) == first
    write_images(tmp_path / "photos.npz", seed=2)
    assert checkpoint_key(study) != first


def test_timing_and_decimals_do_not_ask_for_another_training(
    study: Study, checkpoint_key: Callable[[Study], str]
) -> None:
    other = replace(
        study,
        timing=replace(study.timing, budget_s=1.0),
        experiment=(replace(study.experiment[0], decimals=(3,)),),
    )
    assert checkpoint_key(other) == checkpoint_key(study)
    longer = replace(study, training=replace(study.training, epochs=99))
    assert checkpoint_key(longer) != checkpoint_key(study)


def test_missing_data_is_refused(study: Study, checkpoint_key: Callable[[Study], str], tmp_path: Path) -> None:
    (tmp_path / "photos.npz").unlink()
    with pytest.raises(DataError, match="there is no file"):
        checkpoint_key(study)


def test_another_machine_or_runtime_asks_for_another_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    here = run_module._machine()
    found: dict[str, Any] = {**run_module.environment(), "cpu_model": "another"}
    monkeypatch.setattr(run_module, "environment", lambda: found)
    assert run_module._machine() != here
    found |= {"cpu_model": here["cpu_model"], "packages": {**found["packages"], "pyarrow": "0", "nvidia-ml-py": "0"}}
    assert run_module._machine() == here  # what no time depends on
    found["packages"]["onnxruntime"] = "0"
    assert run_module._machine() != here


def test_a_provider_that_there_is_not_is_refused_before_any_work(study: Study, tmp_path: Path) -> None:
    wrong = replace(study, timing=replace(study.timing, provider="gpuu"))
    with pytest.raises(UsageError, match="there is no execution provider 'gpuu'"):
        Run(wrong, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_preprocessing_that_there_is_not_is_refused_before_any_work(study: Study, tmp_path: Path) -> None:
    wrong = replace(study, architecture=replace(study.architecture, preprocessing="tff"))
    with pytest.raises(DataError, match="'tff' is unknown"):
        Run(wrong, tmp_path / "run")


def test_a_folder_that_cannot_be_made_is_refused_before_any_work(study: Study, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is not a writable directory"):
        Run(study, tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("begun", "option"),
    [({"given": {"weights.h5": "sha256:1"}}, "--checkpoint"), ({"weights": "sha256:1"}, "--weights")],
)
def test_what_a_run_began_with_is_asked_for_again_where_the_checkpoint_has_to_be_made_anew(
    study: Study, tmp_path: Path, begun: dict[str, Any], option: str
) -> None:
    material = Material(study, Places())
    with pytest.raises(UsageError, match=rf"the run began with a {option} that is not given now\ngive it again with"):
        material.make_checkpoint(tmp_path / "checkpoint", begun)
    assert not (tmp_path / "checkpoint").exists()


def test_a_checkpoint_that_was_given_is_meant_still_but_not_beside_weights_and_for_other_images(
    study: Study, tmp_path: Path
) -> None:
    begun = {"given": {"weights.h5": "sha256:1"}}
    key = Material(study, Places()).training_key(begun)
    longer = replace(study, training=replace(study.training, epochs=99))
    assert Material(longer, Places()).training_key(begun) == key
    larger = replace(study, architecture=replace(study.architecture, input_size=64))
    assert Material(larger, Places()).training_key(begun) != key
    (tmp_path / "w.h5").write_bytes(b"")
    pretrained = replace(study, architecture=replace(study.architecture, weights="imagenet"))
    with pytest.raises(UsageError, match="began with a checkpoint, and now weights to train from are given"):
        Material(pretrained, Places(weights=tmp_path / "w.h5")).training_key(begun)


@pytest.mark.skipif(nvidia_device_present(), reason="a GPU is here")
def test_a_gpu_that_there_is_not_is_refused_before_any_work(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    wrong = replace(study, timing=replace(study.timing, provider="cuda"))
    with pytest.raises(ProviderError, match="was built without CUDAExecutionProvider"):
        Run(wrong, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_too_few_validation_images_for_a_batch_are_refused_before_training(study: Study, tmp_path: Path) -> None:
    wrong = replace(study, timing=replace(study.timing, batch_size=64))
    with pytest.raises(UsageError, match="batch_size is 64, the validation split has 6 images"):
        Run(wrong, tmp_path / "run").ensure_checkpoint()
