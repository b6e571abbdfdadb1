"""Ranges of known distributions, by each method; the method asked for reaches the model."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from precbench.deploy.int8.cut_offs import BINS, by_entropy, by_percentile
from precbench.deploy.int8.quantizing import quantize
from precbench.deploy.int8.ranges import METHODS, Calibration, observe, rows_of
from precbench.progress import SILENT

from .conftest import calibration, parsed


def cut(method: Any, values: NDArray[np.float64]) -> tuple[float, float]:
    ends = (min(0.0, float(values.min())), max(0.0, float(values.max())))
    found: tuple[float, float] = method(np.histogram(values, bins=BINS, range=ends)[0], ends)
    return found


def drawn(count: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=count)


def test_entropy_keeps_nearly_all_of_a_rectified_normal_distribution() -> None:
    values = np.maximum(drawn(1_000_000), 0)
    _, high = cut(by_entropy, values)
    assert 4.2 < high <= values.max()


def test_entropy_keeps_all_of_a_uniform_and_of_a_saturated_one() -> None:
    uniform = np.random.default_rng(0).uniform(0, 1, 100_000)
    assert cut(by_entropy, uniform) == (0.0, uniform.max())
    assert cut(by_entropy, np.clip(3 * drawn(100_000) + 3, 0, 6)) == (0.0, 6.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_entropy_cuts_a_lone_outlier_off(sign: int) -> None:
    values = sign * np.append(np.maximum(drawn(1_000_000), 0), 40.0)
    low, high = cut(by_entropy, values)
    assert 4 < max(-low, high) < 7
    assert min(-low, high) == 0


def test_entropy_cuts_the_long_side_alone() -> None:
    values = 2 * drawn(1_000_000)
    values = values / (1 + np.exp(-values))  # SiLU: down to -0.28
    low, high = cut(by_entropy, values)
    assert low == values.min()
    assert 5 < high < values.max()


@pytest.mark.parametrize("count", [30, 100, 1000, 10_000])
@pytest.mark.parametrize("seed", range(5))
def test_entropy_of_few_values_cuts_hardly_any_off(count: int, seed: int) -> None:
    normal = drawn(count, seed)
    for values in (normal, np.maximum(normal, 0)):
        low, high = cut(by_entropy, values)
        assert np.mean((values < low - 1e-9) | (values > high + 1e-9)) <= max(1 / count, 0.002)


def test_percentile_cuts_one_value_of_ten_thousand_off() -> None:
    even = np.linspace(0, 1, 1_000_001)
    assert cut(by_percentile, even) == pytest.approx((0, 0.9999), abs=1 / BINS)
    assert cut(by_percentile, np.append(np.zeros(99_999), 1.0)) == pytest.approx((0, 0), abs=1 / BINS)
    values = drawn(1_000_000)
    assert cut(by_percentile, values) == pytest.approx((-3.89, 3.89), abs=0.06)


@pytest.mark.parametrize("method", [by_entropy, by_percentile])
def test_a_tensor_of_zeros_has_no_range(method: Any) -> None:
    assert method(np.zeros(BINS, np.int64), (0.0, 0.0)) == (0.0, 0.0)


def scales(method: str) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    model = parsed(
        "g (float[n, 8] x) => (float[n, 4] y) { y = MatMul (x, w) }", w=rng.normal(size=(8, 4)).astype(np.float32)
    )
    x = rng.normal(size=(40_000, 8)).astype(np.float32)
    x[0, 0] = 20
    proto = quantize(model, calibration("x", x, rows=4000), method=method).model.proto
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    return held["x/scale"] * np.float32(255)


def test_each_method_gives_the_model_its_own_scales() -> None:
    found = {method: float(scales(method)) for method in METHODS}
    assert 24 < found["min-max"] < 26
    assert 7 < found["percentile"] < 8.5
    assert 8.5 < found["entropy"] < 12


def test_an_input_without_dimensions_is_calibrated() -> None:
    model = parsed("g (float[n, 2] x, float s) => (float[n, 2] y) { y = Mul (x, s) }").proto
    feeds = {"x": np.ones((16, 2), np.float32), "s": np.array(3, np.float32)}
    data = Calibration(chunks=lambda: [feeds], samples=16, description={})
    assert observe(model, ["y"], data, progress=SILENT) == {"y": (0.0, 3.0)}
    assert rows_of({"s": feeds["s"]}) == 1
