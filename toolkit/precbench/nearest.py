"""From a name that is not known to those that may have been meant."""

import difflib
from collections.abc import Iterable

_MOST = 3


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which known names come nearest to a word: by spelling, whatever the case, or because they contain it.

    Where none is near the first few known names are listed; where none is known, that is said.
    """
    names = list(dict.fromkeys(known))
    by_lower = {name.lower(): name for name in reversed(names)}
    spelled = difflib.get_close_matches(word.lower(), by_lower, n=_MOST, cutoff=0.5)
    core = word.lower().strip("*?")
    containing = [name for name in names if core and core in name.lower()]
    close = list(dict.fromkeys([*(by_lower[name] for name in spelled), *containing]))[:_MOST]
    if close:
        return f"the nearest {'is' if len(close) == 1 else 'are'} {', '.join(close)}"
    if not names:
        return "there is none to choose from"
    return f"known are {', '.join(names[:_MOST])}{', …' if len(names) > _MOST else ''}"
