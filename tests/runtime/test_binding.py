"""Device buffers through IOBinding: the GPU's code, run here on the CPU device."""

import numpy as np
import pytest

from precbench.errors import ModelError
from precbench.runtime import SessionSettings, open_session
from precbench.runtime.binding import RUNS_UNTIL_CAPTURED, DeviceRun
from precbench.runtime.session import run_options


@pytest.fixture
def two_outputs(write_model):
    return open_session(
        write_model("g (float[n, 3] x, float[n, 3] w) => (float[n, 3] y, int64[2] s) { y = Mul(x, w) s = Shape(y) }"),
        SessionSettings(),
    )


def bind(session, feeds):
    return DeviceRun(
        session.model, session._session, feeds, [spec.name for spec in session.outputs], device="cpu", device_id=0
    )


def test_bound_outputs_equal_runs_and_every_call_writes_the_same_buffers(two_outputs):
    generator = np.random.default_rng(0)
    feeds = {name: generator.standard_normal((5, 3), dtype=np.float32) for name in ("x", "w")}
    bound = bind(two_outputs, feeds)
    where = [value.data_ptr() for value in bound._binding.get_outputs()]
    for _ in range(3):
        bound()
    assert [value.data_ptr() for value in bound._binding.get_outputs()] == where
    expected = two_outputs.run(feeds)
    for name, array in bound.outputs().items():
        np.testing.assert_array_equal(array, expected[name])


def test_feeds_that_are_not_contiguous_are_bound_as_their_values(two_outputs):
    x = np.arange(12, dtype=np.float32).reshape(3, 4).T[:, :3]
    feeds = {"x": x, "w": np.ones((4, 3), dtype=np.float32)}
    np.testing.assert_array_equal(bind(two_outputs, feeds).outputs()["y"], x)


def test_a_run_that_fails_is_a_model_error_when_it_is_bound(two_outputs):
    feeds = {"x": np.ones((2, 3), dtype=np.float32), "w": np.ones((4, 3), dtype=np.float32)}
    with pytest.raises(ModelError, match="fails while it runs, in Mul"):
        bind(two_outputs, feeds)


def test_a_run_that_fails_later_is_a_model_error_too(two_outputs):
    feeds = {name: np.ones((2, 3), dtype=np.float32) for name in ("x", "w")}
    bound = bind(two_outputs, feeds)
    bound._binding.clear_binding_inputs()
    with pytest.raises(ModelError, match="fails while it runs"):
        bound()


class Spy:
    """A session that writes down the options and the output addresses of each bound run."""

    def __init__(self, session):
        self._session, self.runs = session, []

    def io_binding(self):
        return self._session.io_binding()

    def run_with_iobinding(self, binding, options):
        self._session.run_with_iobinding(binding, options)
        self.runs.append((options, [value.data_ptr() for value in binding.get_outputs()]))


def test_a_cuda_graph_is_captured_when_it_is_bound_and_only_after_the_buffers_are_final(two_outputs):
    feeds = {name: np.ones((2, 3), dtype=np.float32) for name in ("x", "w")}
    spy = Spy(two_outputs._session)
    plain, graph = run_options(two_outputs.settings), run_options(two_outputs.settings)
    bound = DeviceRun(
        two_outputs.model, spy, feeds, ["y", "s"], device="cpu", device_id=0, options=plain, graph_options=graph
    )
    assert [options for options, _ in spy.runs] == [plain] + [graph] * RUNS_UNTIL_CAPTURED
    bound()
    final = [value.data_ptr() for value in bound._outputs]
    assert all(addresses == final for options, addresses in spy.runs if options is graph)
    assert spy.runs[-1][0] is graph
    np.testing.assert_array_equal(bound.outputs()["s"], [2, 3])
