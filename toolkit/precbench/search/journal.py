"""What a search has evaluated, a line each, so that it can be stopped at any moment and goes on where it was."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from precbench.errors import OutputError, UsageError
from precbench.files import value_digest, write_text

_VERSION = 1


class SearchJournal:
    """Facts by key, appended to a file; a line that a kill left half-written is dropped."""

    def __init__(self, path: Path, about: Any) -> None:
        """Open the journal of a search, or begin one.

        Args:
            path: the file.
            about: all that its facts depend on, as JSON.

        Raises:
            UsageError: it is of another search, or is no journal.
            OutputError: it cannot be written.
        """
        self.path, self._known = path, dict[str, Any]()
        head = {"precbench search": _VERSION, "about": value_digest(about)}
        lines = self._lines()
        if lines and lines[0] != head:
            raise UsageError(
                f"{path} is the journal of a search on another model, other data or with other options: seed, batch, "
                "provider, grids",
                "give all as it was to go on with it, or remove the file to begin anew",
            )
        self._head = None if lines else head
        self._known |= {line["key"]: line["facts"] for line in lines[1:]}

    def facts(self) -> Sequence[Mapping[str, Any]]:
        """Return all facts, in the order in which they became known."""
        return tuple(self._known.values())

    def get(self, key: Any) -> Any:
        """Return what is known under a key; None where nothing is."""
        return self._known.get(value_digest(key))

    def put(self, key: Any, facts: Mapping[str, Any]) -> None:
        """Append facts, durably.

        Raises:
            OutputError: the file cannot be written.
        """
        name = value_digest(key)
        line = {"key": name, "facts": dict(facts)}
        if self._head is not None:
            self._rewrite([self._head])
            self._head = None
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written: {error.strerror}", "choose a place that you can write to"
            ) from error
        self._known[name] = dict(facts)

    def _lines(self) -> list[dict[str, Any]]:
        """The whole lines; what a kill left behind them is cut off."""
        if not self.path.exists():
            return []
        if not self.path.is_file():
            raise UsageError(f"{self.path} is no journal of a search: it is no file", "name another -o")
        whole, newline, rest = self.path.read_text(encoding="utf-8", errors="replace").rpartition("\n")
        try:
            found = [json.loads(line) for line in whole.split("\n")] if newline else []
            head, *facts = found or [{}]
            if not isinstance(head, dict) or not all(map(_is_line, facts)) or (rest and not found):
                raise ValueError
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{self.path} is no journal of a search", "name another -o, or remove the file") from error
        if rest:
            self._rewrite(found)
        return found

    def _rewrite(self, lines: list[dict[str, Any]]) -> None:
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))


def _is_line(line: object) -> bool:
    return isinstance(line, dict) and isinstance(line.get("key"), str) and isinstance(line.get("facts"), dict)
