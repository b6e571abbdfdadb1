"""How far a float16 form is from its model, as the GPU benchmark records it."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from precbench.deploy.fp16.converting import convert_to_half
from precbench.graph import load_model, save_model

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "gpu"


@pytest.fixture
def agreement(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from agreement import agreement

    yield agreement
    del sys.modules["agreement"]


def test_a_float16_form_agrees_within_float16s_error(agreement, conv_model, tmp_path):
    save_model(convert_to_half(load_model(conv_model)).model, tmp_path / "half.onnx")
    told = agreement(conv_model, tmp_path / "half.onnx", provider="cpu")
    assert (told["provider"], told["samples"], told["output"], told["finite"]) == ("cpu", 128, "y", True)
    assert 0 < told["largest_difference"] < 2**-8 * told["largest_output"]
    assert told["top1_agreement"] > 0.9
    assert told["classes"] >= 1


def test_a_form_that_overflows_is_said_to(agreement, conv_model, tmp_path):
    broken = onnx.load(conv_model)
    values = numpy_helper.to_array(broken.graph.initializer[1])
    broken.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.full_like(values, np.inf), "w"))
    onnx.save(broken, tmp_path / "broken.onnx")
    assert agreement(conv_model, tmp_path / "broken.onnx", provider="cpu")["finite"] is False
