"""What is observed for float16: the ends as they are, infinite ones too, and the form that keeps those in float32."""

import numpy as np
import pytest

from precbench.deploy.fp16.observing import observe_values
from precbench.errors import DataError

from .conftest import calibration, parsed
from .test_fp16 import assert_close, converted

LOG = (
    "g (float[n, 2] x) => (float[n, 2] y) <float low = {-8}> "
    "{ [relu] r = Relu(x) [log] l = Log(r) [max] y = Max(l, low) }"
)
X = np.array([[-1, 1], [2, 1e-6], [3, 4]], np.float32)


def test_the_ends_are_those_of_all_chunks_and_zero_is_not_put_between():
    found = observe_values(parsed("g (float[n, 2] x) => (float[n, 2] y) { y = Exp(x) }"), calibration("x", X, rows=1))
    assert found == {"x": (-1, 4), "y": pytest.approx((np.exp(-1), np.exp(4)))}


def test_infinite_and_nan_stay_whatever_comes_after():
    found = observe_values(parsed(LOG), calibration("x", X, rows=1))
    assert found["l"] == (-np.inf, pytest.approx(np.log(4)))
    assert found["y"][0] == -8
    root = observe_values(parsed("g (float[n, 2] x) => (float[n, 2] y) { y = Sqrt(x) }"), calibration("x", X, rows=1))
    assert np.isnan(root["y"]).all()


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # of the reference, where it takes log(0)
def test_a_model_whose_logarithm_of_zero_is_cut_later_is_converted_with_those_nodes_in_float32():
    model = parsed(LOG)
    half = converted(model.proto, observe_values(model, calibration("x", X)))
    assert {half.kept_nodes[name] for name in ("log", "max")} == {"'l' is infinite or NaN on the data"}
    assert_close(half, model.proto, {"x": X[[0, 2]]})


def test_without_data_nothing_is_observed():
    with pytest.raises(DataError, match="no data to observe") as refusal:
        observe_values(parsed(LOG), calibration("x", X[:0]))
    assert "--data" in refusal.value.remedy
