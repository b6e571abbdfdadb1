"""`precbench screen` in words and in JSON."""

import json
from pathlib import Path

import pytest

SURE = ("--preprocess", "tf", "--margin", "10")


def test_each_layer_at_each_number_of_decimals_has_an_answer(precbench, model: Path, images: Path) -> None:
    result = precbench("screen", model, "--data", images, "--dp", "0,5", *SURE)
    assert result.status == 0
    assert "layer" in result.out
    assert "5 decimals" in result.out
    assert "image evaluations in place of 80" in " ".join(result.out.split())
    record = json.loads(precbench("screen", model, "--data", images, "--dp", "0,5", *SURE, "--json").out)
    answers = {(one["layer"], one["decimals"]): one for one in record["layers"]}
    assert [*answers] == [("head", 0), ("head", 5)]
    assert answers["head", 5]["answer"] == "holds"
    assert answers["head", 5]["lost"] == 0
    ran = [each["evaluated"] for each in answers.values()]
    assert record["evaluations"] == sum(ran) + max(ran)  # full precision on as many as any layer
    assert answers["head", 5]["evaluated"] < 40
    assert record["images"] == 40


def test_the_model_is_left_as_it_is_and_nothing_is_written(precbench, model: Path, images: Path) -> None:
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    assert precbench("screen", model, "--data", images, *SURE).status == 0
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--dp", "13"), "13, outside 0 to 12"),
        (("--dp", "2;3"), "'2;3' is no list of decimals"),
        (("--dp", "2,2"), "2 decimals more than once"),
        (("--margin", "0"), "margin 0.0 is not inside 0..100"),
        (("--level", "95"), "'95' does not say whether it is in percent"),
        (("--data", "nowhere.npz"), "nowhere.npz"),
    ],
)
def test_what_cannot_be_asked(precbench, model: Path, images: Path, options: tuple[str, str], problem: str) -> None:
    result = precbench("screen", model, "--data", images, "--preprocess", "tf", *options)
    assert result.status == 2
    assert problem in result.err


def test_images_without_labels_are_refused(precbench, model: Path, tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "bare.npz", images=np.zeros((5, 4, 4, 3), np.uint8))
    result = precbench("screen", model, "--data", "bare.npz", "--preprocess", "tf")
    assert result.status == 2
    assert "labels" in result.err
