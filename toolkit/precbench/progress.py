"""How long work reports that it moves, without knowing what a terminal is."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """Somewhere to report progress; `report.terminal` draws it as a bar, `SILENT` drops it."""

    def track(self, label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Announce `total` steps of work; the value yielded is called with the number of steps just done."""
        ...

    def note(self, text: str) -> None:
        """Say one line: what was found, made or chosen."""
        ...


class _Silent:
    @contextmanager
    def track(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        del label, total
        yield _drop

    def note(self, text: str) -> None:
        del text


def _drop(steps: int) -> None:
    del steps


SILENT: Progress = _Silent()
