"""What inspect counts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from precbench.graph import load_model, take_census

Build = Callable[..., onnx.ModelProto]
Save = Callable[[onnx.ModelProto], Path]


def test_a_known_tensor_is_counted_exactly(build: Build, saved: Save) -> None:
    proto = build()
    values = np.array([[0.0, -0.0, 1e-41, 0.25, 0.25], [0.5, -3.0, 1e-39, 0, 2]], np.float32)
    proto.graph.initializer[6].CopyFrom(numpy_helper.from_array(values, "head/kernel"))
    proto.graph.initializer[6].dims[:] = values.shape
    census = take_census(load_model(saved(proto)), names={"head/kernel"})
    counts = census.rows[0].counts
    assert counts is not None
    assert (counts.elements, counts.minimum, counts.maximum) == (10, -3.0, 2.0)
    assert (counts.distinct, counts.zeros, counts.subnormals, counts.non_finite) == (7, 3, 2, 0)
    assert counts.decimals_needed is None


def test_values_that_are_not_finite_are_counted_apart(build: Build, saved: Save) -> None:
    proto = build()
    proto.graph.initializer[1].CopyFrom(
        numpy_helper.from_array(np.float32([np.nan, np.inf, 1.5, -np.inf]), "stem/bias")
    )
    census = take_census(load_model(saved(proto)), names={"stem/bias"})
    counts = census.rows[0].counts
    assert counts is not None
    assert (counts.non_finite, counts.distinct, counts.minimum, counts.maximum) == (3, 1, 1.5, 1.5)
    assert counts.decimals_needed is None


def test_totals_add_up_and_distinct_values_are_counted_once(build: Build, saved: Save) -> None:
    census = take_census(load_model(saved(build())))
    assert census.total.elements == sum(row.counts.elements for row in census.rows if row.counts) - 2
    assert set(census.groups) == {"-"}
    assert census.groups["-"] == census.total
    assert census.total.distinct <= census.total.elements


def test_strings_are_listed_without_counts(saved: Save) -> None:
    strings = helper.make_tensor("names", TensorProto.STRING, [2], [b"a", b"b"])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["names"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.STRING, [2])],
        [strings],
    )
    census = take_census(load_model(saved(helper.make_model(graph))))
    assert census.rows[0].counts is None
    assert census.total.elements == 0
