"""A folder is whole or not there; it says what was measured; verify finds what is wrong with it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import precbench.deploy.packed.packing
from precbench.bench.options import TimingOptions
from precbench.bench.sessions import open_model
from precbench.deploy.data import DeploymentData, load_deployment_data
from precbench.deploy.deploying import Deployed, deploy
from precbench.deploy.forms import Form
from precbench.deploy.manifest import read_manifest
from precbench.deploy.packed.packing import Packed, pack
from precbench.deploy.request import Request
from precbench.deploy.verifying import verify
from precbench.errors import DataError, ModelError, UsageError
from precbench.files import file_digest
from precbench.graph import OnnxModel
from precbench.grids import DecimalGrid
from precbench.runtime import SessionSettings
from precbench.study.rounding import round_file

from .conftest import images, network

FILES = {"manifest.json", "model.onnx", "model_card.md", "reference.npz"}


def data_of(model: Path, file: Path) -> DeploymentData:
    return load_deployment_data(str(file), open_model(model, SessionSettings()))


@pytest.fixture(scope="module")
def rounded_file(tmp_path_factory: pytest.TempPathFactory, network_file: Path) -> Path:
    path = tmp_path_factory.mktemp("rounded") / "network.dp3.onnx"
    round_file(network_file, path, grid=DecimalGrid(3))
    return path


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, network_file: Path, data_file: Path) -> Deployed:
    folder = tmp_path_factory.mktemp("deployed") / "int8"
    request = Request(model=network_file, output=folder, form=Form.INT8, timing=None, command=("precbench", "deploy"))
    return deploy(request, data_of(network_file, data_file))


@pytest.fixture
def folder(tmp_path: Path, deployed: Deployed) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(deployed.folder, tmp_path / "copy"))


def test_the_folder_holds_model_manifest_card_and_reference(deployed: Deployed) -> None:
    assert {path.name for path in deployed.folder.iterdir()} == FILES
    manifest = json.loads((deployed.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest == json.loads(json.dumps(deployed.manifest))
    assert manifest["form"] == "int8"
    assert manifest["command"] == ["precbench", "deploy"]
    for name, entry in manifest["files"].items():
        assert entry["digest"] == file_digest(deployed.folder / name)
    assert {tensor["dtype"] for tensor in manifest["tensors"]} == {"INT8"}
    assert manifest["about"]["calibration"]["samples"] == 80  # a fifth of 400


def test_accuracy_is_measured_on_samples_that_nothing_else_saw(
    network_file: Path, data_file: Path, deployed: Deployed
) -> None:
    data = data_of(network_file, data_file)
    assert data.validation is not None
    assert data.test is not None
    parts = [part.inputs or {} for part in (data.calibration, data.validation, data.test)]
    rows = [{row.tobytes() for row in part["x"]} for part in parts]
    assert [len(part) for part in rows] == [80, 160, 160]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]
    accuracy = deployed.manifest["accuracy"]
    assert accuracy["samples"] == 160
    assert accuracy["reference_accuracy"]["fraction"] == pytest.approx(0.9, abs=0.06)


def test_without_data_nothing_is_claimed(tmp_path: Path, rounded_file: Path) -> None:
    done = deploy(Request(model=rounded_file, output=tmp_path / "out", form=Form.PACKED, timing=None), None)
    card = (done.folder / "model_card.md").read_text(encoding="utf-8")
    assert "| accuracy | not measured | not measured |" in card
    assert "Nothing is claimed about accuracy" in card
    assert done.manifest["accuracy"] is None
    assert done.manifest["time"] is None


def test_a_packed_model_gives_the_rounded_models_outputs(tmp_path: Path, rounded_file: Path) -> None:
    done = deploy(Request(model=rounded_file, output=tmp_path / "out", form=Form.PACKED, timing=None), None)
    feeds = {"x": images(20, seed=8)}
    settings = SessionSettings()
    expected = open_model(rounded_file, settings).run(feeds)["scores"]
    assert np.array_equal(open_model(done.folder / "model.onnx", settings).run(feeds)["scores"], expected)


def test_packing_an_unrounded_model_is_refused_and_leaves_nothing(tmp_path: Path, network_file: Path) -> None:
    with pytest.raises(ModelError) as refusal:
        deploy(Request(model=network_file, output=tmp_path / "out", form=Form.PACKED, timing=None), None)
    assert "round" in refusal.value.remedy
    assert not list(tmp_path.iterdir())


def test_int8_without_data_is_refused(tmp_path: Path, network_file: Path) -> None:
    with pytest.raises(UsageError, match="int8 has to see data"):
        deploy(Request(model=network_file, output=tmp_path / "out", form=Form.INT8, timing=None), None)
    assert not list(tmp_path.iterdir())


def test_auto_keeps_the_best_and_says_whether_it_holds(tmp_path: Path, rounded_file: Path, data_file: Path) -> None:
    data = data_of(rounded_file, data_file)
    lenient = Request(model=rounded_file, output=tmp_path / "a", form=None, timing=None, max_drop_points=20.0)
    done = deploy(lenient, data)
    assert done.holds is True
    assert {row["form"] for row in done.manifest["tried"]} == {"packed", "int8"}
    exact = Request(model=rounded_file, output=tmp_path / "b", form=None, timing=None, max_drop_points=0.0)
    best = deploy(exact, data)
    assert best.manifest["form"] == "packed"  # its outputs are the model's own: no images are needed to show that
    assert best.holds is True


def test_auto_leaves_what_comes_nearest_where_none_holds(tmp_path: Path, network_file: Path, data_file: Path) -> None:
    impossible = Request(model=network_file, output=tmp_path / "b", form=None, timing=None, max_drop_points=0.0)
    best = deploy(impossible, data_of(network_file, data_file))
    assert best.holds is False
    assert best.manifest["form"] == "int8"
    assert (best.folder / "model.onnx").is_file()


def test_auto_says_why_a_form_could_not_be_made(tmp_path: Path, network_file: Path, data_file: Path) -> None:
    request = Request(model=network_file, output=tmp_path / "a", form=None, timing=None, max_drop_points=20.0)
    done = deploy(request, data_of(network_file, data_file))
    assert done.manifest["form"] == "int8"
    packed = next(row for row in done.manifest["tried"] if row["form"] == "packed")
    assert not packed["made"]
    assert "also tried: packed" in (done.folder / "model_card.md").read_text(encoding="utf-8")


def test_auto_chooses_on_the_validation_part_and_reports_on_the_test_part(
    tmp_path: Path, rounded_file: Path, data_file: Path
) -> None:
    data = data_of(rounded_file, data_file)
    assert data.validation is not None
    fewer = replace(
        data.validation,
        inputs={name: array[:100] for name, array in (data.validation.inputs or {}).items()},
        labels=None if data.validation.labels is None else data.validation.labels[:100],
    )
    request = Request(model=rounded_file, output=tmp_path / "a", form=None, timing=None, max_drop_points=20.0)
    manifest = deploy(request, replace(data, validation=fewer)).manifest
    assert [row["validation"]["samples"] for row in manifest["tried"] if row["form"] == "int8"] == [100]
    assert manifest["accuracy"]["samples"] == 160


def test_a_form_that_gives_no_numbers_is_refused_and_auto_goes_on_without_it(
    tmp_path: Path, rounded_file: Path, data_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: OnnxModel) -> Packed:
        packed = pack(model)
        for tensor in packed.model.proto.graph.initializer:
            if tensor.name.startswith("divisor_"):
                tensor.CopyFrom(numpy_helper.from_array(np.zeros(tuple(tensor.dims), np.float32), tensor.name))
        return packed

    monkeypatch.setattr(precbench.deploy.packed.packing, "pack", broken)
    request = Request(model=rounded_file, output=tmp_path / "a", form=Form.PACKED, timing=None)
    with pytest.raises(ModelError, match="'scores' is not finite where it was a number"):
        deploy(request, None)
    assert not list(tmp_path.iterdir())
    auto = Request(model=rounded_file, output=tmp_path / "a", form=None, timing=None, max_drop_points=20.0)
    manifest = deploy(auto, data_of(rounded_file, data_file)).manifest
    assert manifest["form"] == "int8"
    assert "not finite" in next(row["reason"] for row in manifest["tried"] if not row["made"])


def test_a_reference_that_cannot_be_read_is_refused_before_any_work(tmp_path: Path, rounded_file: Path) -> None:
    (tmp_path / "torn.onnx").write_bytes(rounded_file.read_bytes()[:-100])
    request = Request(
        model=rounded_file, output=tmp_path / "a", form=Form.PACKED, timing=None, reference=tmp_path / "torn.onnx"
    )
    with pytest.raises(ModelError, match=r"torn\.onnx"):
        deploy(request, None)
    assert not (tmp_path / "a").exists()


def test_labels_of_a_model_that_is_no_classifier_are_said_not_to_count(tmp_path: Path, data_file: Path) -> None:
    proto = network()
    proto.graph.output.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["n", 24]))
    onnx.save(proto, tmp_path / "two.onnx")
    data = data_of(tmp_path / "two.onnx", data_file)
    assert data.validation is None
    assert data.not_judged is not None
    assert "scores ['n', 5]" in data.not_judged
    assert "flat" in data.not_judged


@pytest.mark.slow
def test_time_is_measured_against_the_reference(tmp_path: Path, network_file: Path, data_file: Path) -> None:
    timing = TimingOptions(budget_s=4.0)
    request = Request(model=network_file, output=tmp_path / "a", form=Form.INT8, timing=timing, batches=(8,))
    done = deploy(request, data_of(network_file, data_file))
    (ratio,) = done.manifest["time"]["ratios"]
    assert ratio["batch"] == 8
    assert ratio["verdict"] in {"faster", "slower", "equivalent", "inconclusive"}
    assert "| time at batch 8 |" in (done.folder / "model_card.md").read_text(encoding="utf-8")


def test_a_folder_as_deployed_holds(folder: Path) -> None:
    found = verify(folder, SessionSettings())
    assert found.passed
    assert [check.name for check in found.checks][-3:] == ["provider", "outputs", "time"]


@pytest.mark.parametrize("name", ["model.onnx", "reference.npz", "model_card.md"])
def test_a_tampered_a_truncated_and_a_missing_file_are_named_and_not_run(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    for damaged in (whole[:-7], whole[:-1] + bytes([whole[-1] ^ 1]), None):
        path.write_bytes(damaged) if damaged is not None else path.unlink()
        found = verify(folder, SessionSettings())
        assert not found.passed
        assert [check.name for check in found.checks if check.passed is False] == [name]
        assert not {"provider", "outputs"} & {check.name for check in found.checks}
        path.write_bytes(whole)


def test_outputs_that_are_others_here_fail(folder: Path) -> None:
    with np.load(folder / "reference.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["output/scores"] = -arrays["output/scores"]
    np.savez(folder / "reference.npz", **arrays)
    _resign(folder)
    found = verify(folder, SessionSettings())
    assert [check.name for check in found.checks if check.passed is False] == ["outputs"]
    assert "measure its accuracy here" in next(c.remedy for c in found.checks if c.name == "outputs")


def test_a_runtime_too_old_for_the_opset_is_said(folder: Path) -> None:
    proto = onnx.load(folder / "model.onnx")
    proto.opset_import[0].version = 99
    onnx.save(proto, folder / "model.onnx")
    _resign(folder)
    found = verify(folder, SessionSettings())
    (failed,) = [check for check in found.checks if check.passed is False]
    assert failed.name == "session"
    assert "opset" in failed.found


def _resign(folder: Path) -> None:
    """Make the digests fit again, as an attacker would."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for name, entry in manifest["files"].items():
        entry["digest"] = file_digest(folder / name)
    path.write_text(json.dumps(manifest))


def _manifest_with(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_manifest_that_leads_out_of_its_folder_is_refused(folder: Path) -> None:
    files = json.loads((folder / "manifest.json").read_text())["files"]
    _manifest_with(folder, files={**files, "../../etc/passwd": {"digest": "sha256:0"}})
    with pytest.raises(ModelError, match="outside its folder"):
        verify(folder, SessionSettings())


def test_a_file_that_is_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "model.onnx").rename(tmp_path / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    failed = [check.found for check in verify(folder, SessionSettings()).checks if check.passed is False]
    assert failed == ["is a link"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "damaged"), ("[]", "no manifest"), ('{"schema_version": 99}', "schema version 99"), ("{}", "no manifest")],
)
def test_a_damaged_manifest_is_refused(folder: Path, text: str, problem: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ModelError, match=problem):
        read_manifest(folder)


def test_what_is_no_deployed_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no deployed model"):
        verify(tmp_path, SessionSettings())
    with pytest.raises(ModelError, match="there is no folder"):
        verify(tmp_path / "nowhere", SessionSettings())


def test_calibration_data_of_another_shape_or_too_few_are_refused(tmp_path: Path, network_file: Path) -> None:
    np.savez(tmp_path / "wrong.npz", x=np.zeros((40, 8, 8, 3), np.float32), labels=np.zeros(40, np.int64))
    with pytest.raises(DataError, match=r"wrong\.npz"):
        data_of(network_file, tmp_path / "wrong.npz")
    np.savez(tmp_path / "torn.npz", x=images(40), labels=np.zeros(10, np.int64))
    with pytest.raises(DataError, match="10 labels for 40 samples"):
        data_of(network_file, tmp_path / "torn.npz")
    np.savez(tmp_path / "few.npz", x=images(30), labels=np.zeros(30, np.int64))
    request = Request(model=network_file, output=tmp_path / "out", form=Form.INT8, timing=None)
    with pytest.raises(DataError, match="too few to calibrate"):
        deploy(request, data_of(network_file, tmp_path / "few.npz"))
    assert not (tmp_path / "out").exists()


def test_max_drop_outside_its_range_is_refused(tmp_path: Path, network_file: Path) -> None:
    with pytest.raises(UsageError, match="--max-drop"):
        Request(model=network_file, output=tmp_path / "out", form=None, max_drop_points=100.0)


@pytest.mark.parametrize("form", [Form.PACKED, Form.INT8, Form.FP16])
def test_a_model_that_lists_its_initializers_as_inputs_can_be_had_in_every_form(
    tmp_path: Path, rounded_file: Path, data_file: Path, form: Form
) -> None:
    proto = onnx.load(rounded_file)
    proto.ir_version = 3
    for tensor in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    onnx.save(proto, tmp_path / "old.onnx")
    request = Request(model=tmp_path / "old.onnx", output=tmp_path / "out", form=form, timing=None)
    done = deploy(request, data_of(tmp_path / "old.onnx", data_file))
    assert [spec["name"] for spec in done.manifest["inputs"]] == ["x"]
    assert done.manifest["accuracy"]["flips"]["lost"] <= 10
