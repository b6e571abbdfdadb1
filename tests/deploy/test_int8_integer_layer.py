"""One layer's integer weights: fitted to what it reads, on the best of several steps, in little memory."""

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from precbench.deploy.int8 import integer_layer as module
from precbench.deploy.int8.integer_layer import IntegerLayer, integer_layer
from precbench.deploy.int8.layer import Layer
from precbench.deploy.int8.plain_graph import PlainGraph

from .conftest import parsed

SCALE = 0.01


def dense(kernel: NDArray[np.float32]) -> Layer:
    """A MatMul with a kernel [K, outputs]."""
    graph = PlainGraph.of(
        parsed(f"g (float[n, {len(kernel)}] x) => (float[n, {kernel.shape[1]}] y) {{ y = MatMul (x, w) }}", w=kernel)
    )
    return Layer.of(graph, graph.nodes[0])


def fitted(kernel: NDArray[np.float32], exact: NDArray[np.float32], rounded: NDArray[np.float32]) -> IntegerLayer:
    return integer_layer(dense(kernel), kernel.shape, exact[None], rounded[None], SCALE)


def outputs(layer: IntegerLayer, rounded: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(rounded @ (layer.codes * layer.steps) + layer.bias)


def test_weights_move_to_where_they_undo_what_the_integer_inputs_lost() -> None:
    """The integer network halved one input: its weight is doubled, and only that one."""
    rng = np.random.default_rng(0)
    exact, kernel = rng.normal(size=(4096, 4)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
    rounded = exact.copy()
    rounded[:, 1] /= 2
    found = fitted(kernel, exact, rounded)
    assert np.allclose(found.codes * found.steps, kernel * [[1], [2], [1], [1]], atol=0.06)
    assert np.abs(outputs(found, rounded) - exact @ kernel).std() < 0.05


def test_the_bias_takes_up_what_is_left_of_the_mean() -> None:
    rng = np.random.default_rng(1)
    exact, kernel = rng.normal(3, 1, (4096, 4)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
    found = fitted(kernel, exact, exact + np.float32(0.5))
    error = outputs(found, exact + np.float32(0.5)) - exact @ kernel
    assert np.abs(error.mean(axis=0)).max() < SCALE * found.steps.max()


@pytest.mark.parametrize(("others", "step"), [(0.0079, 0.008), (0.01, 0.01), (0.0126, 0.0125)])
def test_of_several_steps_that_of_the_least_error_is_taken(others: float, step: float) -> None:
    """A step of 0.01 cuts nothing off; an input that never varies may lose its weight to the others' precision."""
    exact = np.random.default_rng(2).normal(size=(4096, 9)).astype(np.float32)
    exact[:, 0] = 0
    kernel = np.full((9, 1), others, np.float32)
    kernel[0] = 1.27
    assert fitted(kernel, exact, exact).steps.tolist() == [step]


def test_blocks_of_rows_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    exact, kernel = rng.normal(size=(500, 6)).astype(np.float32), rng.normal(size=(6, 7)).astype(np.float32)
    rounded = (np.rint(exact / 0.1) * 0.1).astype(np.float32)
    whole = fitted(kernel, exact, rounded)
    monkeypatch.setattr(module, "_BLOCK_WEIGHTS", 12)
    parts = fitted(kernel, exact, rounded)
    assert np.array_equal(whole.codes, parts.codes)
    assert np.array_equal(whole.steps, parts.steps)
    assert np.allclose(whole.bias, parts.bias, atol=1e-4)


def test_rounding_takes_less_memory_than_a_float64_copy_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_WEIGHTS", 1 << 16)
    rng = np.random.default_rng(4)
    kernel = rng.normal(size=(5000, 400)).astype(np.float32)  # too many columns to fit: rounded alone
    layer, values = dense(kernel), rng.normal(size=(1, 64, 5000)).astype(np.float32)
    tracemalloc.start()
    integer_layer(layer, kernel.shape, values, values, SCALE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * kernel.size
