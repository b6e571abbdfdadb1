"""CUDA sessions, or a skip that says why there is none."""

import numpy as np
import onnx
import onnx.parser
import pytest

from precbench.errors import ProviderError
from precbench.runtime import SessionSettings, open_session

CONV = """<ir_version: 10, opset_import: ["" : 17]>
g (float[n, 3, 32, 32] x) => (float[n, 10] y) <float[16, 3, 3, 3] k, float[16, 10] w> {
    [conv] c = Conv<pads = [1, 1, 1, 1]>(x, k)
    [relu] r = Relu(c)
    [pool] p = GlobalAveragePool(r)
    [flatten] f = Flatten(p)
    [dense] y = MatMul(f, w)
}"""


@pytest.fixture
def conv_model(tmp_path):
    """A small convolutional classifier with seeded weights."""
    generator, model = np.random.default_rng(0), onnx.parser.parse_model(CONV)
    del model.graph.initializer[:]
    for name, shape in (("k", (16, 3, 3, 3)), ("w", (16, 10))):
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(generator.standard_normal(shape, dtype=np.float32), name)
        )
    path = tmp_path / "conv.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def images():
    """Eight images of noise."""
    return {"x": np.random.default_rng(1).standard_normal((8, 3, 32, 32), dtype=np.float32)}


@pytest.fixture
def cuda(conv_model):
    """Return a function that opens the model on CUDA for a clock, with provider options."""

    def opened(*, clock="end-to-end", **options):
        settings = SessionSettings(provider="cuda", provider_options=options).for_clock(clock)
        try:
            return open_session(conv_model, settings)
        except ProviderError as error:
            pytest.skip(f"no CUDA session here: {error.problem}")

    return opened
