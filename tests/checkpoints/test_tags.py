import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precbench.checkpoints.tags import LAST_TAG, is_tagged, read_layout, tag_variables

shapes = st.lists(st.lists(st.integers(1, 5), max_size=5).map(tuple), min_size=1, max_size=4)


@given(shapes, st.data())
def test_any_permutation_and_reshape_of_a_variable_is_read_back(variable_shapes, data):
    variables = tag_variables(variable_shapes)
    variable = data.draw(st.sampled_from(variables))
    order = data.draw(st.permutations(range(len(variable.shape))))
    flat = data.draw(st.booleans())
    laid_out = np.transpose(variable.values(), order)
    laid_out = laid_out.reshape(-1) if flat else laid_out

    layout = read_layout(laid_out, variables)

    assert layout is not None
    assert layout.index == variable.index
    again = np.transpose(variable.values(), layout.permutation).reshape(layout.shape)
    assert again.shape == laid_out.shape
    assert again.tobytes() == laid_out.tobytes()


@given(shapes)
def test_no_two_elements_share_a_tag(variable_shapes):
    values = [variable.values().reshape(-1) for variable in tag_variables(variable_shapes)]
    tags = np.concatenate(values).view(np.uint32)
    assert np.unique(tags).size == tags.size


def test_a_kernel_turned_for_onnx_needs_no_reshape_besides_its_permutation():
    (variable,) = tag_variables([(3, 3, 8, 1)])
    layout = read_layout(variable.values().transpose(2, 3, 0, 1), [variable])
    assert layout is not None
    assert layout.permutation == (2, 3, 0, 1)
    assert layout.shape == (8, 1, 3, 3)
    assert not layout.unchanged


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tags: tags * 2,
        lambda tags: tags + np.float32(1),
        lambda tags: tags[:-1],
        lambda tags: tags[::-1].copy(),
        lambda tags: np.concatenate([tags, tags]),
        lambda tags: tags.astype(np.float64),
        lambda tags: tags[:0],
    ],
    ids=["doubled", "added to", "cut", "reversed", "repeated", "another dtype", "empty"],
)
def test_what_is_no_layout_of_a_variable_is_not_taken_for_one(spoil):
    variables = tag_variables([(6,), (4,)])
    assert read_layout(spoil(variables[0].values()), variables) is None


def test_ordinary_constants_are_no_tags():
    variables = tag_variables([(6,), (4,)])
    for values in ([0.0, 6.0], [1e-3], [-1.0], [np.inf]):
        assert not is_tagged(np.array(values, np.float32), variables)
        assert read_layout(np.array(values, np.float32), variables) is None


def test_a_part_of_a_variable_is_known_as_its():
    variables = tag_variables([(6,), (4,)])
    assert is_tagged(variables[1].values()[1:3], variables)
    assert not is_tagged(np.concatenate([variable.values() for variable in variables]), variables)


def test_more_elements_than_tags_are_refused():
    with pytest.raises(ValueError, match=f"at most {LAST_TAG - 1} can be tagged"):
        tag_variables([(LAST_TAG,)])
