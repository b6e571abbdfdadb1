"""Node times: call by call, from ONNX Runtime's trace."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from precbench.errors import ModelError, OutputError
from precbench.runtime import SessionSettings, open_profiled
from precbench.runtime.profiling import read_trace

CPU = SessionSettings()


def node(name, ts, dur, op="Relu"):
    about = {"op_name": op, "provider": "CPUExecutionProvider"}
    return {"cat": "Node", "name": name, "ts": ts, "dur": dur, "args": about}


def call(ts, dur):
    return [
        {"cat": "Session", "name": "SequentialExecutor::Execute", "ts": ts + 1, "dur": dur - 2, "args": {}},
        {"cat": "Session", "name": "model_run", "ts": ts, "dur": dur, "args": {}},
    ]


def lines(*events):
    return ["[\n", *(json.dumps(event) + ",\n" for event in events[:-1]), json.dumps(events[-1]) + "\n", "]\n"]


TRACE = lines(
    {"cat": "Session", "name": "session_initialization", "ts": 0, "dur": 5, "args": {}},
    node("a_fence_before", 11, 9),
    node("a_kernel_time", 11, 3),
    node("b_kernel_time", 15, 4, "Conv"),
    *call(10, 12),
    node("a_kernel_time", 31, 2),
    node("a_kernel_time", 34, 5),
    *call(30, 12),
    node("b_kernel_time", 52, 7, "Conv"),
    {"cat": "Kernel", "name": "b_kernel_time", "ts": 53, "dur": 100, "args": {}},
    *call(50, 11),
)


def test_a_node_has_one_time_per_call_summed_within_it_and_zero_where_it_did_not_run():
    trace = read_trace(TRACE)
    assert trace.call_ns == (12000, 12000, 11000)
    assert [(n.name, n.op_type, n.provider, n.elapsed_ns) for n in trace.nodes] == [
        ("a", "Relu", "CPUExecutionProvider", (3000, 7000, 0)),
        ("b", "Conv", "CPUExecutionProvider", (4000, 0, 7000)),
    ]


def test_cold_calls_are_left_out():
    trace = read_trace(TRACE, skip=1)
    assert trace.call_ns == (12000, 11000)
    assert [n.elapsed_ns for n in trace.nodes] == [(7000, 0), (0, 7000)]


def test_the_order_of_the_lines_does_not_matter():
    assert read_trace(["[", *(line.strip().rstrip(",") for line in reversed(TRACE[1:-1])), "]"]) == read_trace(TRACE)


def test_a_trace_without_calls_has_no_times():
    assert read_trace(["[\n", "]\n"]).nodes == ()


@pytest.fixture
def two_nodes(write_model):
    return write_model(
        f"g (float[n, 64] x) => (float[n, 64] y) <float[64, 64] w = {{{', '.join(['0.5'] * 4096)}}}> "
        "{ [first] h = MatMul(x, w) [second] y = Relu(h) }"
    )


def test_two_sessions_called_in_turn_have_the_same_nodes_and_the_calls_that_each_made(two_nodes, tmp_path):
    feeds = {"x": np.ones((8, 64), dtype=np.float32)}
    sessions = [open_profiled(two_nodes, CPU, tmp_path) for _ in range(2)]
    for repeat in range(5):
        for session in sessions[: 2 if repeat < 3 else 1]:
            np.testing.assert_array_equal(session.run(feeds)["y"], np.full((8, 64), 32))
    first, second = (session.finish(skip=1) for session in sessions)
    assert [n.name for n in first] == [n.name for n in second] == ["first", "second"]
    assert [n.op_type for n in first] == ["MatMul", "Relu"]
    assert {len(n.elapsed_ns) for n in first} == {4}
    assert {len(n.elapsed_ns) for n in second} == {2}
    for session, nodes in zip(sessions, (first, second), strict=True):
        sums_ns = [sum(call) for call in zip(*(n.elapsed_ns for n in nodes), strict=True)]
        assert all(total <= whole for total, whole in zip(sums_ns, session.call_ns, strict=True))


def test_nothing_is_left_in_the_folder(two_nodes, tmp_path):
    folder = tmp_path / "traces"
    folder.mkdir()
    session = open_profiled(two_nodes, CPU, folder)
    session.run({"x": np.ones((1, 64), dtype=np.float32)})
    session.finish()
    with pytest.raises(ModelError):
        open_profiled(tmp_path / "none.onnx", CPU, folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ['a"b', "back\\slash", "new\nline", "ünïcode"])
def test_any_name_of_a_node_is_read_back(two_nodes, tmp_path, name):
    model = onnx.load(two_nodes)
    model.graph.node[0].name = name
    two_nodes.write_bytes(model.SerializeToString())
    session = open_profiled(two_nodes, CPU, tmp_path)
    session.run({"x": np.ones((1, 64), dtype=np.float32)})
    assert session.finish()[0].name == name


def test_the_body_of_a_loop_begins_no_call_and_its_runs_are_added_up(write_model, tmp_path):
    path = write_model(
        "g (float[3] x, int64 times, bool go) => (float[3] y) { [loop] y = Loop (times, go, x) "
        "<body = b (int64 i, bool c, float[3] v) => (bool d, float[3] w) { d = Identity(c) [inner] w = Neg(v) }> }"
    )
    session = open_profiled(path, CPU, tmp_path)
    for times in (1, 40):
        session.run({"x": np.ones(3, np.float32), "times": np.array(times), "go": np.array(True)})
    nodes = {n.name: n.elapsed_ns for n in session.finish()}
    assert len(session.call_ns) == 2
    assert {len(times_ns) for times_ns in nodes.values()} == {2}
    assert "inner" in nodes
    assert nodes["loop"][1] >= nodes["inner"][1]


def test_whole_calls_are_known_once_the_profile_is_finished(two_nodes, tmp_path):
    session = open_profiled(two_nodes, CPU, tmp_path)
    with pytest.raises(ValueError, match="finish the profile first"):
        session.call_ns  # noqa: B018


def with_trace(session, monkeypatch, text):
    real = type(session.session).end_profiling

    def rewritten(self):
        path = real(self)
        path.unlink() if text is None else path.write_text(text)
        return path

    monkeypatch.setattr(type(session.session), "end_profiling", rewritten)


@pytest.mark.parametrize("text", ['[\n{"cat" : "No', None])
def test_a_trace_that_was_not_written_whole_is_refused(two_nodes, tmp_path, monkeypatch, text):
    session = open_profiled(two_nodes, CPU, tmp_path)
    with_trace(session, monkeypatch, text)
    with pytest.raises(OutputError, match="was not written whole") as caught:
        session.finish()
    assert "free space" in caught.value.remedy
    assert [path.name for path in Path(tmp_path).iterdir()] == ["model.onnx"]


def test_a_trace_that_lacks_calls_is_refused(two_nodes, tmp_path, monkeypatch):
    session = open_profiled(two_nodes, CPU, tmp_path)
    for _ in range(4):
        session.run({"x": np.ones((1, 64), dtype=np.float32)})
    with_trace(session, monkeypatch, "".join(TRACE))
    with pytest.raises(OutputError, match="has 3 of 4 calls: it keeps a million events") as caught:
        session.finish(skip=1)
    assert caught.value.remedy == "profile fewer calls"
