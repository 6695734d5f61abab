"""A session's states over time, from its events: which, since when, for how long, why, where.

Pure. Only what the terminal has heard or read back; the oldest row's beginning may be older.
"""

from collections.abc import Iterable
from typing import Final

from schemas.events import SessionLinked, SessionQrIdle, SessionStateChanged
from tui.changes import Happened
from tui.rows import words
from tui.rows.cells import Cell, Column, Row, Severity
from tui.rows.state_words import SESSION_WORDS

COLUMNS: Final = (
    Column("at", "UTC", 8),
    Column("state", "STATE", 15),
    Column("lasted", "FOR", 7, align="right"),
    Column("epoch", "EPOCH", 5, align="right"),
    Column("node", "NODE", 14, grow=True, width_max=30),
    Column("reason", "REASON", 24, grow=True, width_max=100),
)


def history_rows(
    events: Iterable[Happened], session_id: str, unix_now: float, *, show_phones: bool
) -> list[Row]:
    """The newest first."""
    mine = [happened for happened in events if happened.event.session_id == session_id]
    rows: list[Row] = []
    until: float | None = None
    for happened in reversed(mine):
        event, data = happened.event, happened.event.data
        lasted = ""
        match data:
            case SessionStateChanged():
                glyph, word, severity = SESSION_WORDS[data.state]
                reason = data.reason or ""
                lasted = words.age((unix_now if until is None else until) - event.at)
                until = event.at
            case SessionLinked():
                glyph, word, severity = "+", "linked", Severity.GOOD
                reason = words.phone(data.phone, shown=show_phones)
            case SessionQrIdle():
                glyph, word, severity = "◇", "codes ran out", Severity.WARN
                reason = ""
            case _:
                continue
        cells = (
            Cell(words.clock_time(event.at), Severity.MUTED),
            Cell(f"{glyph} {word}", severity),
            Cell(lasted),
            Cell(str(event.epoch)),
            Cell(event.node_id),
            Cell(reason if show_phones else words.mask_numbers(reason)),
        )
        rows.append(Row(str(happened.sequence), cells))
    return rows
