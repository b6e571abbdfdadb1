"""Prediction in batches equals one run over all rows."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from precbench.errors import DataError, ModelError, UsageError
from precbench.runtime import SessionSettings, open_session, predict, predict_batches

CPU = SessionSettings()
reuse = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)


class Counting:
    def track(self, label, total):
        self.label, self.total, self.steps = label, total, []
        return self

    def __enter__(self):
        return self.steps.append

    def __exit__(self, *_):
        return None


def rows(count):
    return np.arange(3 * count, dtype=np.float32).reshape(count, 3)


@pytest.fixture
def fixed(write_model):
    return write_model("g (float[4, 3] x) => (float[4, 3] y) <float two = {2}> { y = Mul(x, two) }", name="fixed.onnx")


@reuse
@given(st.integers(1, 20), st.integers(1, 25))
def test_batches_give_what_one_run_gives(double, fixed, count, batch):
    for path in (double, fixed):
        found = predict(open_session(path, CPU), {"x": rows(count)}, batch=batch)
        np.testing.assert_array_equal(found["y"], 2 * rows(count))


def test_a_fixed_batch_runs_with_that_and_progress_counts_the_rows(fixed):
    progress = Counting()
    predict(open_session(fixed, CPU), {"x": rows(10)}, batch=32, progress=progress)
    assert (progress.label, progress.total, progress.steps) == ("predicting", 10, [4, 4, 2])


def test_an_input_without_rows_goes_into_every_batch(write_model):
    session = open_session(write_model("g (float[n, 3] x, float[3] w) => (float[n, 3] y) { y = Mul(x, w) }"), CPU)
    weights = np.array([1, 10, 100], dtype=np.float32)
    found = predict(session, {"x": rows(5), "w": weights}, batch=2)
    np.testing.assert_array_equal(found["y"], rows(5) * weights)


def test_a_model_with_every_size_fixed_runs_once_whatever_its_inputs(write_model):
    session = open_session(
        write_model(
            "g (float[2, 3] x, float[3] w) => (float[3] y) { p = Mul(x, w) "
            "y = ReduceSum<keepdims = 0>(p, a) } ".replace("{ p", "<int64[1] a = {0}> { p")
        ),
        CPU,
    )
    found = predict(session, {"x": rows(2), "w": np.ones(3, dtype=np.float32)}, batch=1)
    np.testing.assert_array_equal(found["y"], rows(2).sum(axis=0))


@pytest.fixture
def total(write_model):
    return open_session(write_model("g (float[n, 3] x) => (float y) { y = ReduceSum<keepdims = 0>(x) }"), CPU)


def test_an_output_without_rows_needs_a_single_run(total):
    assert predict(total, {"x": rows(4)}, batch=4)["y"] == rows(4).sum()
    with pytest.raises(ModelError, match=r"the output 'y' has the shape \[\] for 3 rows of input"):
        predict(total, {"x": rows(4)}, batch=3)


def test_an_output_that_changes_its_size_is_refused(write_model):
    session = open_session(
        write_model(
            "g (float[n, 3] x) => (float[n, k] y) { s = ReduceMax<keepdims = 0>(x) "
            "i = Cast<to = 7>(s) u = Unsqueeze(i, zero) e = Concat<axis = 0>(one, u) y = Expand(c, e) }".replace(
                "{ s", "<int64[1] zero = {0}, int64[1] one = {1}, float[1, 1] c = {1}> { s"
            )
        ),
        CPU,
    )
    with pytest.raises(ModelError, match=r"the output 'y' changes its shape from batch to batch: \[2\], then \[5\]"):
        predict(session, {"x": rows(2)}, batch=1)


def test_batches_may_be_made_as_they_are_needed(double):
    made = []

    def batches():
        for start in (0, 3):
            made.append(start)
            yield {"x": rows(5)[start : start + 3]}

    found = predict_batches(open_session(double, CPU), batches(), rows=5)
    np.testing.assert_array_equal(found["y"], 2 * rows(5))
    assert made == [0, 3]


@pytest.mark.parametrize(("claimed", "problem"), [(4, "hold more than 4 rows"), (6, "hold 5 rows, not 6")])
def test_batches_with_another_number_of_rows_are_refused(double, claimed, problem):
    with pytest.raises(DataError, match=problem):
        predict_batches(open_session(double, CPU), [{"x": rows(3)}, {"x": rows(2)}], rows=claimed)


def test_a_batch_larger_than_the_models_is_refused(fixed):
    with pytest.raises(DataError, match="a batch of 5 rows is given to a model fixed to 4"):
        predict_batches(open_session(fixed, CPU), [{"x": rows(5)}], rows=5)


def test_no_rows_are_refused(double):
    with pytest.raises(DataError, match="the inputs have no rows"):
        predict(open_session(double, CPU), {"x": rows(0)}, batch=2)


def test_different_numbers_of_rows_are_refused(write_model):
    session = open_session(write_model("g (float[n, 3] a, float[n, 3] b) => (float[n, 3] y) { y = Add(a, b) }"), CPU)
    with pytest.raises(DataError, match=r"different numbers of rows \(a: 3, b: 1\)"):
        predict(session, {"a": rows(3), "b": rows(1)}, batch=2)


def test_an_unknown_input_is_refused(double):
    with pytest.raises(DataError, match="the model has no input 'z'"):
        predict(open_session(double, CPU), {"z": rows(1)}, batch=2)


def test_a_batch_below_1_is_refused(double):
    with pytest.raises(UsageError, match="the batch 0 is below 1"):
        predict(open_session(double, CPU), {"x": rows(1)}, batch=0)
