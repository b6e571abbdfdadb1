"""The placement gate, with placements as a GPU would give them."""

import pytest

from precbench.errors import ProviderError
from precbench.runtime import SessionSettings, open_session
from precbench.runtime.placement import (
    PlacedNode,
    check_placement,
    count_by_provider,
    count_memcpy,
    read_graph,
    shape_computations,
)

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
GRAPH = """g (float[n, 3, 4] x, float[m] bias, int64[2] size) => (float[a, b] y, float[c, d] z)
<int64[1] tail = {-1}, int64 zero = {0}, float[120] large = {LARGE}> {
    [conv] h = Relu(x)
    [shape] s = Shape(h)
    [gather] first = Gather(s, zero)
    [axes] axes = Constant<value = int64[1] {0}>()
    [unsqueeze] rows = Unsqueeze(first, axes)
    [concat] target = Concat<axis = 0>(rows, tail)
    [flatten] y = Reshape(h, target)
    [resize] half = Add(size, rows)
    [small] scaled = Mul(bias, bias)
    [pick] picked = Gather(large, first)
    [z] z = Reshape(h, half)
}""".replace("LARGE", ", ".join(["1"] * 120))


@pytest.fixture
def model(write_model):
    return write_model(GRAPH)


def placed(**where):
    return [PlacedNode(name=name, op_type=op, provider=provider) for name, (op, provider) in where.items()]


def test_all_nodes_on_the_provider_pass_without_reading_the_model(tmp_path):
    assert check_placement("cuda", placed(a=("Conv", CUDA), b=("Relu", CUDA)), tmp_path / "unread.onnx") == ()


def test_shape_computations_on_the_cpu_are_allowed_and_returned(model):
    nodes = placed(
        conv=("Relu", CUDA),
        gather=("Gather", CPU),
        unsqueeze=("Unsqueeze", CPU),
        concat=("Concat", CPU),
        resize=("Add", CPU),
    )
    assert [node.name for node in check_placement("cuda", nodes, model)] == ["gather", "unsqueeze", "concat", "resize"]


@pytest.mark.parametrize(
    ("name", "op_type"),
    [
        ("conv", "Relu"),
        ("small", "Mul"),
        ("pick", "Gather"),
        ("flatten", "Reshape"),
        ("made_by_an_optimizer", "Conv"),
        ("", "Gather"),
    ],
)
def test_a_compute_node_on_the_cpu_is_refused_with_its_name(model, name, op_type):
    nodes = [*placed(other=("Conv", CUDA)), PlacedNode(name=name, op_type=op_type, provider=CPU)]
    with pytest.raises(ProviderError) as caught:
        check_placement("cuda", nodes, model)
    assert "1 of 2 nodes are elsewhere" in caught.value.problem
    assert f"{op_type} {name!r} on {CPU}" in caught.value.problem
    assert "--ep cpu" in caught.value.remedy


def test_a_node_without_a_name_is_allowed_if_all_of_its_type_are_shape_computations(model):
    nodes = [*placed(conv=("Relu", CUDA)), PlacedNode(name="", op_type="Concat", provider=CPU)]
    assert len(check_placement("cuda", nodes, model)) == 1


def test_a_node_on_a_third_provider_is_refused_even_if_it_computes_a_shape(model):
    with pytest.raises(ProviderError, match="on CUDAExecutionProvider"):
        check_placement("tensorrt", placed(gather=("Gather", CUDA), conv=("Relu", "TensorrtExecutionProvider")), model)


def test_a_provider_that_runs_nothing_is_refused(model):
    with pytest.raises(ProviderError, match="the cuda provider runs no node of the model"):
        check_placement("cuda", placed(gather=("Gather", CPU)), model)


def test_many_stray_nodes_are_named_by_the_first_three(model):
    nodes = [PlacedNode(name=f"n{i}", op_type="Conv", provider=CPU) for i in range(5)]
    with pytest.raises(ProviderError, match="'n2' on CPUExecutionProvider, …"):
        check_placement("cuda", nodes, model)


def test_nodes_inside_a_branch_are_judged_and_the_branch_itself_is_no_shape_computation(write_model):
    path = write_model("""g (float[n] x, bool flag) => (float[k] y) {
        [shape] s = Shape(x)
        [branch] y = If(flag) <
            then_branch = then_graph () => (float[k] t) { [inner] t = Neg(x) },
            else_branch = else_graph () => (float[k] e) { [inside] w = Shape(x) [cast] e = Cast<to = 1>(w) }
        >
    }""")
    verdicts = shape_computations(*read_graph(path))
    assert verdicts["shape", "Shape"]
    assert verdicts["cast", "Cast"]
    assert not verdicts["branch", "If"]
    assert not verdicts["inner", "Neg"]


def test_placements_are_counted_and_real_ones_read_back(model):
    assert count_by_provider(placed(a=("A", CUDA), b=("B", CPU), c=("C", CUDA))) == {CPU: 1, CUDA: 2}
    unoptimized = open_session(model, SessionSettings(optimization_level="disable"))
    assert unoptimized.placement == {CPU: 10}


def test_copies_between_devices_are_counted_from_what_onnx_runtime_says():
    said = "3 Memcpy nodes are added to the graph main_graph for CUDAExecutionProvider.\n1 Memcpy nodes are added to"
    assert count_memcpy(said) == 4
    assert count_memcpy("") is None
