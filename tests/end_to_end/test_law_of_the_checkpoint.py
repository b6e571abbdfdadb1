"""The paper rounds the checkpoint, precbench the export: the same weights come out. And the paper's totals hold."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from precbench.graph import list_initializers, load_model, select
from precbench.grids import DecimalGrid
from precbench.study.definition import load_study
from precbench.study.exporting import export_file
from precbench.study.rounding import round_file

pytestmark = pytest.mark.slow


def initializers(path: Path) -> dict[str, bytes]:
    return {tensor.name: tensor.raw_data for tensor in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("decimals", [1, 3])
@pytest.mark.parametrize("form", ["pair", "keras", "h5"])
def test_rounding_a_checkpoint_and_exporting_is_exporting_and_rounding(
    tiny_run: Path, tmp_path: Path, form: str, decimals: int
) -> None:
    checkpoint = tiny_run / "checkpoint"
    architecture = checkpoint / "architecture.json"
    if form == "pair":
        round_file(checkpoint / "weights.h5", tmp_path / "rounded.h5", grid=DecimalGrid(decimals))
        export_file(architecture, tmp_path / "rounded.h5", tmp_path / "first.onnx")
        export_file(architecture, checkpoint / "weights.h5", tmp_path / "plain.onnx")
    else:
        source = checkpoint / "model.keras" if form == "keras" else whole_h5(checkpoint, tmp_path)
        round_file(source, tmp_path / f"rounded.{form}", grid=DecimalGrid(decimals))
        export_file(tmp_path / f"rounded.{form}", None, tmp_path / "first.onnx")
        export_file(source, None, tmp_path / "plain.onnx")
    round_file(tmp_path / "plain.onnx", tmp_path / "second.onnx", grid=DecimalGrid(decimals))
    first, second = initializers(tmp_path / "first.onnx"), initializers(tmp_path / "second.onnx")
    assert first == second
    assert first != initializers(tmp_path / "plain.onnx")


def whole_h5(checkpoint: Path, folder: Path) -> Path:
    from precbench.checkpoints.loading import load_model as load_keras

    path = folder / "whole.h5"
    load_keras(checkpoint / "model.keras").save(path)
    return path


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MobileNetV2 alpha 1.0 with 10 classes, untrained, exported."""
    pytest.importorskip("tensorflow")
    from precbench.checkpoints.architectures import build
    from precbench.checkpoints.export import export_to_file

    model = build("MobileNetV2", input_size=32, classes=10, alpha=1.0, bn_momentum=0.9, seed=1)
    path = tmp_path_factory.mktemp("export") / "mobilenetv2.onnx"
    export_to_file(model, path, groups=load_study("mobilenetv2-digits").groups)
    return path


def test_the_kernels_and_the_target_set_have_the_papers_numbers_of_elements(mobilenet: Path) -> None:
    listed = list_initializers(load_model(mobilenet))
    assert sum(i.elements for i in listed if i.name.endswith("/kernel")) == 2_202_560
    plan = select(listed, grid=DecimalGrid(4)).grids
    assert sum(i.elements for i in listed if i.name in plan) == 2_188_960
    by_group: dict[Any, int] = {}
    for initializer in listed:
        by_group[initializer.group] = by_group.get(initializer.group, 0) + initializer.elements
    del by_group[None]
    assert by_group == {"conv1": 864, "expand": 751_872, "depthwise": 63_936, "project": 962_688, "conv": 409_600}


def test_the_exported_graph_has_no_clutter(mobilenet: Path) -> None:
    nodes = [node.op_type for node in onnx.load(mobilenet).graph.node]
    counted = {kind: nodes.count(kind) for kind in ("Conv", "BatchNormalization", "Transpose")}
    assert counted == {"Conv": 52, "BatchNormalization": 52, "Transpose": 1}
    assert len(nodes) < 175


def test_rounding_takes_only_the_targets(mobilenet: Path, tmp_path: Path) -> None:
    rounded = round_file(mobilenet, tmp_path / "r.onnx", grid=DecimalGrid(2))
    changed = {
        name for name, data in initializers(tmp_path / "r.onnx").items() if data != initializers(mobilenet)[name]
    }
    assert changed == {o.initializer for o in rounded.outcomes if o.changed}
    assert sum(o.elements for o in rounded.outcomes if o.skipped is None) == 2_188_960
    assert np.sum([o.elements for o in rounded.outcomes]) > 2_202_560
