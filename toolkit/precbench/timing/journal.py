"""What a measuring process tells, piece by piece, so that its death costs only the block that it was in.

A record is int64 words: its kind, how many words follow, and these. In a file, records that were cut off are dropped.
"""

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

from precbench.errors import DataError

_WORD = 8
MAX_JOURNAL_BYTES = 1 << 30


class Kind(IntEnum):
    """What a record holds."""

    CREATION = 1
    """Nanoseconds of making each callable, in the plan's order of arms."""
    FIRST_RUN = 2
    """Nanoseconds of each callable's first call, in the plan's order of arms."""
    CALLS = 3
    """Timed calls per position."""
    WARMUP = 4
    """One round: the arms' indices as called, then their nanoseconds in that order."""
    WARM = 5
    """The warm-up is over: 1 if a steady state was seen, else 0; nanoseconds spent on it."""
    BLOCK = 6
    """One block: the arms' indices per position, all starts, all elapsed times, in nanoseconds, call by call."""
    READING = 7
    """What was observed after a block (clocks, temperature): JSON in UTF-8, one byte per word."""


Keep = Callable[[Kind, Sequence[int]], None]
"""Take a record, at once: what was kept survives the process."""


class JournalFile:
    """A journal that is written to a file, each record in one write to the operating system."""

    def __init__(self, path: Path) -> None:
        """Begin an empty one."""
        self._stream = path.open("wb", buffering=0)

    def __call__(self, kind: Kind, words: Sequence[int]) -> None:
        """Append a record."""
        self._stream.write(array("q", [kind, len(words), *words]).tobytes())


def read_journal(path: Path) -> list[tuple[Kind, list[int]]]:
    """Read the whole records of a journal file; a last one that was cut off is left out.

    Raises:
        DataError: it holds what no journal holds, or too much.
    """
    if not path.exists():
        return []
    size = path.stat().st_size
    if size > MAX_JOURNAL_BYTES:
        raise DataError(f"the journal of a process has {size} bytes", "measure for a shorter time per process")
    words = array("q")
    words.frombytes(path.read_bytes()[: size // _WORD * _WORD])
    return list(_records(words))


def _records(words: "array[int]") -> Iterator[tuple[Kind, list[int]]]:
    start = 0
    while start + 2 <= len(words):
        kind, count = words[start], words[start + 1]
        if kind not in Kind.__members__.values() or count < 0:
            raise DataError("the journal of a measuring process is damaged", "measure again")
        if start + 2 + count > len(words):
            return
        yield Kind(kind), list(words[start + 2 : start + 2 + count])
        start += 2 + count


def reading_words(value: Any) -> list[int]:
    """Turn a JSON value into a record's words."""
    return list(json.dumps(value, allow_nan=False).encode())


def words_reading(words: Sequence[int]) -> Any:
    """Turn a record's words into the JSON value that they hold."""
    return json.loads(bytes(words))
