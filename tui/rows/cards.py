"""Cards: facts about one thing, laid out in columns.

Pure. Owns how facts share a width.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from tui.rows.cells import Severity, fit

LABEL_WIDTH: Final = 9
_COLUMN_WIDTH: Final = 38


class Fact(msgspec.Struct, frozen=True):
    """A label and what is so. `wide`: it takes a line of its own."""

    label: str
    value: str
    severity: Severity = Severity.PLAIN
    wide: bool = False


class Piece(msgspec.Struct, frozen=True):
    """A fact, cut to its place."""

    label: str
    value: str
    severity: Severity


def card_lines(facts: Sequence[Fact], width: int) -> list[list[Piece]]:
    """Facts row by row, in as many columns as fit; those that say nothing are left out."""
    told = [fact for fact in facts if fact.value]
    columns = max(1, width // _COLUMN_WIDTH)
    each = max(LABEL_WIDTH + 1, width // columns)
    lines: list[list[Piece]] = []
    row: list[Piece] = []
    for fact in told:
        if fact.wide:
            if row:
                lines.append(row)
                row = []
            lines.append([_piece(fact, width)])
            continue
        row.append(_piece(fact, each))
        if len(row) == columns:
            lines.append(row)
            row = []
    if row:
        lines.append(row)
    return lines


def _piece(fact: Fact, width: int) -> Piece:
    label = fit(fact.label, LABEL_WIDTH)
    # A blank after it, so that it does not run into the next one's label.
    value = fit(fact.value, max(1, width - LABEL_WIDTH - 1)) + " "
    return Piece(label, value, fact.severity)
