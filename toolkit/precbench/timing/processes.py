"""Carry out a plan in a fresh process: the two ends of it, the caller's and the child's.

This is imported by every measuring process, so it imports little.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from precbench import errors
from precbench.errors import PrecbenchError
from precbench.timing.journal import JournalFile, Keep, Kind, read_journal
from precbench.timing.measurement import Make, measure
from precbench.timing.samples import DONE, INTERRUPTED, ProcessSamples
from precbench.timing.schedule import ProcessPlan

_CALL, _JOURNAL, _RESULT, _FAILURE = "call.json", "journal", "result.json", "failure.json"
_REFUSED, _INTERRUPTED = 2, 130
_WAIT_S = 5.0  # for a child to end after Ctrl-C


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a child left.

    Args:
        ended: "done", "interrupted", "killed by SIGKILL", "failed: …".
        failure: the error that it ended with, if it did.
        records: its journal.
        result: the JSON value that it wrote at its end, if it did.
    """

    ended: str
    failure: PrecbenchError | None
    records: Sequence[tuple[Kind, list[int]]]
    result: Any

    def raise_failure(self) -> None:
        """Raise the error that it ended with, or KeyboardInterrupt; a child that was killed raises nothing."""
        if self.failure is not None:
            raise self.failure
        if self.ended == INTERRUPTED:
            raise KeyboardInterrupt


class ProcessRunner:
    """Runs plans in fresh Python processes (an `engine.RunProcess`)."""

    def __init__(self, module: str, request: Mapping[str, Any], *, folder: Path | None = None) -> None:
        """Remember what to run.

        Args:
            module: a module whose `__main__` calls `child_main`.
            request: JSON value that the child's `prepare` is given: what to make the arms of.
            folder: where the module lies, if it is in no package.
        """
        self._module, self._request, self._folder = module, request, folder

    def __call__(self, plan: ProcessPlan) -> ProcessSamples:
        """Start a process, wait until it ends, and read what it measured."""
        call = {"plan": plan.to_json(), "request": self._request}
        outcome = run_child(self._module, call, import_folder=self._folder)
        return ProcessSamples.from_records(plan, outcome.records, ended=outcome.ended, failure=outcome.failure)


def run_child(module: str, call: Mapping[str, Any], *, import_folder: Path | None = None) -> Outcome:
    """Run a module in a fresh Python process until it ends, or Ctrl-C ends it.

    Args:
        module: whose `__main__` calls `child_main` or `be_child`.
        call: JSON value for it.
        import_folder: added to its import path.

    Raises:
        RuntimeError: it ended with a traceback, which is in the message.
    """
    with tempfile.TemporaryDirectory(prefix="precbench-") as name:
        folder = Path(name)
        (folder / _CALL).write_text(json.dumps(call), encoding="utf-8")
        ended, failure = _run(module, folder, import_folder)
        result = folder / _RESULT
        return Outcome(
            ended=ended,
            failure=failure,
            records=read_journal(folder / _JOURNAL),
            result=json.loads(result.read_text(encoding="utf-8")) if ended == DONE and result.exists() else None,
        )


def _run(module: str, folder: Path, import_folder: Path | None) -> tuple[str, PrecbenchError | None]:
    # -P: the working directory is a stranger's, and no module of it is imported.
    command = [sys.executable, "-P", "-m", module, str(folder / _CALL), str(os.getpid())]
    environment = dict(os.environ)
    if import_folder is not None:
        paths = [str(import_folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    with (folder / "errors").open("wb") as stream:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stream, env=environment
        )
        try:
            status = child.wait()
        except KeyboardInterrupt:
            _end(child)
            return INTERRUPTED, None
    return _read_end(status, folder)


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Let a child end that the terminal's Ctrl-C reached too, and end one that it did not reach."""
    for end in (partial(child.send_signal, signal.SIGINT), child.kill):
        end()
        try:
            child.wait(_WAIT_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            continue
        return


def _read_end(status: int, folder: Path) -> tuple[str, PrecbenchError | None]:
    if status == 0:
        return DONE, None
    if status < 0:
        return f"killed by {_signal_name(-status)}", None
    if status == _INTERRUPTED:
        return INTERRUPTED, None
    told = folder / _FAILURE
    if status == _REFUSED and told.exists():
        value = json.loads(told.read_text(encoding="utf-8"))
        kind = getattr(errors, value["kind"])
        failure: PrecbenchError = kind(value["problem"], value["remedy"])
        return f"failed: {failure.problem}", failure
    words = (folder / "errors").read_text(encoding="utf-8", errors="replace")
    raise RuntimeError(f"a measuring process ended with status {status}:\n{words[-4000:]}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


Prepared = tuple[Make, Callable[[], Any] | None]
"""How to make each arm, and what to observe after each block, if anything."""


def child_main(prepare: Callable[[Any, ProcessPlan], Prepared], arguments: Sequence[str]) -> int:
    """Be a child that carries out a plan: measure what the call says, and keep it in the journal.

    Args:
        prepare: turns the request and the plan into the callables' maker and an observer.
        arguments: of the command line.

    Returns:
        The exit status.
    """

    def work(call: Any, journal: Keep) -> None:
        plan = ProcessPlan.from_json(call["plan"])
        make, observe = prepare(call["request"], plan)
        measure(make, plan, journal, observe=observe)

    return be_child(work, arguments)


def be_child(work: Callable[[Any, Keep], Any], arguments: Sequence[str]) -> int:
    """Be a child: do the work that the call file names, write what it returns, and return the exit status.

    It ends with its caller: when that is gone, so is what it works for.

    Args:
        work: given the call and a journal; what it returns is written as JSON.
        arguments: of the command line: the call file, and the caller's process number.
    """
    path, caller = Path(arguments[0]), int(arguments[1])
    call = json.loads(path.read_text(encoding="utf-8"))
    try:
        result = work(call, _while_called(JournalFile(path.with_name(_JOURNAL)), caller))
        path.with_name(_RESULT).write_text(json.dumps(result, allow_nan=False), encoding="utf-8")
    except PrecbenchError as error:
        value = {"kind": type(error).__name__, "problem": error.problem, "remedy": error.remedy}
        path.with_name(_FAILURE).write_text(json.dumps(value), encoding="utf-8")
        return _REFUSED
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _while_called(journal: JournalFile, caller: int) -> Keep:
    def keep(kind: Kind, words: Sequence[int]) -> None:
        journal(kind, words)
        if os.getppid() != caller:
            raise KeyboardInterrupt

    return keep
