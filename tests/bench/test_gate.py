"""What must hold before anything is timed."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from precbench.bench.gate import Gate, model_digest, pass_gate
from precbench.errors import DataError, ModelError, PrecbenchError, UsageError
from precbench.files import file_digest
from precbench.runtime import SessionSettings

from .conftest import CPU, NET, network, write

FEEDS = {"x": np.ones((2, 16), np.float32)}


def passed(base: Path, *others: Path, feeds: tuple[dict[str, np.ndarray], ...] = (FEEDS,)) -> Gate:
    return pass_gate(base, others, CPU, feeds, "end-to-end")


def test_models_that_differ_in_initializers_alone_have_the_same_graph(models: Path) -> None:
    gate = passed(models / "net.onnx", models / "net.onnx", models / "net.dp1.onnx")
    assert [model.to_json()["same_graph"] for model in gate.models.values()] == [True, True]
    assert gate.provider == "cpu"
    assert gate.session["placement"] == {"CPUExecutionProvider": sum(gate.session["placement"].values())}


def test_another_graph_is_let_through_and_named(models: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.onnx", NET.replace("Relu", "Sigmoid"), w=np.eye(16), v=np.eye(16))
    told = passed(models / "net.onnx", other).models[other].to_json()
    assert told["same_graph"] is False
    assert "Sigmoid" in told["graph_difference"]


def test_another_shape_of_an_initializer_is_another_graph(models: Path, tmp_path: Path) -> None:
    wide = network(tmp_path / "wide.onnx", width=32)
    assert "16x32" in str(passed(models / "net.onnx", wide).models[wide].difference)


@pytest.mark.parametrize("scale", [1e30, -1e30])
def test_outputs_that_are_not_finite_are_refused(models: Path, tmp_path: Path, scale: float) -> None:
    huge = network(tmp_path / "huge.onnx", scale=scale)
    for base, variant in ((models / "net.onnx", huge), (huge, models / "net.onnx")):
        with pytest.raises(ModelError, match=r"the output 'y' of .*huge\.onnx is not finite") as caught:
            passed(base, variant)
        assert "--input" in caught.value.remedy


def test_every_set_of_feeds_is_looked_at(models: Path) -> None:
    with pytest.raises(ModelError, match="is not finite for these inputs"):
        passed(models / "net.onnx", feeds=(FEEDS, {"x": np.full((1, 16), 3e38, np.float32)}))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(models: Path, tmp_path: Path, bad: float) -> None:
    weights = np.ones((16, 16))
    weights[3, 3] = bad
    damaged = write(tmp_path / "nan.onnx", NET, w=weights, v=np.eye(16))
    with pytest.raises(ModelError, match="1 NaN or infinite values of 256"):
        passed(models / "net.onnx", damaged)


def test_subnormal_weights_are_counted_and_zeros_are_not(models: Path, tmp_path: Path) -> None:
    weights = np.zeros((16, 16))
    weights[0] = 1e-40
    few = write(tmp_path / "few.onnx", NET, w=weights, v=np.eye(16))
    gate = passed(models / "net.onnx", few)
    assert {path.name: model.subnormals for path, model in gate.models.items()} == {"net.onnx": 0, "few.onnx": 16}


def test_the_digest_covers_external_data(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "e.onnx"
    onnx.save(onnx.load(models / "net.onnx"), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    before, told = model_digest(path), passed(path).models[path]
    assert told.digest == before
    assert told.file_bytes == path.stat().st_size + (tmp_path / "w.bin").stat().st_size
    data = bytearray((tmp_path / "w.bin").read_bytes())
    data[0] ^= 1
    (tmp_path / "w.bin").write_bytes(data)
    assert model_digest(path) != before


def test_a_file_that_became_another_model_is_noticed_and_one_that_was_touched_is_not(
    models: Path, tmp_path: Path
) -> None:
    variant = tmp_path / "v.onnx"
    variant.write_bytes((models / "net.dp1.onnx").read_bytes())
    gate = passed(models / "net.onnx", variant)
    variant.touch()
    gate.check_unchanged()
    variant.write_bytes((models / "net.dp3.onnx").read_bytes())
    with pytest.raises(ModelError, match=r"v\.onnx is another model than when the measurement began"):
        gate.check_unchanged()
    variant.unlink()
    with pytest.raises(ModelError, match=r"v\.onnx cannot be read any more"):
        gate.check_unchanged()


def test_an_input_that_does_not_fit_names_the_model(models: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.onnx", NET.replace("x", "q"), w=np.eye(16), v=np.eye(16))
    with pytest.raises(DataError, match=r"other\.onnx: the model has no input 'x'"):
        passed(models / "net.onnx", other)


def test_the_digest_of_a_single_file_is_that_files(models: Path) -> None:
    assert model_digest(models / "net.onnx") == file_digest(models / "net.onnx")


def test_a_provider_that_is_not_here_is_refused(models: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers() and Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has an NVIDIA GPU")
    with pytest.raises(PrecbenchError, match="cuda"):
        pass_gate(models / "net.onnx", [], SessionSettings(provider="cuda"), [FEEDS], "end-to-end")


@pytest.mark.parametrize("clock", ["device", "cuda-graph"])
@pytest.mark.parametrize("provider", ["cpu", "auto"])
def test_clocks_of_a_gpu_are_refused_without_one(models: Path, clock: str, provider: str) -> None:
    with pytest.raises(UsageError, match=clock) as caught:
        pass_gate(models / "net.onnx", [], SessionSettings(provider=provider), [FEEDS], clock)  # type: ignore[arg-type]
    assert "--clock end-to-end" in caught.value.remedy


def test_auto_stands_for_the_provider_that_was_found(models: Path) -> None:
    gate = pass_gate(models / "net.onnx", [], SessionSettings(provider="auto"), [FEEDS], "end-to-end")
    assert gate.provider in ("cpu", "cuda")
    assert gate.session["requested_provider"] == "auto"
