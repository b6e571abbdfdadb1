"""Each thing that verify looks at fails alone: a folder that is right in all else."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from precbench.deploy.folder import put_in_place
from precbench.deploy.verifying import Check, verify
from precbench.files import file_digest, write_json
from precbench.graph import save_model
from precbench.runtime import SessionSettings

from .conftest import parsed

PASSED_ON = "g ({type}[n, {width}] x) => ({type}[n, {width}] y) {{ y = Identity(x) }}"
TYPES = {"f": "float", "i": "int64", "U": "string"}


def deployed(folder: Path, fed: NDArray[Any], stored: NDArray[Any], *, tolerance: float = 0.2) -> Path:
    """A folder as deploy leaves it, with a model that gives what it is fed and a reference of one's own."""
    text = PASSED_ON.format(type=TYPES[fed.dtype.kind], width=fed.shape[1])
    save_model(parsed(text), folder / "model.onnx")
    np.savez(folder / "reference.npz", **{"input/x": fed, "output/y": stored})  # type: ignore[arg-type]
    return signed(folder, reference_outputs={"tolerance": tolerance})


def signed(folder: Path, **changes: Any) -> Path:
    files = {name: {"digest": file_digest(folder / name)} for name in ("model.onnx", "reference.npz")}
    value = {"schema_version": 1, "form": "int8", "files": files, **changes}
    write_json(folder / "manifest.json", value)
    return folder


def outputs(folder: Path) -> Check:
    found = verify(folder, SessionSettings())
    assert all(check.passed is not False for check in found.checks if check.name != "outputs")
    return next(check for check in found.checks if check.name == "outputs")


def floats(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


@pytest.mark.parametrize(("tolerance", "passed"), [(0.26, True), (0.24, False)])
def test_outputs_that_are_no_scores_hold_by_the_tolerance_alone(tmp_path: Path, tolerance: float, passed: bool) -> None:
    check = outputs(deployed(tmp_path, floats([4], [3]), floats([4], [4]), tolerance=tolerance))
    assert check.passed is passed
    assert "differ by 0.25 of the largest value" in check.found
    assert ("measure its accuracy here" in check.remedy) is not passed


@pytest.mark.parametrize("scores", [1, 2])
def test_scores_within_the_tolerance_hold_only_where_the_top_class_is_the_same(tmp_path: Path, scores: int) -> None:
    """Of 10 rows one or two have another top class, by a difference that no tolerance sees."""
    fed = np.tile(floats([1, 0.999]), (10, 1))
    stored = fed.copy()
    stored[:scores] = stored[:scores, ::-1]
    check = outputs(deployed(tmp_path, fed, stored))
    assert check.passed is (scores == 1)
    assert f"same top-1 class in {100 - 10 * scores} %" in check.found


@pytest.mark.parametrize("labels", [1, 2])
def test_labels_hold_by_their_share_that_is_equal(tmp_path: Path, labels: int) -> None:
    fed = np.arange(100, 110).reshape(10, 1)
    stored = fed + (np.arange(10) < labels).reshape(10, 1)
    check = outputs(deployed(tmp_path, fed, stored))
    assert check.passed is (labels == 1)
    assert f"{100 - 10 * labels} % of the integers equal" in check.found


def test_text_is_compared_too(tmp_path: Path) -> None:
    assert outputs(deployed(tmp_path, np.array([["cat"]]), np.array([["cat"]]))).passed
    assert outputs(deployed(tmp_path, np.array([["cat"]]), np.array([["cow"]]))).passed is False


def test_nan_where_the_reference_has_a_number_fails_and_infinities_that_were_there_hold(tmp_path: Path) -> None:
    assert outputs(deployed(tmp_path, floats([-np.inf, 1]), floats([-np.inf, 1]))).passed
    check = outputs(deployed(tmp_path, floats([np.nan, 1]), floats([1, 1])))
    assert check.passed is False
    assert "NaN or infinity where the reference has numbers" in check.found


def test_a_reference_of_more_rows_than_are_written_fails_and_is_not_run(tmp_path: Path) -> None:
    check = outputs(deployed(tmp_path, np.zeros((2000, 1), np.float32), np.zeros((2000, 1), np.float32)))
    assert check.passed is False
    assert "holds 2,000 samples, a reference 16" in check.found


@pytest.fixture(params=[0o022, 0o027], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_deployed_folder_and_its_files_are_for_those_that_the_umask_lets(tmp_path: Path, umask: int) -> None:
    """What is filled beside it is for its owner alone, as temporary files and folders are."""
    stage = tmp_path / "stage"
    stage.mkdir(mode=0o700)
    deployed(stage, floats([1]), floats([1]))
    put_in_place(stage, tmp_path / "out", force=False)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o777 & ~umask
    for name in ("model.onnx", "manifest.json"):
        assert (tmp_path / "out" / name).stat().st_mode & 0o777 == 0o666 & ~umask
