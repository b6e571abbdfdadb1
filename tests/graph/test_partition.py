"""A model cut in two computes what the whole does, whatever values the changed tensors take."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from precbench.errors import ModelError, OutputError, TargetError
from precbench.graph import OnnxModel, graph_difference
from precbench.graph.partition import (
    Cut,
    cut_model,
    obstacle,
    part_before,
    part_behind,
    readers,
    with_data_inside,
    with_values,
    write_part,
)

Arrays = dict[str, NDArray[Any]]

RESIDUAL = """r (float[batch, 3] x) => (float[batch, 3] y)
<float[3,3] first = {1,2,3,4,5,6,7,8,9}, float[3,3] second = {1,0,1,0,1,0,1,0,1}, float[3] scale = {2,3,4}>
{ a = MatMul(x, first) b = Relu(a) c = MatMul(b, second) d = Add(b, c) y = Mul(d, scale) }"""


def parsed(graph: str, *, ir: int = 10) -> OnnxModel:
    proto = onnx.parser.parse_model(f'<ir_version: {ir}, opset_import: ["" : 17]> {graph}')
    return OnnxModel(proto=proto, folder=Path())


def position(model: OnnxModel, name: str) -> int:
    return next(held.position for held in model.tensors() if held.value == name)


def run(model: OnnxModel, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
    names = [output.name for output in model.proto.graph.output]
    return dict(zip(names, ReferenceEvaluator(model.proto).run(None, dict(feeds)), strict=True))


def run_in_parts(
    model: OnnxModel, changes: Mapping[int, NDArray[Any]], feeds: Arrays, *, fed: bool = False
) -> tuple[Cut, Arrays]:
    """Run the base before the cut and the changed part behind it; the other outputs are the base's."""
    cut = cut_model(model, changes)
    inputs = {value.name for value in model.proto.graph.input}
    captured = [name for name in cut.values if name not in inputs]
    before = part_before(model, captured).model
    read = {value.name for value in before.proto.graph.input}
    values = run(before, {name: feeds[name] for name in feeds if name in read}) if captured else {}
    types = {name: array.dtype for name, array in values.items()}
    part = part_behind(model, cut, types, fed=changes if fed else ())
    at_hand = {**feeds, **values}
    if fed:
        at_hand |= {held.value: changes[held.position] for held in model.tensors() if held.position in changes}
        changed = part.model
    else:
        kept = {part.positions[p]: array for p, array in changes.items() if p in part.positions}
        changed = with_values(part.model, kept)
    wanted = [value.name for value in changed.proto.graph.input]
    return cut, {**run(model, feeds), **run(changed, {name: at_hand[name] for name in wanted if name in at_hand})}


def ops_behind(model: OnnxModel, *names: str) -> list[str]:
    cut = cut_model(model, [position(model, name) for name in names])
    return [model.proto.graph.node[index].op_type for index in cut.nodes]


# --- where the cut lies ---


def test_only_what_a_tensor_can_reach_lies_behind_the_cut() -> None:
    model = parsed(RESIDUAL)
    assert ops_behind(model, "scale") == ["Mul"]
    assert ops_behind(model, "second") == ["MatMul", "Add", "Mul"]
    assert ops_behind(model, "first") == ["MatMul", "Relu", "MatMul", "Add", "Mul"]
    assert ops_behind(model, "second", "scale") == ["MatMul", "Add", "Mul"]


def test_a_value_that_is_read_twice_crosses_once() -> None:
    model = parsed(RESIDUAL)
    assert cut_model(model, [position(model, "second")]).values == ("b",)


def test_a_branch_before_the_cut_crosses_beside_the_main_one_in_the_order_of_making() -> None:
    model = parsed(
        """g (float[2] x) => (float[2] y) <float[2] w = {1,2}>
        { a = Neg(x) b = Exp(a) c = Mul(b, w) d = Add(c, a) y = Add(d, x) }"""
    )
    assert cut_model(model, [position(model, "w")]).values == ("x", "a", "b")


def test_a_tensor_that_several_nodes_share_puts_all_of_them_behind() -> None:
    model = parsed(
        """g (float[2] x) => (float[2] y) <float[2] w = {1,2}> { a = Mul(x, w) b = Exp(a) c = Add(b, w) y = Neg(c) }"""
    )
    assert ops_behind(model, "w") == ["Mul", "Exp", "Add", "Neg"]


def test_what_is_made_of_constants_alone_goes_with_its_reader() -> None:
    model = parsed(
        """g (float[1, 2] x) => (float[1, 2] y) <float[2,2] v = {1,2,3,4}, float[2,2] w = {1,2,3,4}>
        { a = MatMul(x, v) t = Transpose(w) u = Neg(t) b = MatMul(a, u) y = Mul(b, u) }"""
    )
    cut = cut_model(model, [position(model, "v")])
    assert cut.values == ("x",)
    assert len(cut.nodes) == 5
    assert ops_behind(model, "w") == ["Transpose", "Neg", "MatMul", "Mul"]


def test_outputs_before_the_cut_are_not_the_parts() -> None:
    model = parsed(
        """g (float[2] x) => (float[2] early, float[2] late, float[2] aside) <float[2] w = {1,2}>
        { early = Neg(x) aside = Exp(x) late = Mul(early, w) }"""
    )
    cut = cut_model(model, [position(model, "w")])
    assert (cut.values, cut.outputs) == (("early",), ("late",))


def test_a_tensor_that_reaches_no_output_puts_nothing_behind() -> None:
    model = parsed("g (float[2] x) => (float[2] y) <float[2] w = {1,2}> { unused = Mul(x, w) y = Neg(x) }")
    assert cut_model(model, [position(model, "w")]) == Cut(nodes=(), values=(), outputs=())


def test_a_missing_optional_input_is_no_value() -> None:
    model = parsed(
        """g (float[1, 4] x) => (float[1, 4] y) <float top = {6}, float[4] w = {1,2,3,4}>
        { a = Mul(x, w) y = Clip(a, , top) }"""
    )
    assert cut_model(model, [position(model, "top")]).values == ("a",)


BRANCHES = """g (float[2] x, bool which) => (float[2] y) <float[2] w = {1,2}>
{ a = Exp(x) b = Neg(x)
  c = If (which) <
    then_branch = t () => (float[2] o) <float[2] inner = {5,6}> { p = Add(a, inner) o = Mul(p, w) },
    else_branch = e () => (float[2] q) { q = Identity(b) }
  >
  y = Neg(c) }"""


def test_a_node_with_subgraphs_reads_what_they_read() -> None:
    model = parsed(BRANCHES)
    for name in ("w", "inner"):
        cut = cut_model(model, [position(model, name)])
        assert cut.values == ("which", "a", "b")
        assert ops_behind(model, name) == ["If", "Neg"]


@pytest.mark.parametrize("which", [True, False])
@pytest.mark.parametrize("name", ["w", "inner"])
def test_a_tensor_of_a_subgraph_changes_what_the_whole_gives(which: bool, name: str) -> None:
    model = parsed(BRANCHES)
    feeds: Arrays = {"x": np.array([0.5, -1], np.float32), "which": np.array(which)}
    changes = {position(model, name): np.array([7, 8], np.float32)}
    _, found = run_in_parts(model, changes, feeds)
    np.testing.assert_array_equal(found["y"], run(with_values(model, changes), feeds)["y"])


# --- the law ---


@st.composite
def small_models(draw: st.DrawFn) -> tuple[OnnxModel, list[int], bool]:
    """Nodes over [2, 2] values, each reading any earlier value or constant; some outputs; tensors to change."""
    constants = [f"w{index}" for index in range(draw(st.integers(1, 4)))]
    known, nodes = ["x", *constants], []
    for index in range(draw(st.integers(1, 9))):
        op, arity = draw(st.sampled_from([("Add", 2), ("Mul", 2), ("MatMul", 2), ("Neg", 1), ("Transpose", 1)]))
        inputs = [draw(st.sampled_from(known)) for _ in range(arity)]
        nodes.append(helper.make_node(op, inputs, [f"v{index}"]))
        known.append(f"v{index}")
    made = [name for name in known if name.startswith("v")]
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in outputs],
        [numpy_helper.from_array(generator.normal(size=(2, 2)).astype(np.float32), name) for name in constants],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    changed = draw(st.lists(st.integers(0, len(constants) - 1), min_size=1, unique=True))
    return OnnxModel(proto=proto, folder=Path()), changed, draw(st.booleans())


@given(small_models())
def test_the_base_before_the_cut_and_the_variant_behind_it_give_the_whole_variant(
    drawn: tuple[OnnxModel, list[int], bool],
) -> None:
    model, changed, fed = drawn
    changes: dict[int, NDArray[Any]] = {index: np.full((2, 2), 0.5 + index, np.float32) for index in changed}
    feeds: Arrays = {"x": np.array([[1, 2], [-3, 0.25]], np.float32)}
    cut, found = run_in_parts(model, changes, feeds, fed=fed)
    expected = run(with_values(model, changes), feeds)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        assert array.tobytes() == found[name].tobytes()
    assert len(cut.nodes) <= len(model.proto.graph.node)


# --- what a part holds ---


def test_a_part_holds_the_tensors_that_its_nodes_read_and_says_where() -> None:
    model = parsed(RESIDUAL)
    part = part_behind(model, cut_model(model, [position(model, "second")]), {"b": np.dtype(np.float32)})
    assert [held.value for held in part.model.tensors()] == ["second", "scale"]
    assert part.positions == {1: 0, 2: 1}
    assert [value.name for value in part.model.proto.graph.input] == ["b"]


def test_positions_hold_for_constant_nodes_and_subgraphs_too() -> None:
    model = parsed(
        """g (float[2] x, bool which) => (float[2] y) <float[2] w = {1,2}, float[2] late = {3,4}>
        { k = Constant <value = float[2] {5,6}> () a = Mul(x, w) m = Constant <value = float[2] {7,8}> ()
          c = If (which) <
            then_branch = t () => (float[2] o) <float[2] inner = {5,6}> { o = Add(a, inner) },
            else_branch = e () => (float[2] q) { q = Add(a, k) }
          >
          d = Add(c, m) y = Mul(d, late) }"""
    )
    part = part_behind(model, cut_model(model, [position(model, "m")]), {"c": np.dtype(np.float32)})
    whole, inside = list(model.tensors()), list(part.model.tensors())
    assert [held.value for held in inside] == ["late", "m"]
    part = part_behind(model, cut_model(model, [position(model, "inner")]), {"a": np.dtype(np.float32)})
    inside = list(part.model.tensors())
    for before, after in part.positions.items():
        assert (whole[before].value, whole[before].proto) == (inside[after].value, inside[after].proto)
    assert {held.value for held in inside} == {"late", "k", "m", "inner"}


def test_an_initializer_that_can_be_overridden_stays_so() -> None:
    model = parsed("g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1,2}> { a = Neg(x) y = Mul(a, w) }")
    part = part_behind(model, cut_model(model, [position(model, "w")]), {"a": np.dtype(np.float32)}).model
    assert [value.name for value in part.proto.graph.input] == ["a", "w"]
    assert [value.name for value in part_before(model, ["a"]).model.proto.graph.input] == ["x"]


def test_fed_tensors_are_inputs_of_their_type_and_shape() -> None:
    model = parsed(RESIDUAL)
    cut = cut_model(model, [position(model, "second")])
    part = part_behind(model, cut, {"b": np.dtype(np.float32)}, fed=[1]).model
    assert [value.name for value in part.proto.graph.input] == ["b", "second"]
    assert [size.dim_value for size in part.proto.graph.input[1].type.tensor_type.shape.dim] == [3, 3]
    assert [held.value for held in part.tensors()] == ["scale"]


def test_the_part_of_everything_is_the_whole_graph() -> None:
    model = parsed(RESIDUAL)
    part = part_behind(model, cut_model(model, [position(model, "first")]), {})
    assert graph_difference(part.model, model) is None


def test_values_replaced_outside_the_file_stay_replaced(saved_external: Any, build: Any) -> None:
    from precbench.graph import load_model

    model = load_model(saved_external(build()))
    head = position(model, "head/kernel")
    changed = with_values(model, {head: np.ones((4, 5), np.float32)})
    part = part_behind(changed, cut_model(changed, [head]), {"d": np.dtype(np.float32)})
    held = {each.value: each for each in part.model.tensors()}
    np.testing.assert_array_equal(part.model.values(held["head/kernel"]), np.ones((4, 5)))


# --- what cannot be cut ---


@pytest.mark.parametrize(
    ("graph", "word"),
    [
        (
            "g (float[2] x) => (float[2] y) <float[2] w = {1,2}> { r = RandomNormalLike(x) y = Mul(r, w) }",
            "RandomNormal",
        ),
        (
            """g (float[2] x) => (float[2] y) <float[2] w = {1,2}, float ratio = {0.5}, bool train = {1}>
            { r = Dropout(x, ratio, train) y = Mul(r, w) }""",
            "Dropout",
        ),
        ("g (float[2] x) => (float[2] y, float[2] w) <float[2] w = {1,2}> { y = Mul(x, w) }", "'w' is an output"),
    ],
)
def test_what_cannot_be_cut_says_why(graph: str, word: str) -> None:
    model = parsed(graph)
    assert word in (obstacle(model, [position(model, "w")]) or "")


def test_dropout_that_does_not_train_can_be_cut() -> None:
    model = parsed("g (float[2] x) => (float[2] y) <float[2] w = {1,2}> { r = Dropout(x) y = Mul(r, w) }")
    assert obstacle(model, [0]) is None


# --- who reads a tensor ---


def test_readers_are_named_with_their_domain() -> None:
    model = parsed(RESIDUAL)
    assert readers(model, [0, 2]) == {"MatMul", "Mul"}
    model.proto.graph.node[4].domain = "com.example"
    assert readers(model, [2]) == {"com.example:Mul"}


def test_readers_inside_subgraphs_or_outside_the_model_are_not_told() -> None:
    model = parsed(BRANCHES)
    assert readers(model, [position(model, "w")]) is None
    assert readers(model, [position(model, "inner")]) is None
    overridable = parsed("g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1,2}> { y = Mul(x, w) }")
    assert readers(overridable, [0]) is None


# --- other values ---


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_new_values_are_read_back_and_the_model_given_keeps_its_own(build: Any, raw: bool, dtype: type) -> None:
    model = OnnxModel(proto=build(dtype=dtype, raw=raw), folder=Path())
    head, before = position(model, "head/kernel"), model.proto.SerializeToString()
    values = np.arange(20).reshape(4, 5).astype(dtype)
    changed = with_values(model, {head: values})
    held = next(each for each in changed.tensors() if each.position == head)
    assert changed.values(held).tobytes() == values.tobytes()
    assert graph_difference(model, changed) is None
    assert model.proto.SerializeToString() == before


@pytest.mark.parametrize(
    "values", [np.ones((5, 4), np.float32), np.ones((4, 5), np.float64)], ids=["another shape", "another type"]
)
def test_values_that_do_not_fit_are_refused(build: Any, values: NDArray[Any]) -> None:
    model = OnnxModel(proto=build(), folder=Path())
    with pytest.raises(TargetError, match=r"'head/kernel'.*FLOAT of shape.*\n.*own type and shape"):
        with_values(model, {position(model, "head/kernel"): values})


def test_values_of_strings_are_refused() -> None:
    model = parsed("g (float[2] x) => (float[2] y) { y = Neg(x) }")
    model.proto.graph.initializer.append(helper.make_tensor("text", TensorProto.STRING, [1], [b"a"]))
    with pytest.raises(TargetError, match="strings"):
        with_values(model, {0: np.array(["b"])})


def test_external_data_is_read_into_the_model(saved_external: Any, build: Any) -> None:
    from precbench.graph import load_model
    from precbench.graph.model import is_external

    model = load_model(saved_external(build()))
    model = with_values(model, {position(model, "head/kernel"): np.ones((4, 5), np.float32)})
    inside = with_data_inside(model)
    assert not any(is_external(held.proto) for held in inside.tensors())
    for mine, theirs in zip(inside.tensors(), model.tensors(), strict=True):
        assert inside.values(mine).tobytes() == model.values(theirs).tobytes()
    assert with_data_inside(inside) is inside


def test_external_data_that_does_not_fit_is_refused(
    saved_external: Any, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from precbench.graph import load_model

    monkeypatch.setattr("precbench.graph.partition._MAX_BYTES", 1000)
    with pytest.raises(ModelError, match="more than protobuf's 2 GiB"):
        with_data_inside(load_model(saved_external(build())))


# --- files ---


def test_a_part_with_external_data_is_written_with_it(saved_external: Any, build: Any, tmp_path: Path) -> None:
    from precbench.graph import load_model

    model = load_model(saved_external(build()))
    (tmp_path / "parts").mkdir()
    part = part_behind(model, cut_model(model, [position(model, "head/kernel")]), {"d": np.dtype(np.float32)}).model
    write_part(part, tmp_path / "parts" / "part.onnx")
    again = load_model(tmp_path / "parts" / "part.onnx")
    for one, other in zip(part.tensors(), again.tensors(), strict=True):
        assert part.values(one).tobytes() == again.values(other).tobytes()


def test_a_part_that_cannot_be_written_says_where_room_is_needed(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be written.*\n.*TMPDIR"):
        write_part(parsed(RESIDUAL), tmp_path / "missing" / "part.onnx")
