"""Where a rounded file goes when nobody says."""

from pathlib import Path

import pytest

from precbench.study.rounding import _beside


@pytest.mark.parametrize(
    ("model", "output"),
    [
        ("a/model.onnx", "a/model.dp4.onnx"),
        ("model.keras", "model.dp4.keras"),
        ("weights.h5", "weights.dp4.h5"),
        ("net.weights.h5", "net.dp4.weights.h5"),
        ("no-suffix", "no-suffix.dp4"),
        ("v1.2.onnx", "v1.2.dp4.onnx"),
    ],
)
def test_the_default_output_lies_beside_the_model_and_keeps_its_suffix(model: str, output: str) -> None:
    assert _beside(Path(model), "dp4") == Path(output)
