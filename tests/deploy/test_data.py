"""The data that a deployment works with: calibration fills whole batches where the model fixes their size."""

from pathlib import Path

import numpy as np
import pytest

from precbench.bench.sessions import open_model
from precbench.deploy.data import load_deployment_data
from precbench.deploy.int8.ranges import Calibration
from precbench.errors import DataError
from precbench.graph import save_model
from precbench.runtime import SessionSettings

from .conftest import parsed

FIRST = "g (float[{n}, 2] x) => (float[{n}, 2] y) {{ y = Neg(x) }}"


def calibration_of(folder: Path, batch: int | str, rows: int) -> Calibration:
    save_model(parsed(FIRST.format(n=batch)), folder / "m.onnx")
    np.savez(folder / "d.npz", x=np.arange(2 * rows, dtype=np.float32).reshape(rows, 2))
    session = open_model(folder / "m.onnx", SessionSettings())
    return load_deployment_data(str(folder / "d.npz"), session).calibration_for(session)


@pytest.mark.parametrize(("batch", "sizes"), [(4, [4, 4]), (11, [11]), ("n", [11])])
def test_calibration_is_cut_to_whole_batches_of_the_size_that_the_model_fixes(
    tmp_path: Path, batch: int | str, sizes: list[int]
) -> None:
    found = calibration_of(tmp_path, batch, 11)
    chunks = [chunk["x"] for chunk in found.chunks()]
    assert [len(chunk) for chunk in chunks] == sizes
    assert found.samples == sum(sizes)
    assert len(np.unique(np.concatenate(chunks))) == 2 * sum(sizes)


def test_samples_that_fill_no_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="11 samples do not fill one batch of the 12") as refusal:
        calibration_of(tmp_path, 12, 11)
    assert "open batch" in refusal.value.remedy
