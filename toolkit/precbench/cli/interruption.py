"""Ctrl-C and SIGTERM while a command measures: they end it in order, and nothing that was measured is lost by them."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

_AGAIN_S = 15.0
"""Seconds that ending in order may take: a measuring process is waited for twice 5 s. `timeout` sends its signal
twice, and who is impatient presses Ctrl-C twice: within this time the second says nothing new."""

Held = Callable[[], AbstractContextManager[None]]
"""Within it nothing is raised; what arrived meanwhile is raised at its end."""


class _Signals:
    def __init__(self) -> None:
        self._raised_s = -_AGAIN_S
        self._holds, self._waiting = 0, False

    def arrived(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if time.monotonic() - self._raised_s < _AGAIN_S:
            return
        if self._holds:
            self._waiting = True
        else:
            self._raise()

    @contextmanager
    def held(self) -> Iterator[None]:
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
        if self._waiting:
            self._raise()

    def _raise(self) -> None:
        self._raised_s, self._waiting = time.monotonic(), False
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Held]:
    """Let SIGTERM act like Ctrl-C, both of them once; what ran before is restored at the end.

    A signal that is ignored from the start (as under nohup) stays ignored.

    Yields:
        What to save and print within.
    """
    signals, before = _Signals(), {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, signals.arrived)
        yield signals.held
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
