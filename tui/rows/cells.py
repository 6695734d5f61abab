"""Cells, rows and columns: what a table shows, before anything is drawn.

Owns the shapes and how columns share a width. Pure. Severity comes from the record a row was
made of, never from its text.
"""

from enum import Enum
from typing import Literal

import msgspec
from rich.cells import cell_len, set_cell_size

GAP = 1
"""Blank columns between two cells."""


class Severity(Enum):
    """How a thing is doing. Each has a glyph or a word besides its colour, wherever it is used."""

    PLAIN = "plain"
    GOOD = "good"
    BUSY = "busy"
    WARN = "warn"
    BAD = "bad"
    MUTED = "muted"


class Cell(msgspec.Struct, frozen=True):
    """A text and how it is doing."""

    text: str
    severity: Severity = Severity.PLAIN


class Row(msgspec.Struct, frozen=True):
    """One line. `stale`: what it says is old or unconfirmed, so it is drawn dim."""

    key: str
    cells: tuple[Cell, ...]
    stale: bool = False


class Column(msgspec.Struct, frozen=True):
    """A column. `rank` 0 is always shown; higher ranks go first when the width is short.
    `grow` columns share what is left, up to `width_max`."""

    id: str
    title: str
    width: int
    rank: int = 0
    align: Literal["left", "right"] = "left"
    grow: bool = False
    width_max: int = 40


class Placed(msgspec.Struct, frozen=True):
    """A column that is shown: which cell of the row, and how wide."""

    column: Column
    index: int
    width: int


def gone_row(key: str, cells: int) -> Row:
    """What stands for a row whose record went between two repaints."""
    blanks = (Cell(""),) * (cells - 1)
    return Row(key, (Cell(key, Severity.MUTED), *blanks), stale=True)


def place(columns: tuple[Column, ...], width: int) -> tuple[Placed, ...]:
    """Choose the columns that fit into `width`, and widen the growing ones by what is left."""
    shown = list(enumerate(columns))
    while len(shown) > 1 and _needs([column for _, column in shown]) > width:
        dearest = max(shown, key=lambda item: (item[1].rank, item[0]))
        if dearest[1].rank == 0:
            break
        shown.remove(dearest)
    left = width - _needs([column for _, column in shown])
    widths = {index: column.width for index, column in shown}
    growing = [(index, column) for index, column in shown if column.grow]
    for place_left, (index, column) in zip(range(len(growing), 0, -1), growing, strict=True):
        more = max(0, min(left // place_left, column.width_max - column.width))
        widths[index] += more
        left -= more
    return tuple(Placed(column, index, widths[index]) for index, column in shown)


def fit(text: str, width: int, align: Literal["left", "right"] = "left") -> str:
    """`text` in exactly `width` terminal cells; a cut is shown by `…`. Control characters, which
    could steer the terminal, are replaced."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else "·" for char in text)
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…" if width > 0 else ""
    blank = " " * (width - length)
    return blank + text if align == "right" else text + blank


def _needs(columns: list[Column]) -> int:
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)
