"""The command line: `precbench COMMAND`. Thin: it reads options, calls the library, prints the record."""

import errno
import importlib
import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer

import precbench
from precbench.cli.loudness import Loudness, choose, loudness
from precbench.errors import PrecbenchError, printable

COMMANDS = (
    *("run", "status", "results", "train", "export", "round", "evaluate", "screen", "sensitivity", "search", "grids"),
    *("bench", "compare", "deploy", "verify", "report", "inspect"),
)
"""One module each, in the order of the work."""

_INTERRUPTED, _PIPE_CLOSED, _BUG = 130, 141, 70
_OF_THE_SYSTEM = frozenset(
    {errno.ENAMETOOLONG, errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENOTDIR, errno.EDQUOT}
)
"""What the system refuses because of a path or a full disk; another OSError is a bug and keeps its traceback."""

app = typer.Typer(
    name="precbench",
    help="Round a network's weights to N decimals, and measure honestly what that costs and what it gives.",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"precbench {precbench.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no notes, problems alone.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Also say where in the code a problem came up.")
    ] = False,
) -> None:
    del version
    choose(quiet=quiet, verbose=verbose)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


_BEFORE_COMMANDS = ("-q", "--quiet", "-v", "--verbose", "--version")


def main() -> None:
    """Run the command line.

    Exit status: 0 done, 1 a threshold the user set was missed, 2 bad usage or input, 70 a bug, with its traceback;
    130 and 141 as the shell gives them for Ctrl-C and a reader that is gone (`| head`).
    """
    for command in COMMANDS:
        importlib.import_module(f"precbench.cli.{command}")  # registers it
    try:
        status = app(standalone_mode=False)
    except PrecbenchError as error:
        if loudness() is Loudness.VERBOSE:
            traceback.print_exc()
        _fail(error.problem, error.remedy)
    except typer.TyperException as error:
        _fail(_message(error), _remedy(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it flushes
        status = _PIPE_CLOSED
    except OSError as error:
        if error.errno not in _OF_THE_SYSTEM:
            _fail_by_bug()
        named = f": {error.filename}" if error.filename else ""
        _fail(f"{error.strerror}{named}", "choose another path, or make room or give the permission for it")
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED
    except MemoryError:
        _fail("memory ran out", "free some, or give a smaller model, batch or data set")
    except Exception:  # told as what it is, not with the status of a threshold that was missed
        _fail_by_bug()
    if status == _INTERRUPTED:  # Typer itself turns Ctrl-C into this status
        _fail("interrupted", "run the same command again; what it had saved is kept", status=_INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _fail_by_bug() -> NoReturn:
    traceback.print_exc()
    _fail("precbench has a bug", "report the command and the lines above", status=_BUG)


def _message(error: typer.TyperException) -> str:
    format_message = getattr(error, "format_message", None)
    return str(format_message() if format_message else error).rstrip(".")


def _remedy(error: typer.TyperException) -> str:
    command, option = _command(error), getattr(error, "option_name", None)
    if option in _BEFORE_COMMANDS and command != "precbench":
        return f"put it before the command: `precbench {option} {command.removeprefix('precbench ')} …`"
    return f"see `{command} --help`"


def _command(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else "precbench"


def _fail(problem: str, remedy: str, *, status: int = 2) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.write(f"error: {printable(problem)}\n  try: {printable(remedy)}\n")
    sys.exit(status)
