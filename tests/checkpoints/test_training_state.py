import io
import json
import resource
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from precbench.checkpoints.history import Epoch
from precbench.checkpoints.training_state import TrainingState, read_state, write_state
from precbench.errors import OutputError, UsageError


def _state() -> TrainingState:
    rng = np.random.default_rng(3)
    rng.integers(0, 9, 7, dtype=np.uint32)
    epochs = tuple(
        Epoch(
            epoch=n,
            learning_rate=0.1 / n,
            train_loss=1 / 3,
            train_accuracy=0.5,
            validation_loss=float("inf"),
            validation_accuracy=2 / 3,
            elapsed_seconds=n * 1.1,
        )
        for n in (1, 2)
    )
    return TrainingState(
        key="sha256:1",
        history=epochs,
        kept_epoch=2,
        generator=rng.bit_generator.state,
        variables=(rng.standard_normal((2, 3)).astype(np.float32), np.array([1, 2], np.uint32)),
        optimizer=(np.array(625, np.int64), rng.standard_normal((2, 3)).astype(np.float32)),
        kept=(rng.standard_normal((2, 3)).astype(np.float32),),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_state(tmp_path / "state.npz", _state())
    return tmp_path / "state.npz"


def test_a_state_comes_back_bit_for_bit(path: Path) -> None:
    one, two = _state(), read_state(path, "sha256:1")
    assert two is not None
    for field in ("key", "history", "kept_epoch", "generator"):
        assert getattr(two, field) == getattr(one, field)
    for group in ("variables", "optimizer", "kept"):
        for ours, theirs in zip(getattr(one, group), getattr(two, group), strict=True):
            assert ours.tobytes() == theirs.tobytes()
            assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)


def test_the_generator_goes_on_with_the_same_numbers(path: Path) -> None:
    found = read_state(path, "sha256:1")
    assert found is not None
    one, two = np.random.default_rng(), np.random.default_rng()
    one.bit_generator.state, two.bit_generator.state = _state().generator, found.generator
    assert one.integers(0, 99, 9).tolist() == two.integers(0, 99, 9).tolist()


def test_no_file_is_no_state(tmp_path: Path) -> None:
    assert read_state(tmp_path / "state.npz", "sha256:1") is None


def test_the_state_of_another_training_is_refused(path: Path) -> None:
    with pytest.raises(UsageError, match="is of a training on other images, of another model or with other") as caught:
        read_state(path, "sha256:2")
    assert caught.value.remedy == "put them back to go on with it, or remove the file to train from the beginning"


def _with_header(path: Path, change: dict[str, Any]) -> None:
    with np.load(path) as arrays:
        members = dict(arrays)
    header = json.loads(members["header"].tobytes()) | change
    members["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **members)


def test_a_state_of_another_version_is_refused(path: Path) -> None:
    _with_header(path, {"version": 2})
    with pytest.raises(UsageError, match="has version 2, this precbench reads 1"):
        read_state(path, "sha256:1")


@pytest.mark.parametrize(
    "change", [{"history": [{"epoch": 1}]}, {"counts": {}}, {"counts": {"variables": 9}}, {"generator": 3}]
)
def test_a_header_that_is_not_ours_is_refused(path: Path, change: dict[str, Any]) -> None:
    _with_header(path, change)
    with pytest.raises(UsageError, match="is damaged"):
        read_state(path, "sha256:1")


@pytest.mark.parametrize("length", [0, 10, 500, -30])
def test_a_truncated_state_is_refused(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UsageError, match=r"the training state .* is damaged") as caught:
        read_state(path, "sha256:1")
    assert caught.value.remedy == "remove the file to train from the beginning"


def test_a_flipped_bit_is_noticed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    values = _state().kept[0].tobytes()
    content[content.index(values) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is damaged"):
        read_state(path, "sha256:1")


def test_a_pickle_is_not_loaded(path: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    held = io.BytesIO()
    np.lib.format.write_array(held, np.array([Trap()], object), allow_pickle=True)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"kept_0.npy": held.getvalue()}).items():
            archive.writestr(name, content)
    with pytest.raises(UsageError, match="is damaged"):
        read_state(path, "sha256:1")
    assert not (tmp_path / "ran").exists()


def test_an_archive_that_unpacks_to_more_than_it_holds_is_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("more.npy", bytes(10_000_000))
    with pytest.raises(UsageError, match="it declares 10,"):
        read_state(path, "sha256:1")


def test_a_state_that_cannot_be_written_leaves_the_one_before(path: Path) -> None:
    large = replace(_state(), kept=(np.zeros(100_000),), kept_epoch=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written: File too large"):
            write_state(path, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    found = read_state(path, "sha256:1")
    assert found is not None
    assert found.kept_epoch == 2
    assert list(path.parent.iterdir()) == [path]
