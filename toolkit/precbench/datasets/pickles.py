"""Pickles from strangers as plain data: an own small interpreter, so that nothing in them is imported, called or built.

`pickle.Unpickler` with a narrowed `find_class` is not enough: a memo index makes it allocate 64 GB, a nested tuple as
a key of a dict overflows the C stack, and numpy's own reconstruction allocates what the pickle declares.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.errors import DataError, printable

_MOST_OPCODES = 1 << 20  # a batch of 10,000 images takes 20,000 to 110,000
_MOST_AXES = 4


def read_pickle(content: bytes, *, name: str, remedy: str) -> dict[str, Any]:
    """Return the dict that a pickle of protocol 2 to 4 holds, as Python 2 and Python 3 write it.

    The law: whatever the bytes are, either this dict or a DataError comes back; no name is imported and no object is
    called; beside the values that the bytes spell out, no more bytes are made than `content` has.

    Args:
        content: at most as many bytes as the caller is ready to hold a few times.
        name: of the file, for messages.
        remedy: what to do where the file cannot be used.

    Returns:
        Keys as text. Values are text, bytes, whole numbers, None, lists, tuples and dicts of these; arrays are
        read-only uint8 of the declared shape.

    Raises:
        DataError: it asks for a global other than numpy's array, dtype and `_codecs.encode`, uses an opcode that data
            do not need, holds another array than of bytes or one whose bytes are not there, is damaged or no dict.

    Source: the opcodes of `pickletools`; what `numpy.ndarray.__reduce__` and Python 3's `bytes.__reduce__` write.
    """
    machine = _Machine(name=name, remedy=remedy, bytes_left=len(content))
    try:
        found = machine.run(content)
    except (ValueError, LookupError, OverflowError, MemoryError, RecursionError) as error:
        raise DataError(f"{name} is no readable pickle: {printable(str(error)[:200])}", remedy) from error
    if not isinstance(found, dict):
        raise DataError(f"{name} holds no dict", remedy)
    return {_text(key): value.values if isinstance(value, _Array) else value for key, value in found.items()}


class _Known(Enum):
    """What the globals stand for that a pickle may name; none of them is ever looked up."""

    RECONSTRUCT = "numpy.core.multiarray._reconstruct"
    NDARRAY = "numpy.ndarray"
    DTYPE = "numpy.dtype"
    ENCODE = "_codecs.encode"


_GLOBALS = {known.value: known for known in _Known} | {"numpy._core.multiarray._reconstruct": _Known.RECONSTRUCT}


@dataclass(slots=True, kw_only=True)
class _Array:
    """An array between its reconstruction, which says nothing yet, and its state."""

    values: NDArray[np.uint8] | None = None


class _ByteType:
    """The dtype of bytes; its state says nothing that matters."""


class _Machine:
    """The stack, the marks and the memo of one pickle."""

    def __init__(self, *, name: str, remedy: str, bytes_left: int) -> None:
        self.name = name
        self.remedy = remedy
        self.bytes_left = bytes_left  # what text may still become bytes: a memo would repeat it without end
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        """Return what lies on the stack at STOP."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count >= _MOST_OPCODES:
                raise self.refusal(f"takes more than {_MOST_OPCODES} steps to read")
            if opcode.name in _LITERALS:
                self.stack.append(argument)
            elif opcode.name in _STEPS:
                _STEPS[opcode.name](self, argument)
            elif opcode.name not in ("PROTO", "FRAME", "STOP"):
                if opcode.name == "INST":
                    self.known(str(argument))  # it names a class as GLOBAL does
                raise self.refusal(f"uses {opcode.name}, which data do not need")
        return self.stack.pop()

    def refusal(self, what: str) -> DataError:
        """Return the error that says what is refused."""
        return DataError(f"{self.name} {what}", self.remedy)

    def since_mark(self) -> list[Any]:
        """Take what lies above the last mark off the stack."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def known(self, names: str) -> _Known:
        """Return what a global, 'module name', stands for."""
        dotted = names.replace(" ", ".", 1)
        if dotted not in _GLOBALS:
            raise self.refusal(f"asks for {printable(dotted[:100])}, which data do not need; it was not loaded")
        return _GLOBALS[dotted]

    def as_bytes(self, text: object) -> bytes:
        """Return text as the bytes that it stands for, within the budget."""
        if isinstance(text, bytes):
            return text
        if not isinstance(text, str):
            raise self.refusal("declares bytes that are none")
        self.bytes_left -= len(text)
        if self.bytes_left < 0:
            raise self.refusal("makes more bytes than it holds")
        return text.encode("latin-1")


def _append(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, list):
        raise machine.refusal("appends to what is no list")
    target.extend(items)


def _set(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, dict):
        raise machine.refusal("sets items of what is no dict")
    if not all(isinstance(key, str | bytes) for key in items[::2]):
        raise machine.refusal("has a key that is no text")
    target.update(zip(items[::2], items[1::2], strict=True))


def _pop(machine: _Machine, count: int) -> list[Any]:
    if len(machine.stack) < count:
        raise machine.refusal("takes more off the stack than lies there")
    items = machine.stack[-count:]
    del machine.stack[-count:]
    return items


def _stack_global(machine: _Machine) -> _Known:
    module, name = _pop(machine, 2)
    if not isinstance(module, str) or not isinstance(name, str):
        raise machine.refusal("names a global by what is no text")
    return machine.known(f"{module} {name}")


def _reduce(machine: _Machine) -> None:
    called, arguments = _pop(machine, 2)
    if not isinstance(arguments, tuple):
        raise machine.refusal("calls with what is no tuple")
    machine.stack.append(_made(machine, called, arguments))


def _made(machine: _Machine, called: object, arguments: tuple[Any, ...]) -> Any:
    if called is _Known.RECONSTRUCT and arguments and arguments[0] is _Known.NDARRAY:
        return _Array()
    if called is _Known.DTYPE and arguments:
        if arguments[0] != "u1":
            shown = repr(arguments[0][:40]) if isinstance(arguments[0], str | bytes) else "no name"
            raise machine.refusal(f"holds an array of dtype {shown}, not of bytes ('u1')")
        return _ByteType()
    if called is _Known.ENCODE and len(arguments) == 2 and arguments[1] == "latin1":
        return machine.as_bytes(arguments[0])
    raise machine.refusal("calls what data do not need")


def _build(machine: _Machine) -> None:
    target, state = _pop(machine, 2)
    if isinstance(target, _Array):
        target.values = _values(machine, state)
    elif not isinstance(target, _ByteType):
        raise machine.refusal("sets the state of what is no array")
    machine.stack.append(target)


def _values(machine: _Machine, state: object) -> NDArray[np.uint8]:
    """Return the array of a state (version, shape, dtype, Fortran order, bytes): a view of the bytes."""
    if not isinstance(state, tuple) or len(state) != 5:
        raise machine.refusal("has an array without its five values")
    _, shape, dtype, fortran, raw = state
    if not isinstance(dtype, _ByteType) or not _is_shape(shape) or not isinstance(fortran, bool):
        raise machine.refusal("has an array without a shape, a dtype and an order")
    content = machine.as_bytes(raw)
    if prod(shape) != len(content):
        raise machine.refusal(f"declares an array of shape {shape} and holds {len(content)} bytes")
    return np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")


def _is_shape(shape: object) -> bool:
    return (
        isinstance(shape, tuple)
        and len(shape) <= _MOST_AXES
        and all(type(side) is int and 0 <= side < 1 << 40 for side in shape)
    )


def _text(key: str | bytes) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else key


_LITERALS = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "BINSTRING", "SHORT_BINSTRING"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"),
    }
)
"""Opcodes that push their argument. pickletools gives Python 2's strings as latin-1 text."""

_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": lambda m, _: m.marks.append(len(m.stack)),
    "NONE": lambda m, _: m.stack.append(None),
    "NEWTRUE": lambda m, _: m.stack.append(True),
    "NEWFALSE": lambda m, _: m.stack.append(False),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "EMPTY_TUPLE": lambda m, _: m.stack.append(()),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.since_mark())),
    "TUPLE1": lambda m, _: m.stack.append(tuple(_pop(m, 1))),
    "TUPLE2": lambda m, _: m.stack.append(tuple(_pop(m, 2))),
    "TUPLE3": lambda m, _: m.stack.append(tuple(_pop(m, 3))),
    "APPEND": lambda m, _: _append(m, _pop(m, 1)),
    "APPENDS": lambda m, _: _append(m, m.since_mark()),
    "SETITEM": lambda m, _: _set(m, _pop(m, 2)),
    "SETITEMS": lambda m, _: _set(m, m.since_mark()),
    "BINPUT": lambda m, index: m.memo.update({index: m.stack[-1]}),
    "LONG_BINPUT": lambda m, index: m.memo.update({index: m.stack[-1]}),
    "MEMOIZE": lambda m, _: m.memo.update({len(m.memo): m.stack[-1]}),
    "BINGET": lambda m, index: m.stack.append(m.memo[index]),
    "LONG_BINGET": lambda m, index: m.stack.append(m.memo[index]),
    "GLOBAL": lambda m, names: m.stack.append(m.known(names)),
    "STACK_GLOBAL": lambda m, _: m.stack.append(_stack_global(m)),
    "REDUCE": lambda m, _: _reduce(m),
    "BUILD": lambda m, _: _build(m),
}
"""Opcodes that change the stack, each with what it does."""
