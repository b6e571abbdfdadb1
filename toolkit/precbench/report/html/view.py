"""What a page shows, as values: sections of paragraphs, sheets and figures. Templates only write them down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of a sheet.

    Args:
        text: as it is shown.
        value: as it is sorted and saved, where that is not the text: a number.
        tone: "good", "bad" or "" (colour alone never says it: the text does too).
    """

    text: str
    value: float | int | None = None
    tone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table that can be sorted, copied and saved as CSV.

    Args:
        name: of its CSV file, without the ending.
        title: its caption.
        columns: headers.
        rows: each as long as the columns.
        numbers: how many columns, from the right, are numbers.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numbers: int = 0

    @property
    def left(self) -> int:
        """How many columns, from the left, are text."""
        return len(self.columns) - self.numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A plot with the table behind it.

    Args:
        name: of its files, without the ending.
        title: what it shows, in words.
        alt: what is to be seen, for who cannot see it.
        spec: Vega-Lite.
        sheet: the numbers that are drawn.
    """

    name: str
    title: str
    alt: str
    spec: Mapping[str, Any]
    sheet: Sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image that changed its class, as a data URI, with its caption."""

    source: str
    caption: str
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What is shown of one variant; a page shows one panel at a time.

    Args:
        name: of the variant, as in the chooser.
        sheets: confusion matrix, difference from full precision, change per class.
        pictures: images that flipped.
        note: what is not shown, and why; may be empty.
    """

    name: str
    sheets: Sequence[Sheet]
    pictures: Sequence[Picture] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page with a heading.

    Args:
        anchor: what a link to it ends with.
        title: the heading.
        paragraphs: sentences.
        figures: with their tables behind them.
        sheets: tables of their own.
        panels: one per variant, with a chooser.
        commands: lines to be typed.
    """

    anchor: str
    title: str
    paragraphs: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    sheets: Sequence[Sheet] = ()
    panels: Sequence[Panel] = ()
    commands: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.paragraphs or self.figures or self.sheets or self.panels or self.commands)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A whole report.

    Args:
        title: of the page.
        answer: the first sentences.
        sections: in order; empty ones are left out.
        made: when and by what.
    """

    title: str
    answer: Sequence[str]
    sections: Sequence[Section] = field(default_factory=tuple)
    made: str = ""


def plain(text: object) -> Cell:
    """Return a cell of text."""
    return Cell(text=str(text))


def amount(value: float | None, pattern: str = "{:,}", *, tone: str = "") -> Cell:
    """Return a cell of a number, a dash where there is none."""
    return Cell(text="–") if value is None else Cell(text=pattern.format(value), value=value, tone=tone)
