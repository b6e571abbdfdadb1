"""Small ONNX models as text, written where a test wants them."""

from pathlib import Path

import onnx
import onnx.parser
import pytest

HEADER = '<ir_version: {ir}, opset_import: ["" : {opset}{more}]>'


@pytest.fixture
def write_model(tmp_path):
    """Return a function: ONNX text of a graph -> path of the saved model."""

    def write(graph: str, *, name: str = "model.onnx", ir: int = 10, opset: int = 17, more: str = "") -> Path:
        path = tmp_path / name
        path.write_bytes(
            onnx.parser.parse_model(HEADER.format(ir=ir, opset=opset, more=more) + graph).SerializeToString()
        )
        return path

    return write


@pytest.fixture
def double(write_model):
    """y = 2 x over an open batch of 3 floats."""
    return write_model("g (float[batch, 3] x) => (float[batch, 3] y) <float two = {2}> { y = Mul(x, two) }")
