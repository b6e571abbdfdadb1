"""Inputs drawn from a seed, or read from an .npz."""

import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precbench.errors import DataError, UsageError
from precbench.runtime import TensorSpec, fixed_batch, input_recipe, load_inputs, seeded_inputs
from precbench.runtime import inputs as module


def spec(name="x", dtype=np.float32, shape=("batch", 3)):
    return TensorSpec(name=name, dtype=np.dtype(dtype), shape=shape)


IMAGES = spec(shape=("N", 3, "H", "W"))


@given(st.integers(0, 2**40), st.integers(1, 4))
def test_the_same_seed_gives_the_same_inputs_and_another_others(seed, batch):
    specs = [spec("a"), spec("b", np.float64)]
    first, second, other = (seeded_inputs(specs, seed=s, batch=batch) for s in (seed, seed, seed + 1))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
        assert not np.array_equal(array, other[name])
    assert not np.array_equal(first["a"], first["b"].astype(np.float32))


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        (np.float16, -10, 10),
        (np.float32, -10, 10),
        (np.float64, -10, 10),
        (np.bool_, 0, 1),
        (np.int8, 0, 1),
        (np.int32, 0, 1),
        (np.int64, 0, 1),
        (np.uint16, 0, 1),
        (np.uint8, 0, 255),
    ],
)
def test_inputs_fit_their_declared_type_and_range(dtype, low, high):
    found = seeded_inputs([spec(dtype=dtype, shape=(None, 50))], seed=1, batch=8)["x"]
    assert (found.dtype, found.shape) == (np.dtype(dtype), (8, 50))
    assert low <= found.min() < found.max() <= high


def test_a_scalar_input_is_drawn_as_one():
    assert seeded_inputs([spec(shape=())], seed=1, batch=8)["x"].shape == ()


def test_a_given_shape_is_taken_and_its_symbols_hold_for_the_other_inputs():
    specs = [spec("ids", np.int64, ("b", "seq")), spec("mask", np.int64, ("b", "seq")), spec("y", shape=("other", 2))]
    found = seeded_inputs(specs, seed=0, batch=4, shapes={"ids": (2, 7)})
    assert [array.shape for array in found.values()] == [(2, 7), (2, 7), (4, 2)]


def test_a_fixed_batch_stays_as_the_model_has_it():
    assert seeded_inputs([spec(shape=(1, 3))], seed=0, batch=32)["x"].shape == (1, 3)
    assert fixed_batch([spec(shape=(8, 3)), spec("y", shape=(8,)), spec("t", shape=())]) == 8
    assert fixed_batch([spec(shape=(8, 3)), spec("y", shape=(4,))]) is None
    assert fixed_batch([spec()]) is None


def test_the_recipe_says_what_was_drawn():
    recipe = json.loads(json.dumps(input_recipe([spec(), spec("i", np.uint8, (2,))], seed=3, batch=4)))
    assert recipe == {
        "kind": "seeded",
        "seed": 3,
        "batch": 4,
        "inputs": {
            "x": {"dtype": "float32", "shape": [4, 3], "distribution": "standard normal"},
            "i": {"dtype": "uint8", "shape": [2], "distribution": "uniform integers 0..255"},
        },
    }
    assert input_recipe([spec("i", np.int32, (2,))], seed=3, batch=4)["inputs"]["i"]["distribution"] == (
        "uniform integers 0..1"
    )


def test_an_unknown_size_is_refused_with_what_to_type():
    with pytest.raises(UsageError) as caught:
        seeded_inputs([IMAGES], seed=0, batch=1)
    assert caught.value.problem == "the input 'x' has the shape [N, 3, H, W]: its sizes are not all known"
    assert caught.value.remedy == "add --shape x=1x3x224x224, with your sizes where 224 stands"


@pytest.mark.parametrize(
    ("shapes", "problem"),
    [
        ({"y": (1,)}, "--shape names 'y', which is no input of the model"),
        ({"x": (1, 3, 8)}, "--shape x=1x3x8 does not fit: the model wants [N, 3, H, W]"),
        ({"x": (1, 4, 8, 8)}, "--shape x=1x4x8x8 does not fit"),
        ({"x": (1, 3, 0, 8)}, "--shape x=1x3x0x8 has a size below 1"),
        ({"x": (1, 3, -8, 8)}, "has a size below 1"),
        ({"x": (1, 3, 10**6, 10**6)}, "the input x=1x3x1000000x1000000 would take more than 8 GiB"),
        ({"x": (1, 3, 2**62, 2**62)}, "is out of range"),
    ],
)
def test_a_shape_that_does_not_fit_or_is_out_of_range_is_refused(shapes, problem):
    with pytest.raises(UsageError) as caught:
        seeded_inputs([IMAGES], seed=0, batch=1, shapes=shapes)
    assert problem in caught.value.problem


def test_one_symbol_with_two_sizes_is_refused():
    specs = [spec("a", shape=("n", "s")), spec("b", shape=("n", "s"))]
    with pytest.raises(UsageError, match="--shape gives 's' the sizes 5 and 6"):
        seeded_inputs(specs, seed=0, batch=1, shapes={"a": (1, 5), "b": (1, 6)})


def test_an_input_fixed_to_nothing_is_refused():
    with pytest.raises(UsageError, match=r"fixes the input 'x' to \[1, 0\], which holds nothing"):
        seeded_inputs([spec(shape=(1, 0))], seed=0, batch=1)


@pytest.mark.parametrize(("seed", "batch"), [(-1, 1), (0, 0)])
def test_a_seed_or_batch_out_of_range_is_refused(seed, batch):
    with pytest.raises(UsageError, match=f"the seed {seed} or the batch {batch} is out of range"):
        seeded_inputs([spec()], seed=seed, batch=batch)


def test_strings_are_not_drawn():
    with pytest.raises(UsageError, match="the input 'x' is of strings") as caught:
        seeded_inputs([spec(dtype=np.str_)], seed=0, batch=1)
    assert caught.value.remedy == "give the inputs with --input FILE.npz"


# Files.


@pytest.fixture
def save(tmp_path):
    def write(*arrays, **named):
        np.savez(tmp_path / "inputs.npz", *arrays, **named)
        return tmp_path / "inputs.npz"

    return write


def test_inputs_are_read_by_name_and_converted_where_nothing_is_lost(save):
    path = save(b=np.arange(3, dtype=np.uint8), a=np.ones((2, 3), dtype=np.float32))
    found = load_inputs(path, [spec("a"), spec("b", np.int64, ("k",))])
    assert list(found) == ["a", "b"]
    assert found["b"].dtype == np.int64
    assert found["b"].tolist() == [0, 1, 2]


def test_one_array_for_one_input_needs_no_name(save):
    assert load_inputs(save(np.ones((2, 3), dtype=np.float32)), [spec("pixels")])["pixels"].shape == (2, 3)


def test_strings_are_read_as_strings(save):
    assert load_inputs(save(x=np.array(["a", "b"])), [spec(dtype=np.str_, shape=("n",))])["x"].tolist() == ["a", "b"]


def test_any_batch_lets_rows_differ_from_the_models(save):
    path = save(x=np.ones((5, 3), dtype=np.float32))
    assert load_inputs(path, [spec(shape=(1, 3))], any_batch=True)["x"].shape == (5, 3)
    with pytest.raises(DataError, match=r"got the shape \[5, 3\], the model wants \[1, 3\]"):
        load_inputs(path, [spec(shape=(1, 3))])


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"x": np.ones((2, 3), np.float32), "z": np.ones(1)}, "the model has no input 'z'"),
        ({"x": np.ones((2, 3), np.float32)}, "the input 'y' is missing"),
        (
            {"x": np.ones((2, 3)), "y": np.ones((2, 3), np.float32)},
            "the input 'x' got float64, which does not convert to float32 without loss",
        ),
        (
            {"x": np.ones((2, 4), np.float32), "y": np.ones((2, 3), np.float32)},
            "the input 'x' got the shape [2, 4], the model wants [batch, 3]",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_the_file(save, arrays, problem):
    with pytest.raises(DataError) as caught:
        load_inputs(save(**arrays), [spec("x"), spec("y")])
    assert problem in caught.value.problem
    assert "inputs.npz" in caught.value.problem


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no input file"):
        load_inputs(tmp_path / "none.npz", [spec()])


def test_python_objects_are_refused_and_not_run(save):
    with pytest.raises(DataError, match="holds Python objects, which are not loaded"):
        load_inputs(save(x=np.array([{"a": 1}], dtype=object)), [spec()])


def test_a_plain_npy_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((2, 3), dtype=np.float32))
    with pytest.raises(DataError, match=r"is no \.npz"):
        load_inputs(tmp_path / "x.npy", [spec()])


def npz_with(member: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", member)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"PK\x03\x04 truncated",
        npz_with(b"no array"),
        npz_with(b"\x93NUMPY\x01\x00\x10\x00{'descr': <f4"),
        npz_with(b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, 'shape': (9, 9), }        \n"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_inputs(tmp_path / "x.npz", [spec()])
    assert "x.npz" in caught.value.problem


def test_a_file_cut_short_is_refused(save):
    path = save(x=np.ones((200, 3), dtype=np.float32))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match="or a damaged one"):
        load_inputs(path, [spec()])


def test_an_array_too_large_for_memory_is_refused(save, monkeypatch):
    def too_large(*_, **__):
        raise MemoryError("too large")

    monkeypatch.setattr(module.np, "load", too_large)
    with pytest.raises(DataError, match="MemoryError: too large"):
        load_inputs(save(x=np.ones(1)), [spec()])
