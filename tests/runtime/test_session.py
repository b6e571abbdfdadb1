"""Sessions: what they run, what they record, and every way in which one cannot be made."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest

from precbench.errors import DataError, ModelError, ProviderError, UsageError
from precbench.runtime import SessionSettings, open_session
from precbench.runtime.session import run_options, session_options, tf32_state

CPU = SessionSettings()
ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_a_session_runs_and_says_where(double):
    session = open_session(double, CPU)
    np.testing.assert_array_equal(session.run({"x": ROWS})["y"], 2 * ROWS)
    assert session.provider == "cpu"
    assert session.placement == {"CPUExecutionProvider": 1}
    assert [(spec.name, spec.dtype, spec.shape) for spec in session.inputs] == [("x", np.float32, ("batch", 3))]
    assert [spec.describe() for spec in session.outputs] == ["[batch, 3]"]


def test_the_record_is_strict_json_and_names_all_that_was_chosen(double):
    settings = SessionSettings(intra_op_threads=2, optimization_level="basic", execution_mode="parallel")
    record = json.loads(json.dumps(open_session(double, settings).record(), allow_nan=False))
    assert record["requested_provider"] == record["provider"] == "cpu"
    assert (record["intra_op_threads"], record["optimization_level"], record["execution_mode"]) == (
        2,
        "basic",
        "parallel",
    )
    assert record["force_spinning_stop"] is True
    assert record["denormals_as_zero"] is False
    assert (record["clock"], record["timed_call"][:4]) == ("end-to-end", "run:")
    assert record["tf32"] == "no GPU"
    assert record["placement"] == {"CPUExecutionProvider": 1}
    assert record["onnxruntime"]


def test_every_setting_reaches_onnx_runtime():
    options = session_options(
        SessionSettings(
            intra_op_threads=3,
            inter_op_threads=2,
            execution_mode="parallel",
            optimization_level="disable",
            allow_spinning=False,
            log_severity=4,
        )
    )
    assert (options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level) == (3, 2, 4)
    assert options.execution_mode.name == "ORT_PARALLEL"
    assert options.graph_optimization_level.name == "ORT_DISABLE_ALL"
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
    assert options.get_session_config_entry("session.record_ep_graph_assignment_info") == "1"
    assert options.get_session_config_entry("session.set_denormal_as_zero") == "0"
    assert not options.enable_profiling


def test_subnormals_count_as_zero_when_asked_for_and_then_in_numpy_too(double):
    # In a process of its own: the flag would govern every later test of this one.
    code = (
        "import sys, pathlib, numpy as np\n"
        "from precbench.runtime import SessionSettings, environment, open_session\n"
        "session = open_session(pathlib.Path(sys.argv[1]), SessionSettings(denormals_as_zero=sys.argv[2] == '1'))\n"
        "tiny = np.full((1, 3), 1e-40, dtype=np.float32)\n"
        "y = session.run({'x': tiny})['y']\n"
        "print(bool(y.view(np.uint32).any()), environment()['denormals_are_zero'])\n"
        "print(session.record()['denormals_as_zero'])"
    )

    def printed(flag):
        return subprocess.run(
            [sys.executable, "-c", code, str(double), flag],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        ).stdout.split()

    assert printed("0") == ["True", "False", "False"]
    assert printed("1") == ["False", "True", "True"]


def test_a_bound_run_uses_the_same_feeds_each_time_and_gives_what_run_gives(double):
    session = open_session(double, CPU)
    bound = session.bind({"x": ROWS})
    np.testing.assert_array_equal(bound.outputs()["y"], session.run({"x": ROWS})["y"])
    assert bound() is None
    np.testing.assert_array_equal(bound.outputs()["y"], 2 * ROWS)


@pytest.mark.parametrize("clock", ["device", "cuda-graph"])
def test_a_clock_that_a_cpu_session_has_not_is_neither_bound_nor_recorded(double, clock):
    session = open_session(double, CPU)
    for use in (lambda: session.bind({"x": ROWS}, clock=clock), lambda: session.record(clock=clock)):
        with pytest.raises(UsageError, match=f"the cpu provider has no clock '{clock}'") as caught:
            use()
        assert "use --clock end-to-end" in caught.value.remedy


def test_a_cuda_graph_needs_a_session_that_was_made_for_it(double):
    # Not a CUDA session but one that says so: the refusal comes before the GPU is asked.
    session = dataclasses.replace(open_session(double, CPU), provider="cuda", settings=SessionSettings(provider="cuda"))
    with pytest.raises(UsageError, match="the session was made without CUDA graphs") as caught:
        session.bind({"x": ROWS}, clock="cuda-graph")
    assert "settings.for_clock('cuda-graph')" in caught.value.remedy


def test_a_plain_run_of_a_session_with_cuda_graphs_captures_none():
    plain = SessionSettings(provider="cuda")
    graphs = plain.for_clock("cuda-graph")
    assert run_options(graphs).get_run_config_entry("gpu_graph_id") == "-1"
    assert run_options(graphs, graph_id="7").get_run_config_entry("gpu_graph_id") == "7"
    with pytest.raises(RuntimeError):
        run_options(plain).get_run_config_entry("gpu_graph_id")


def test_auto_takes_what_works_and_says_why_it_passed_over_the_rest(double, capfd):
    session = open_session(double, SessionSettings(provider="auto"))
    record = session.record()
    assert record["requested_provider"] == "auto"
    if session.provider == "cpu":
        assert "the cuda provider cannot run here" in record["passed_over"]["cuda"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("provider", "effective", "override", "state"),
    [
        ("cpu", {}, None, "no GPU"),
        ("cuda", {"use_tf32": "0"}, None, "off"),
        ("cuda", {"use_tf32": "1"}, None, "allowed"),
        ("cuda", {"use_tf32": "1"}, "0", "off"),
        ("tensorrt", {}, None, "allowed"),
        ("tensorrt", {}, "0", "off"),
    ],
)
def test_the_record_says_whether_tf32_can_be_used(provider, effective, override, state):
    assert tf32_state(provider, effective, override) == state


# Models that cannot be loaded.


def refusal(path, error=ModelError):
    with pytest.raises(error) as caught:
        open_session(path, CPU)
    return caught.value


def test_a_missing_model_is_refused(tmp_path):
    assert "there is no model" in refusal(tmp_path / "none.onnx").problem


def test_a_directory_is_refused(tmp_path):
    assert "is a directory, not an ONNX file" in refusal(tmp_path).problem


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.onnx").touch()
    assert "is empty" in refusal(tmp_path / "empty.onnx").problem


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_unreadable_file_is_refused(double):
    double.chmod(0)
    assert "cannot be read" in refusal(double).problem


def test_an_unreadable_file_is_refused_whoever_asks(double, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "cannot be read" in refusal(double).problem


@pytest.mark.parametrize("content", [b"hello world\n" * 20, bytes(range(256)), None])
def test_a_file_that_is_no_onnx_or_is_truncated_is_refused(double, content):
    double.write_bytes(double.read_bytes()[:-20] if content is None else content)
    assert "it is no ONNX model, or a truncated one" in refusal(double).problem


def test_a_custom_operator_is_refused_by_its_domain_and_name(write_model, capfd):
    path = write_model("g (float[n] x) => (float[n] y) { y = com.acme.Foo(x) }", more=', "com.acme" : 1')
    error = refusal(path)
    assert "it uses the custom operator com.acme:Foo, which ONNX Runtime does not have" in error.problem
    assert error.remedy == "export the model with standard ONNX operators only"
    assert capfd.readouterr() == ("", "")


def test_a_custom_operator_of_a_domain_not_imported_is_refused(write_model):
    path = write_model("g (float[n] x) => (float[n] y) { y = com.acme.Foo(x) }")
    assert "the custom operator com.acme:Foo without importing that domain" in refusal(path).problem


def test_an_operator_that_the_opset_has_not_is_refused(write_model):
    path = write_model("g (float[n] x) => (float[n] y) { y = Gelu(x) }")
    assert "it uses the operator Gelu, which opset 17 does not have" in refusal(path).problem


def test_a_newer_opset_is_refused_with_the_newest_supported(write_model):
    error = refusal(write_model("g (float[n] x) => (float[n] y) { y = Relu(x) }", opset=99))
    assert "its opset 99 of ai.onnx is newer than what the installed onnxruntime has" in error.problem
    assert "pip install --upgrade" in error.remedy


def test_a_newer_ir_version_is_refused_with_the_newest_supported(write_model):
    error = refusal(write_model("g (float[n] x) => (float[n] y) { y = Relu(x) }", ir=99))
    assert "its IR version is 99, the installed onnxruntime reads up to" in error.problem


@pytest.fixture
def external(tmp_path):
    """A model whose one initializer lies in weights.bin."""
    path = tmp_path / "model.onnx"
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 17]> '
        "g (float[n, 3] x) => (float[n, 3] y) <float[3] w = {1, 2, 3}> { y = Mul(x, w) }"
    )
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.ones(3, dtype=np.float32), "w"))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert open_session(path, CPU).inputs[0].name == "x"
    return path


def test_missing_external_data_is_refused_by_its_file_and_initializer(external):
    (external.parent / "weights.bin").unlink()
    assert "its external data weights.bin (initializer w) is missing" in refusal(external).problem


def test_truncated_external_data_is_refused(external):
    os.truncate(external.parent / "weights.bin", 5)
    assert "its external data ends before the initializer w is complete" in refusal(external).problem


def test_external_data_outside_the_models_folder_is_refused(external):
    model = onnx.load(external, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../elsewhere.bin"
    external.write_bytes(model.SerializeToString())
    assert "is outside the model's folder" in refusal(external).problem


def test_a_node_that_reads_what_no_node_makes_is_refused(write_model):
    path = write_model("g (float[n] x) => (float[n] y) { y = Add(x, lost) }")
    error = refusal(path)
    assert "a node reads 'lost', which no earlier node makes" in error.problem
    assert "topological order" in error.remedy


def test_nodes_in_a_circle_are_refused(write_model):
    path = write_model("g (float[n] x) => (float[n] y) { a = Add(x, b) b = Neg(a) y = Relu(b) }")
    assert "they have no topological order" in refusal(path).problem


def test_types_that_do_not_agree_are_refused(write_model):
    path = write_model("g (int64[n] x) => (float[n] y) { y = Neg(x) }")
    assert "its types do not agree: Type (tensor(float)) of output arg (y)" in refusal(path).problem


def test_an_operator_without_a_kernel_for_its_type_is_refused(write_model):
    path = write_model("g (float[n] x) => (float[n] y) { a = Cast<to = 16>(x) b = Softmax(a) y = Cast<to = 1>(b) }")
    assert "ONNX Runtime has no implementation of" in refusal(path).problem


def test_any_other_reason_is_given_in_onnx_runtimes_words_without_its_source_lines(write_model):
    path = write_model("g (float[2, 3] x) => (float[n] y) { y = MatMul(x, x) }")
    problem = refusal(path).problem
    assert "cannot be loaded" in problem
    assert "onnxruntime_src" not in problem
    assert "[ONNXRuntimeError]" not in problem


@pytest.mark.parametrize(
    ("graph", "problem"),
    [
        ("g (float[n] x) => (seq(float[n]) y) { y = SequenceConstruct(x) }", "the output 'y' is a seq(tensor(float))"),
        (
            "g (bfloat16[n] x) => (float[n] y) { y = Cast<to = 1>(x) }",
            "the input 'x' has elements of the type bfloat16",
        ),
    ],
)
def test_inputs_and_outputs_that_are_no_numpy_tensors_are_refused(write_model, graph, problem):
    assert problem in refusal(write_model(graph)).problem


# Feeds that do not fit.


@pytest.mark.parametrize(
    ("feeds", "problem"),
    [
        ({}, "the input 'x' is missing"),
        ({"y": ROWS}, "the model has no input 'y'"),
        ({"x": ROWS, "more": ROWS}, "the model has no input 'more'"),
        ({"x": ROWS.astype(np.float64)}, "the input 'x' got float64, the model wants float32"),
        ({"x": np.zeros((2, 4), np.float32)}, "the input 'x' got the shape [2, 4], the model wants [batch, 3]"),
        ({"x": np.zeros(3, np.float32)}, "the input 'x' got the shape [3], the model wants [batch, 3]"),
    ],
)
def test_feeds_that_do_not_fit_are_refused_before_onnx_runtime_sees_them(double, feeds, problem):
    session = open_session(double, CPU)
    for use in (session.run, session.bind):
        with pytest.raises(DataError) as caught:
            use(feeds)
        assert problem in caught.value.problem


def test_strings_are_fed_as_strings(write_model):
    session = open_session(write_model("g (string[n] x) => (string[n] y) { y = Identity(x) }"), CPU)
    assert session.run({"x": np.array(["a", "b"])})["y"].tolist() == ["a", "b"]
    with pytest.raises(DataError, match="the input 'x' got int64, the model wants str"):
        session.run({"x": np.array([1])})


def test_a_run_that_fails_names_the_operator_and_prints_nothing(write_model, capfd):
    path = write_model("g (float[n, 3] x) => (float[a, b] y) <int64[2] shape = {1, 12}> { y = Reshape(x, shape) }")
    session = open_session(path, CPU)
    with pytest.raises(ModelError, match="fails while it runs, in Reshape") as caught:
        session.run({"x": ROWS})
    assert "onnxruntime_src" not in caught.value.problem
    with pytest.raises(ModelError, match="fails while it runs"):
        session.bind({"x": ROWS})()
    assert capfd.readouterr() == ("", "")


def test_running_out_of_memory_asks_for_a_smaller_batch(write_model):
    path = write_model("g (int64[1] n) => (float[?] y) { y = ConstantOfShape(n) }")
    session = open_session(path, CPU)
    with pytest.raises(ProviderError, match="ran out of memory"):
        session.run({"n": np.array([2**46], dtype=np.int64)})
