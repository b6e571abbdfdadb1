"""Whether the packages of the extra `report` are there: asked before any work is done."""

from importlib.util import find_spec

from precbench.errors import MissingDependencyError

_NEEDED = {"altair": "Altair", "jinja2": "Jinja2", "vl_convert": "vl-convert", "PIL": "Pillow"}


def check_installed(*, extra: str = "report") -> None:
    """Refuse to begin a report that could not be ended.

    Args:
        extra: of precbench, that brings what is missing and all else that the command needs.

    Raises:
        MissingDependencyError: a package is not installed.
    """
    missing = [name for module, name in _NEEDED.items() if find_spec(module) is None]
    if missing:
        raise MissingDependencyError(
            f"a report needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            f"pip install 'precbench[{extra}]'",
        )
