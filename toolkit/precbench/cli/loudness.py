"""How much the command line says beside its result."""

from contextvars import ContextVar
from enum import Enum

from precbench.errors import UsageError


class Loudness(Enum):
    """What goes to standard error."""

    QUIET = "problems alone"
    USUAL = "progress, notes and problems"
    VERBOSE = "these, and where a problem came up"


_chosen: ContextVar[Loudness] = ContextVar("loudness", default=Loudness.USUAL)


def choose(*, quiet: bool, verbose: bool) -> None:
    """Set the loudness of this command.

    Raises:
        UsageError: both are asked for.
    """
    _chosen.set(Loudness.USUAL)
    if quiet and verbose:
        raise UsageError("--quiet and --verbose are both given", "give one of them")
    _chosen.set(Loudness.QUIET if quiet else Loudness.VERBOSE if verbose else Loudness.USUAL)


def loudness() -> Loudness:
    """Return the loudness of this command."""
    return _chosen.get()
