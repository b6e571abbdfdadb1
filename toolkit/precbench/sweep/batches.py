"""The images of a sweep, batch by batch; none is held longer than it is needed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from precbench.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batches:
    """Feeds for all rows, made when they are asked for, and made anew each time.

    Args:
        rows: of all batches together, at least 1.
        size: rows of each batch but the last, at least 1; at most what the model takes, where it fixes that.
        make: (start, stop) -> one array per input of the model, with these rows; the same every time. With several
            workers it is called by several threads at a time.

    Raises:
        UsageError: a number is below 1.
    """

    rows: int
    size: int
    make: Callable[[int, int], Mapping[str, NDArray[Any]]]

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.rows < 1 or self.size < 1:
            raise UsageError(
                f"{self.rows} rows in batches of {self.size} leave nothing to run", "give at least one of each"
            )

    def __len__(self) -> int:
        """Return the number of batches."""
        return (self.rows + self.size - 1) // self.size

    def __getitem__(self, index: int) -> Mapping[str, NDArray[Any]]:
        """Return the feeds of a batch."""
        start = self.start(index)
        return self.make(start, min(start + self.size, self.rows))

    def __iter__(self) -> Iterator[Mapping[str, NDArray[Any]]]:
        """Yield the feeds of each batch."""
        return (self[index] for index in range(len(self)))

    def start(self, index: int) -> int:
        """Return how many rows lie before a batch.

        Raises:
            IndexError: there is no such batch.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        return index * self.size
