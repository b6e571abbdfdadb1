"""What layers are fitted on: samples from all over the set, as many as fit into memory."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from precbench.deploy.int8 import fitting_samples
from precbench.deploy.int8.plain_graph import PlainGraph
from precbench.deploy.int8.quantizing import quantize
from precbench.deploy.int8.ranges import Calibration

from .conftest import calibration, images, network, parsed
from .test_int8 import as_model

IDENTITY = PlainGraph.of(parsed("g (float[n, 2] x) => (float[n, 2] y) { y = Relu (x) }"))
SORTED = np.repeat(np.arange(512, dtype=np.float32)[:, None], 2, axis=1)


def drawn(monkeypatch: pytest.MonkeyPatch, most_bytes: int, rows: int = 16) -> list[NDArray[Any]]:
    monkeypatch.setattr(fitting_samples, "_MOST_VALUE_BYTES", most_bytes)
    data = calibration("x", SORTED, rows=rows)
    return [chunk["x"] for chunk in fitting_samples.fitting_samples(IDENTITY, data)]


def test_all_samples_are_taken_where_they_fit() -> None:
    chunks = fitting_samples.fitting_samples(IDENTITY, calibration("x", SORTED))
    assert np.array_equal(np.concatenate([chunk["x"] for chunk in chunks]), SORTED)


@pytest.mark.parametrize("most_bytes", [1, 2048])
def test_of_a_set_sorted_by_class_samples_of_every_part_are_taken(
    monkeypatch: pytest.MonkeyPatch, most_bytes: int
) -> None:
    chunks = drawn(monkeypatch, most_bytes)
    found = np.concatenate(chunks)[:, 0]
    assert {len(chunk) for chunk in chunks} == {16}
    assert len(found) == (16 if most_bytes == 1 else 64)
    assert np.array_equal(found // (512 / len(found)), np.arange(len(found)))  # one of each part, in order


def test_inputs_without_rows_are_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = PlainGraph.of(
        parsed("g (float[n, 2] x, float s, float[1] t) => (float[n, 2] y) { z = Mul (x, s) y = Add (z, t) }")
    )
    scale, shift = np.array(3, np.float32), np.array([4], np.float32)

    def chunks() -> Iterator[Mapping[str, NDArray[Any]]]:
        for at in range(0, 512, 16):
            yield {"x": SORTED[at : at + 16], "s": scale, "t": shift}

    monkeypatch.setattr(fitting_samples, "_MOST_VALUE_BYTES", 1)
    data = Calibration(chunks=chunks, samples=512, description={})
    (only,) = fitting_samples.fitting_samples(graph, data)
    assert [only[name].shape for name in ("x", "s", "t")] == [(16, 2), (), (1,)]


def test_inputs_count_among_the_tensors_alive() -> None:
    graph = PlainGraph.of(
        parsed("g (float[n, 100] x) => (float[n, 1] y) { s = ReduceMax <axes = [1]> (x) y = Relu (s) }", opset=13)
    )
    assert fitting_samples.most_alive_bytes(graph, {"x": np.zeros((10, 100), np.float32)}) == 4 * (1000 + 10)


def test_how_many_samples_layers_were_fitted_on_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = calibration("x", images(64))
    assert quantize(as_model(network()), data).about["fitted_on_samples"] == 64
    monkeypatch.setattr(fitting_samples, "_MOST_VALUE_BYTES", 1)
    assert quantize(as_model(network()), data).about["fitted_on_samples"] == 16
