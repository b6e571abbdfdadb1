"""The timing of a study that is interrupted."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from precbench.errors import ModelError
from precbench.graph import Plan
from precbench.study import run as run_module
from precbench.study.definition import Study, load_study
from precbench.study.run import Run

MODEL = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[n, 8, 8, 3] x) => (float[n, 8, 8, 3] y) { y = Relu (x) }"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "photos.npz", images=images, labels=np.arange(30) % 3)
    digits = load_study("mobilenetv2-digits")
    data = replace(digits.data, source=f"npz:{tmp_path / 'photos.npz'}")
    return replace(digits, data=data, timing=replace(digits.timing, batch_size=2))


@pytest.mark.parametrize("failure", [None, ModelError("it broke", "mend it")])
def test_what_was_measured_is_written_beside_a_finished_measurement_and_the_stage_is_not_finished(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception | None
) -> None:
    asked = list[Any]()

    def benchmark(*arguments: Any, **_options: Any) -> Any:
        asked.append(arguments)
        record = {"complete": False, "ended": "interrupted", "measurements": []}
        return SimpleNamespace(complete=False, failure=failure, to_json=lambda: record, samples=list)

    monkeypatch.setattr(run_module, "benchmark", benchmark)
    run = Run(study, tmp_path / "run")
    onnx.save(onnx.parser.parse_model(MODEL), run.folder / "base.onnx")
    monkeypatch.setattr(run, "variant_path", lambda _name: run.folder / "base.onnx")
    (tmp_path / "run/timing.json").write_text("finished")
    for number in (1, 2):  # the second measures anew
        with pytest.raises(KeyboardInterrupt if failure is None else ModelError):
            run._time({"dp4": Plan.of_decimals({})})
        assert len(asked) == number
        assert json.loads((tmp_path / "run/timing.partial.json").read_text())["complete"] is False
        assert (tmp_path / "run/timing.partial.parquet").is_file()
        assert (tmp_path / "run/timing.json").read_text() == "finished"
