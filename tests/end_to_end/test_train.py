"""`precbench train`: what it writes, and what of a folder's images stops it."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from precbench.cli import main
from precbench.errors import MissingDependencyError

pytestmark = pytest.mark.slow
pytest.importorskip("tensorflow")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_study: Path) -> Any:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["precbench", "train", *map(str, (tiny_study, *arguments))])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of two classes that differ in brightness, ten images each, of several sizes and kinds."""
    rng = np.random.default_rng(1)
    for name, low in (("dark", 0), ("light", 128)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(low, low + 128, (20 + number, 24, 3), dtype=np.uint8)
            image = Image.fromarray(pixels).convert(("RGB", "L", "RGBA")[number % 3])
            image.save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def test_a_network_is_trained_on_a_folder_and_saved_in_each_form(train: Any, photos: Path) -> None:
    status, out, err = train("--data", f"folder:{photos}", "--epochs", "2", "--batch-size", "4", "-o", "net", "--json")
    assert status == 0, err
    record = json.loads(out)
    assert record["class_names"] == ["dark", "light"]
    assert np.sum(record["confusion"]) == record["validation"]["total"] == 4
    held = {path.name for path in Path("net").iterdir()}
    pair = {"architecture.json", "weights.h5", "model.keras", "history.csv"}
    assert held == pair | {"confusion.csv", "training-curve.png", "training-curve.svg"}
    with Path("net/history.csv").open(newline="") as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["1", "2"]
    status, _, err = train("--data", f"folder:{photos}", "--epochs", "1", "--batch-size", "4", "-o", "net")
    assert status == 2
    assert "--force" in err
    import keras

    assert keras.saving.load_model("net/model.keras").input_shape[1:3] == (32, 32)


def test_files_of_others_are_not_replaced_and_an_unfinished_training_goes_on(
    train: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("net").mkdir()
    Path("net/weights.h5").write_bytes(b"hours of work")
    arguments = ("--data", f"folder:{photos}", "--epochs", "1", "--batch-size", "4", "-o", "net")
    status, _, err = train(*arguments)
    assert status == 2
    assert "weights.h5 exists already" in err
    assert Path("net/weights.h5").read_bytes() == b"hours of work"
    Path("net/weights.h5").unlink()

    def no_figure(*_arguments: Any) -> None:
        raise MissingDependencyError("figures need Altair", "install it")

    with monkeypatch.context() as patch:
        patch.setattr("precbench.report.training.write_training_curve", no_figure)
        status, _, err = train(*arguments)
    assert status == 2
    assert "figures need Altair" in err
    assert not Path("net/confusion.csv").exists()
    trained = Path("net/weights.h5").read_bytes()
    status, _, err = train(*arguments)
    assert status == 0, err
    assert Path("net/weights.h5").read_bytes() == trained
    assert Path("net/training-curve.png").exists()


def test_a_damaged_image_stops_it_or_is_left_out(train: Any, photos: Path) -> None:
    (photos / "dark" / "torn.png").write_bytes((photos / "dark" / "0.png").read_bytes()[:60])
    arguments = ("--data", f"folder:{photos}", "--epochs", "1", "--batch-size", "4", "-o", "net")
    status, _, err = train(*arguments)
    assert status == 2
    assert "torn.png" in err
    assert not Path("net").exists()
    status, _, err = train(*arguments, "--on-bad-image", "skip")
    assert status == 0
    assert "torn.png" in err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--architecture", "AlexNett"), "AlexNet"),
        (("--data", "folder:nowhere"), "nowhere"),
        (("--on-bad-image", "ignore"), "on_bad_image is 'ignore'"),
        (("--weights", "nowhere.h5"), "nowhere.h5"),
    ],
)
def test_what_cannot_be_trained(train: Any, arguments: tuple[str, ...], problem: str) -> None:
    status, _, err = train(*arguments, "-o", "net")
    assert status == 2
    assert problem in err
    assert not Path("net").exists()


def test_kernels_are_brought_onto_powers_of_two_from_a_checkpoint(train: Any, photos: Path) -> None:
    common = ("--data", f"folder:{photos}", "--epochs", "1", "--batch-size", "4")
    status, _, err = train(*common, "-o", "net")
    assert status == 0, err
    status, out, err = train(*common, "--checkpoint", "net", "--inq", "pow2:5", "-o", "rounded", "--json")
    assert status == 0, err
    record = json.loads(out)
    assert [step["portion"] for step in record["inq"]["steps"]] == [0.5, 0.75, 0.875, 1.0]
    assert len(record["history"]) == 3
    from precbench.checkpoints.incremental import kernels
    from precbench.checkpoints.loading import load_model

    for values in kernels(load_model(Path("rounded/model.keras"))).values():
        fractions, _ = np.frexp(np.abs(values[values != 0]))
        assert (fractions == 0.5).all()
    assert not [path for path in Path("rounded").iterdir() if path.suffix == ".npz"]


@pytest.mark.parametrize(
    ("more", "problem"),
    [(("--checkpoint", "net"), "nothing to do with it"), (("--inq", "pow2"), "'pow2' is no grid")],
)
def test_a_checkpoint_alone_and_a_misspelt_grid_are_refused(
    train: Any, photos: Path, more: tuple[str, ...], problem: str
) -> None:
    status, _, err = train("--data", f"folder:{photos}", *more, "-o", "rounded")
    assert status == 2
    assert problem in err
