"""Ctrl-C and SIGTERM end a command once, and not where something is saved."""

import os
import signal

import pytest

from precbench.cli import interruption
from precbench.cli.interruption import Held, interruptible

NUMBERS = [signal.SIGINT, signal.SIGTERM]


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_interrupts_once_and_the_handlers_are_restored(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in NUMBERS]
    with interruptible():
        with pytest.raises(KeyboardInterrupt):
            send(number)
        for again in NUMBERS:
            send(again)
    assert [signal.getsignal(one) for one in NUMBERS] == before


def test_a_signal_long_after_the_first_interrupts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 0.0, 1.0, 16.0, 16.0])
    monkeypatch.setattr(interruption.time, "monotonic", lambda: next(now))
    with interruptible():
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_what_arrives_while_held_is_raised_at_its_end() -> None:
    done = list[str]()

    def save(held: Held) -> None:
        with held():
            send(signal.SIGTERM)
            done.append("saved")

    with interruptible() as held, pytest.raises(KeyboardInterrupt):
        save(held)
    assert done == ["saved"]


def test_an_error_while_held_is_not_replaced() -> None:
    def fail(held: Held) -> None:
        with held():
            send(signal.SIGINT)
            raise ZeroDivisionError

    with interruptible() as held, pytest.raises(ZeroDivisionError):
        fail(held)


def test_a_signal_that_is_ignored_from_the_start_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            send(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
