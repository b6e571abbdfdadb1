"""Bars on a terminal, silence in a pipe."""

import io

import pytest
from rich.console import Console

from precbench.report import terminal
from precbench.report.terminal import TerminalProgress, say


def on(monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool) -> io.StringIO:
    out = io.StringIO()
    console = Console(file=out, force_terminal=is_terminal, width=80, highlight=False)
    monkeypatch.setattr(terminal, "make_console", lambda **_options: console)
    return out


def test_nested_work_is_drawn_on_a_terminal_and_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    out = on(monkeypatch, is_terminal=True)
    bars = TerminalProgress()
    with bars.track("outer", 2) as advance:
        with bars.track("inner", 1) as inner:
            inner(1)
        advance(2)
    with bars.track("again", 1) as advance:
        advance(1)
    assert "outer" in out.getvalue()
    assert "again" in out.getvalue()


def test_a_pipe_gets_the_notes_and_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    out = on(monkeypatch, is_terminal=False)
    bars = TerminalProgress()
    with bars.track("work", 2) as advance:
        advance(2)
        bars.note("[one] line " + "x" * 100)
    assert out.getvalue() == "[one] line " + "x" * 100 + "\n"


def test_a_sentence_is_broken_into_lines_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_terminal, lines in ((True, 2), (False, 1)):
        out = io.StringIO()
        say(Console(file=out, force_terminal=is_terminal, width=80, highlight=False), "word " * 30)
        assert len(out.getvalue().splitlines()) == lines
