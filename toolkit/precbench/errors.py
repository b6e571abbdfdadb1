"""The errors a user can cause and cure. Each says what is wrong, with the value, and the remedy."""


class PrecbenchError(Exception):
    """A problem in what the user gave, not in precbench. The command line prints it in two lines and exits 2.

    Args:
        problem: what is wrong, with the value and the limit; one line, no full stop needed.
        remedy: what to do about it; one line.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n{remedy}")
        self.problem = " ".join(problem.split())
        self.remedy = " ".join(remedy.split())


def problem_of(error: Exception) -> str:
    """Return what is wrong on one line, whatever the error: another than ours is a bug, whose traceback tells more."""
    return error.problem if isinstance(error, PrecbenchError) else f"{type(error).__name__}, see its traceback"


def printable(text: str) -> str:
    """Return a text on one line in which nothing steers a terminal: names come from strangers' files."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in line)


class UsageError(PrecbenchError):
    """An argument or an option has a value that cannot be used."""


class NoTimeError(UsageError):
    """A time budget has no room for what was asked."""


class ModelError(PrecbenchError):
    """A model file cannot be read, is damaged, or cannot be used for what was asked."""


class DataError(PrecbenchError):
    """Images, labels or inputs cannot be read or do not fit the model."""


class TargetError(PrecbenchError):
    """A pattern selects no initializer, or one that cannot be rounded."""


class ProviderError(PrecbenchError):
    """The execution provider asked for cannot run the model as asked."""


class OutputError(PrecbenchError):
    """An output exists already or cannot be written."""


class MissingDependencyError(PrecbenchError):
    """A command needs an optional package that is not installed."""
