"""Session rows: a session's look to cells.

Pure. Owns the session table's columns and what they sort by. Phone numbers come masked unless
asked for.
"""

from typing import Final

from schemas.states import DesiredState
from tui.health import SessionLook, Trust
from tui.rows import words
from tui.rows.cells import Cell, Column, Row, Severity
from tui.rows.state_words import session_severity, session_state_cell, session_state_words, urgency

COLUMNS: Final = (
    Column("session", "SESSION", 13),
    Column("tenant", "TENANT", 10, rank=1, grow=True, width_max=20),
    Column("name", "NAME", 12, grow=True, width_max=30),
    Column("state", "STATE", 16),
    Column("since", "SINCE", 6, rank=1, align="right"),
    Column("epoch", "EPOCH", 5, rank=3, align="right"),
    Column("node", "NODE", 12, rank=2, grow=True, width_max=30),
    Column("age", "AGE", 6, rank=4, align="right"),
    Column("phone", "PHONE", 15, rank=6),
    Column("wanted", "WANTED", 7, rank=7),
    Column("reason", "REASON", 20, rank=5, grow=True, width_max=60),
)
AGES: Final = ("since", "age")
"""Columns that change while nothing happens."""
SortKey = tuple[float, str] | tuple[str, str]
SORTS: Final = ("name", "state", "tenant", "node", "since", "age", "session", "epoch")


def session_row(look: SessionLook, unix_now: float, *, show_phones: bool) -> Row:
    """One session's line. `unix_now` (Unix seconds) only turns `since` into an age."""
    since_s = None if look.since is None else unix_now - look.since
    wanted = look.desired.value if look.desired else "nothing"
    at_odds = look.desired is not DesiredState.RUNNING
    cells = (
        Cell(words.short_id(look.session_id)),
        Cell(look.tenant_id),
        Cell(look.name or words.NONE),
        session_state_cell(look),
        Cell(words.age(since_s)),
        Cell(str(look.epoch) if look.epoch else words.NONE),
        Cell(look.node_id or words.NONE),
        Cell(words.age(look.age_s)),
        Cell(words.phone(look.phone, shown=show_phones)),
        Cell(wanted, Severity.MUTED if at_odds else Severity.PLAIN),
        Cell(words.mask_numbers(look.reason) if not show_phones else look.reason, Severity.MUTED),
    )
    return Row(look.session_id, cells, stale=look.trust is not Trust.CONFIRMED)


def session_words(look: SessionLook, *, show_phones: bool) -> str:
    """What a filter is searched in: the id, and all that the row says except its ages, which change
    while nothing happens. Made without the row: a filter asks for every session's."""
    reason = look.reason
    return " ".join(
        (
            look.session_id,
            words.short_id(look.session_id),
            look.tenant_id,
            look.name or words.NONE,
            session_state_words(look),
            str(look.epoch) if look.epoch else words.NONE,
            look.node_id or words.NONE,
            words.phone(look.phone, shown=show_phones),
            look.desired.value if look.desired else "nothing",
            words.mask_numbers(reason) if reason and not show_phones else reason,
        )
    )


def session_sort_key(look: SessionLook, column: str) -> SortKey:
    """What a session sorts by under a column; the id breaks ties. Only by `age` does it change
    while nothing happens."""
    match column:
        case "state":
            return (urgency(session_severity(look)), look.state + look.session_id)
        case "since":
            return (-(look.since or 0.0), look.session_id)
        case "age":
            return (1.0 if look.age_s is None else -look.age_s, look.session_id)
        case "epoch":
            return (-float(look.epoch), look.session_id)
        case "tenant":
            return (look.tenant_id, (look.name or "") + look.session_id)
        case "node":
            return (look.node_id or "", (look.name or "") + look.session_id)
        case "session":
            return (look.session_id, "")
        case _:
            return (look.name or "", look.session_id)
