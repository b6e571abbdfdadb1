"""Progress bars and notes on the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from precbench.progress import SILENT

_WIDE = 200  # columns where the output is no terminal: nothing is cut in a file or a pipe


class _Console(Console):
    """A console whose reader may go, as `| head` does: Rich itself would end with the status of a missed threshold."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def make_console(*, stderr: bool = False) -> Console:
    """Return a console for standard output, or standard error; NO_COLOR and pipes are respected."""
    console = _Console(stderr=stderr, highlight=False, emoji=False)
    return console if console.is_terminal else _Console(stderr=stderr, highlight=False, emoji=False, width=_WIDE)


def say(console: Console, text: str) -> None:
    """Print a sentence as it is: never read as markup, broken into lines on a terminal only."""
    console.print(text, markup=False, soft_wrap=not console.is_terminal)


class TerminalProgress:
    """`precbench.progress.Progress` on standard error: one bar per piece of work, gone when it is done."""

    def __init__(self) -> None:
        """Begin with no bar."""
        self._console = make_console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._open = 0

    @contextmanager
    def track(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar while the work goes on, on a terminal only; bars may be nested."""
        if not self._console.is_terminal:
            with SILENT.track(label, total) as advance:
                yield advance
            return
        task = self._bars.add_task(label, total=total)
        self._open += 1
        if self._open == 1:
            self._bars.start()
        try:
            yield lambda steps: self._bars.advance(task, steps)
        finally:
            self._open -= 1
            self._bars.remove_task(task)
            if self._open == 0:
                self._bars.stop()

    def note(self, text: str) -> None:
        """Print one line, above the bars."""
        self._console.print(text, style="dim", markup=False, soft_wrap=not self._console.is_terminal)
