"""ONNX Runtime tells the cause of a failure to the process's standard error, not to the caller. Read it there."""

import contextlib
import io
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import IO

_LOCK = threading.RLock()
_STDERR = 2
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Noise:
    """What was written while it was captured; empty until the capture ends."""

    text: str = ""


@contextlib.contextmanager
def captured_noise() -> Iterator[Noise]:
    """Keep what native code writes to file descriptor 2, and Python to stdout, off the terminal, and return it.

    Short use only: what other threads write to descriptor 2 meanwhile ends up here too. A process without a usable
    descriptor 2 runs uncaptured.
    """
    noise, printed = Noise(), io.StringIO()
    with _LOCK, tempfile.TemporaryFile() as sink:
        saved = _redirect(sink)
        try:
            with contextlib.redirect_stdout(printed):
                yield noise
        finally:
            _restore(saved)
            sink.seek(0)
            noise.text = _COLOUR.sub("", sink.read().decode(errors="replace")) + printed.getvalue()


def _redirect(sink: IO[bytes]) -> int | None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    try:
        saved = os.dup(_STDERR)
    except OSError:
        return None
    os.dup2(sink.fileno(), _STDERR)
    return saved


def _restore(saved: int | None) -> None:
    if saved is None:
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    os.dup2(saved, _STDERR)
    os.close(saved)
