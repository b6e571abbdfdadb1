"""The keras.applications families at small sizes, with random weights."""

from collections import Counter

import onnx
import pytest

from precbench.checkpoints.export import export_to_file
from precbench.graph.metadata import read_metadata

pytestmark = pytest.mark.slow

FAMILIES = [
    ("MobileNetV2", 32, {"Conv": 52, "BatchNormalization": 52, "Transpose": 1}),
    ("VGG16", 32, {"Conv": 13, "MatMul": 3, "Transpose": 2}),
    ("ResNet50", 32, {"Conv": 53, "BatchNormalization": 53, "Transpose": 1}),
    ("ResNet50V2", 32, {"Conv": 53, "BatchNormalization": 49, "Transpose": 1}),
    ("InceptionV3", 75, {"Conv": 94, "BatchNormalization": 94, "Transpose": 1}),
    ("EfficientNetB0", 32, {"Conv": 81, "BatchNormalization": 49, "Transpose": 1}),
    ("Xception", 71, {"Conv": 74, "BatchNormalization": 40, "Transpose": 1}),
    ("MobileNetV3Small", 32, {"Conv": 54, "BatchNormalization": 34, "Transpose": 2}),
]


@pytest.mark.parametrize("family", FAMILIES, ids=[family[0] for family in FAMILIES])
def test_a_family_of_networks_is_exported_whole(keras, randomise, tmp_path, family):
    name, size, expected = family
    model = randomise(getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10))
    check = export_to_file(model, tmp_path / "model.onnx")
    proto = onnx.load(tmp_path / "model.onnx")
    types = Counter(node.op_type for node in proto.graph.node)
    assert check.max_error_relative < 2e-5
    assert check.top1_same is True
    assert {kind: types[kind] for kind in expected} == expected
    kept = len(read_metadata(proto).initializers)
    assert kept + len(check.left_out) == len(model.variables)
    assert all("seed_generator" in path or path.startswith("normalization/") for path in check.left_out)
