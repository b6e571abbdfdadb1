"""A variant's values are made when they are asked for, and are those that rounding the model gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sweep.conftest import parsed, position, residual_network

from precbench.errors import ModelError, TargetError
from precbench.graph import OnnxModel, Plan, list_initializers, round_model
from precbench.graph.partition import with_values
from precbench.sweep import rounded_variant
from precbench.sweep.variants import differing, digest, same_bits

NETWORK = residual_network()
NAMES = [initializer.name for initializer in list_initializers(NETWORK)]


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(0, 9), max_size=8))
def test_a_rounded_variant_has_the_values_of_the_rounded_model(decimals: dict[str, int]) -> None:
    plan = Plan.of_decimals(decimals)
    variant, rounded = (
        with_values(NETWORK, rounded_variant("v", NETWORK, plan).values()),
        round_model(NETWORK, plan).model,
    )
    for mine, theirs in zip(variant.tensors(), rounded.tensors(), strict=True):
        assert same_bits(variant.values(mine), rounded.values(theirs))


def test_a_plan_for_another_model_is_refused(network: OnnxModel) -> None:
    with pytest.raises(TargetError, match="'nowhere', which the model has not"):
        rounded_variant("v", network, Plan.of_decimals({"nowhere": 1}))


def test_weights_that_are_not_finite_are_refused_when_they_are_needed() -> None:
    model = parsed("g (float[2] x) => (float[2] y) <float[2] w = {1,2}> { y = Mul(x, w) }")
    model.proto.graph.initializer[0].float_data[0] = np.inf
    variant = rounded_variant("v", model, Plan.of_decimals({"w": 1}))
    with pytest.raises(ModelError, match="'w' hold 1 NaN or infinite values of 2"):
        variant.values()


def test_only_values_with_other_bits_differ(network: OnnxModel) -> None:
    head, bias = position(network, "head/kernel"), position(network, "head/bias")
    held = {each.position: network.values(each) for each in network.tensors()}
    assert differing(network, {head: held[head].copy(), bias: held[bias] * 2}).keys() == {bias}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (np.array([0.0]), np.array([-0.0]), False),
        (np.array([np.nan]), np.array([np.nan]), True),
        (np.array([1.0]), np.array([[1.0]]), False),
        (np.array([1], np.int32), np.array([1], np.uint32), False),
        (np.array(["a"], object), np.array(["a"], object), True),
        (np.array(["a"], object), np.array(["b"], object), False),
        (np.arange(6).reshape(2, 3).T, np.array([[0, 3], [1, 4], [2, 5]]), True),
    ],
)
def test_the_same_bits(one: np.ndarray, other: np.ndarray, same: bool) -> None:
    assert same_bits(one, other) is same


def test_digests_tell_values_positions_shapes_and_types_apart() -> None:
    values = [
        {1: np.zeros(4, np.float32)},
        {2: np.zeros(4, np.float32)},
        {1: np.zeros((2, 2), np.float32)},
        {1: np.zeros(2, np.float64)},
        {1: np.array([0, 0, 0, -0.0], np.float32)},
        {1: np.zeros(4, np.float32), 2: np.zeros(4, np.float32)},
    ]
    assert len({digest(each) for each in values}) == len(values)
    assert digest({1: np.ones(2), 2: np.ones(3)}) == digest({2: np.ones(3), 1: np.ones(2)})
