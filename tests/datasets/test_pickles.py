import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precbench.datasets import pickles
from precbench.datasets.pickles import read_pickle
from precbench.errors import DataError

# pickletools decodes an opcode's argument before we refuse the opcode
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")

_ARRAY = np.arange(12, dtype=np.uint8).reshape(2, 6)


def _read(content: bytes) -> dict[str, Any]:
    return read_pickle(content, name="batch", remedy="take another")


class _Calls:
    """Pickles as a call of whatever it is given."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.text(max_size=300) | st.binary(min_size=1),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.binary(min_size=1, max_size=3), inner, max_size=4)
    ),
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), _PLAIN, max_size=5), st.sampled_from([2, 3, 4]))
def test_plain_data_come_back_as_pythons_own_reader_gives_them(value: dict[str, Any], protocol: int) -> None:
    assert _read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("array", [_ARRAY, np.asfortranarray(_ARRAY), _ARRAY[0], _ARRAY.reshape(1, 2, 3, 2)])
def test_arrays_of_bytes_come_back_read_only(array: np.ndarray, protocol: int) -> None:
    found = _read(pickle.dumps({"data": array}, protocol))["data"]
    assert found.dtype == np.uint8
    assert found.shape == array.shape
    assert np.array_equal(found, array)
    assert not found.flags.writeable


def test_what_python_2_wrote_is_read(authors_batch: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
    found = _read(authors_batch(images, [3, 1, 2]))
    assert np.array_equal(found["data"], images)
    assert found["labels"] == [3, 1, 2]
    assert found["filenames"][2] == "tabby_s_000002.png"
    assert found["batch_label"] == "training batch 1 of 5"


def test_keys_of_bytes_become_text() -> None:
    assert _read(pickle.dumps({b"labels": [1]}, 2)) == {"labels": [1]}


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_call_is_refused_by_its_name_and_not_made(tmp_path: Path, protocol: int) -> None:
    import os

    marker = tmp_path / "ran"
    content = pickle.dumps({"data": _Calls(os.system, f"touch {marker}")}, protocol)
    with pytest.raises(DataError, match=r"batch asks for posix\.system, which data do not need; it was not loaded"):
        _read(content)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("function", "name"),
    [(eval, "eval"), (exec, "exec"), (getattr, "getattr"), (__import__, "__import__"), (bytearray, "bytearray")],
)
def test_built_in_functions_are_refused(function: Any, name: str) -> None:
    with pytest.raises(DataError, match=rf"asks for (__builtin__|builtins)\.{name}"):
        _read(pickle.dumps({"data": _Calls(function, "1")}, 4))


def test_a_call_within_the_arguments_of_an_allowed_one_is_refused() -> None:
    import _codecs

    with pytest.raises(DataError, match=r"asks for .*\.eval"):
        _read(pickle.dumps({"data": _Calls(_codecs.encode, _Calls(eval, "'a'"), "latin1")}, 2))


def test_a_class_is_refused_by_its_name() -> None:
    with pytest.raises(DataError, match=r"asks for pathlib\.PosixPath"):
        _read(pickle.dumps({"data": Path("a")}, 2))


def test_the_name_of_a_global_cannot_steer_a_terminal() -> None:
    with pytest.raises(DataError, match=r"asks for o\\x1b\[2Js\.system") as caught:
        _read(b"\x80\x04\x8c\x06o\x1b[2Js\x8c\x06system\x93.")
    assert caught.value.remedy == "take another"


@pytest.mark.parametrize(
    ("content", "opcode"),
    [
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02\x83\x01\x00.", "EXT2"),
        (b"\x80\x02\x84\x01\x00\x00\x00.", "EXT4"),
        (b"Pid\n.", "PERSID"),
        (b"NQ.", "BINPERSID"),
        (b"))\x81.", "NEWOBJ"),
        (b")))\x92.", "NEWOBJ_EX"),
        (b"(N)o.", "OBJ"),
        (b"\x97.", "NEXT_BUFFER"),
        (b"\x80\x05\x96\x00\x00\x00\x00\x00\x00\x00\x00.", "BYTEARRAY8"),
        (b"\x8b\x00\x00\x00\x00.", "LONG4"),
        (b"N2.", "DUP"),
        (b"\x8f.", "EMPTY_SET"),
    ],
)
def test_opcodes_that_data_do_not_need_are_refused(content: bytes, opcode: str) -> None:
    with pytest.raises(DataError, match=f"batch uses {opcode}, which data do not need"):
        _read(content)


@pytest.mark.parametrize("opcode", [b"\x85", b"\x86", b"\x87", b"a", b"s", b"R", b"b"])
def test_an_opcode_takes_no_less_than_it_needs(opcode: bytes) -> None:
    with pytest.raises(DataError, match="takes more off the stack than lies there"):
        _read(opcode + b".")


def test_an_instance_of_the_oldest_protocol_is_refused_by_its_name() -> None:
    with pytest.raises(DataError, match=r"asks for os\.system"):
        _read(b"(ios\nsystem\n.")


def test_even_an_allowed_name_makes_no_instance() -> None:
    with pytest.raises(DataError, match="batch uses INST"):
        _read(b"(inumpy\nndarray\n.")


_NDARRAY = b"cnumpy\nndarray\n"
_DTYPE = b"cnumpy\ndtype\n"
_RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
_U1 = _DTYPE + b"U\x02u1\x85R"
_BLANK = _RECONSTRUCT + _NDARRAY + b"\x85R"


@pytest.mark.parametrize(
    "called",
    [
        _NDARRAY + b"(J\xff\xff\xff\x7ft\x85R",
        _RECONSTRUCT + _DTYPE + b"\x85R",
        _RECONSTRUCT + b")R",
        _DTYPE + b")R",
        b"c_codecs\nencode\nU\x01aU\x05utf_7\x86R",
        b"U\x01a)R",
    ],
)
def test_allowed_globals_are_called_only_as_arrays_need(called: bytes) -> None:
    with pytest.raises(DataError, match="calls what data do not need"):
        _read(b"\x80\x02}U\x01a" + called + b"s.")


@pytest.mark.parametrize("dtype", [object, np.float32, np.int64, "U5", np.dtype([("a", "u1")])])
def test_arrays_of_anything_but_bytes_are_refused(dtype: Any) -> None:
    with pytest.raises(DataError, match=r"holds an array of dtype .*, not of bytes \('u1'\)"):
        _read(pickle.dumps({"data": np.zeros(2, dtype)}, 2))


def _array(shape: bytes, raw: bytes, dtype: bytes = _U1, order: bytes = b"\x89") -> bytes:
    return b"\x80\x02}U\x04data" + _BLANK + b"(K\x01" + shape + dtype + order + raw + b"tbs."


@pytest.mark.parametrize(
    "shape", [b"J\xff\xff\xff\x7f\x85", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", b"K\x04\x85", b"K\x02\x85"]
)
def test_an_array_larger_or_smaller_than_its_bytes_is_refused(shape: bytes) -> None:
    with pytest.raises(DataError, match=r"declares an array of shape .* and holds 3 bytes"):
        _read(_array(shape, b"U\x03abc"))


@pytest.mark.parametrize(
    "content",
    [
        _array(b"J\xff\xff\xff\xff\x85", b"U\x03abc"),  # a negative side
        _array(b"]", b"U\x03abc"),
        _array(b"\x88\x85", b"U\x01a"),
        _array(b"(K\x01K\x01K\x01K\x01K\x03t", b"U\x03abc"),
        _array(b"K\x03\x85", b"U\x03abc", dtype=b"U\x02u1"),
        _array(b"K\x03\x85", b"U\x03abc", order=b"K\x01"),
    ],
)
def test_an_array_without_a_shape_a_dtype_or_an_order_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="has an array without a shape, a dtype and an order"):
        _read(content)


def test_other_arrays_states_are_refused() -> None:
    with pytest.raises(DataError, match="without its five values"):
        _read(b"\x80\x02}U\x04data" + _BLANK + b"K\x01\x85bs.")
    with pytest.raises(DataError, match="declares bytes that are none"):
        _read(_array(b"K\x03\x85", b"K\x03"))
    with pytest.raises(DataError, match="sets the state of what is no array"):
        _read(b"\x80\x02}}b.")


def test_an_array_that_never_got_its_values_is_none() -> None:
    assert _read(b"\x80\x02}U\x04data" + _BLANK + b"s.") == {"data": None}


def test_a_memo_index_of_two_billion_costs_nothing() -> None:
    assert _read(b"\x80\x02}r\xff\xff\xff\xffj\xff\xff\xff\xff.") == {}


def test_a_deeply_nested_key_is_refused_before_it_is_hashed() -> None:
    with pytest.raises(DataError, match="has a key that is no text"):
        _read(b"\x80\x02})" + b"\x85" * 200_000 + b"Ns.")


def test_deep_lists_are_read_without_recursion() -> None:
    found = _read(b"\x80\x02}U\x01a" + b"]" * 100_000 + b"a" * 99_999 + b"s.")
    assert len(found["a"]) == 1


def test_text_repeated_by_the_memo_does_not_grow_without_end() -> None:
    text = b"T" + (10_000).to_bytes(4, "little") + b"a" * 10_000
    once = b"c_codecs\nencode\n" + text + b"q\x00U\x06latin1"
    encode = b"c_codecs\nencode\nh\x00U\x06latin1\x86R"
    with pytest.raises(DataError, match="makes more bytes than it holds"):
        _read(b"\x80\x02}U\x01a]" + once + b"\x86Ra" + (encode + b"a") * 3 + b"s.")


def test_more_steps_than_a_batch_takes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "_MOST_OPCODES", 1000)
    with pytest.raises(DataError, match="takes more than 1000 steps to read"):
        _read(b"]" * 2000)


@pytest.mark.parametrize("opcode", [b"B", b"T", b"X"])
def test_a_length_that_is_not_there_is_refused(opcode: bytes) -> None:
    with pytest.raises(DataError, match="is no readable pickle"):
        _read(b"\x80\x03}U\x01a" + opcode + b"\xff\xff\xff\x7fabc")


@pytest.mark.parametrize("value", [[1], "text", None, (1, 2)])
def test_a_pickle_of_something_else_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="batch holds no dict"):
        _read(pickle.dumps(value, 2))


@pytest.mark.parametrize(
    "content", [b"", b".", b"\x80\x02}", b"}u.", b"}a.", b"}Ks.", b"}NNe.", b"\x80\x02}h\x05.", b"\xff."]
)
def test_damaged_pickles_are_refused(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^batch "):
        _read(content)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_dict_or_an_error_of_ours(content: bytes) -> None:
    _never_crashes(content)


_PIECES = st.sampled_from(
    [
        *(bytes([code]) for code in b"}])(N\x88\x89\x85\x86\x87taesubR0.\x93\x94"),
        *(
            b"U\x01a",
            b"U\x06latin1",
            b"K\x03",
            b"J\xff\xff\xff\xff",
            b"q\x00",
            b"h\x00",
            b"C\x02ab",
            b"X\x02\x00\x00\x00\xc3\xa9",
        ),
        *(_NDARRAY, _DTYPE, _RECONSTRUCT, _U1, _BLANK, b"c_codecs\nencode\n", b"cos\nsystem\n"),
    ]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(_PIECES, max_size=30))
def test_any_sequence_of_opcodes_gives_a_dict_or_an_error_of_ours(pieces: list[bytes]) -> None:
    _never_crashes(b"".join(pieces) + b".")
    _never_crashes(b"\x80\x02}U\x04data" + b"".join(pieces) + b"s.")


@settings(deadline=None)
@given(st.data())
def test_a_batch_with_changed_bytes_gives_a_dict_or_an_error_of_ours(data: st.DataObject) -> None:
    content = bytearray(pickle.dumps({b"labels": [1, 2], b"data": _ARRAY}, data.draw(st.sampled_from([2, 4]))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    _never_crashes(bytes(content[: data.draw(st.integers(1, len(content)))]))


def _never_crashes(content: bytes) -> None:
    with suppress(DataError):
        assert isinstance(_read(content), dict)
