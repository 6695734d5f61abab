"""The session table's single rows that matter most, and its picture."""

from pathlib import Path

import pytest

from schemas.states import SessionState
from swarm_node.core import session_diagram
from swarm_node.core.session_table import (
    TRANSITIONS,
    Effect,
    Event,
    IllegalTransitionError,
    step,
)

DOCS = Path(__file__).resolve().parents[2] / "docs" / "session-states.md"


def test_an_unlisted_pair_raises_and_says_which() -> None:
    with pytest.raises(IllegalTransitionError) as raised:
        step(SessionState.STOPPED, Event.PROBE_OK)
    assert (raised.value.state, raised.value.event) == (SessionState.STOPPED, Event.PROBE_OK)


def test_a_link_by_code_goes_by_the_book() -> None:
    state = SessionState.PENDING
    for event, after in (
        (Event.START, SessionState.STARTING),
        (Event.QR_SHOWN, SessionState.PAIRING),
        (Event.PASSKEY_ASKED, SessionState.PASSKEY_REQUIRED),
        (Event.LINKED, SessionState.SYNCING),
        (Event.PROBE_OK, SessionState.ONLINE),
        (Event.PROBE_FAILED, SessionState.DEGRADED),
        (Event.PROBE_OK, SessionState.ONLINE),
        (Event.LOGGED_OUT, SessionState.LOGGED_OUT),
    ):
        state, _ = step(state, event)
        assert state is after


def test_fencing_kills_and_replacement_stops() -> None:
    assert step(SessionState.ONLINE, Event.LEASE_LOST) == (
        SessionState.FENCED,
        (Effect.CLEAR_CODES, Effect.KILL_ENGINE),
    )
    assert step(SessionState.ONLINE, Event.REPLACED) == (
        SessionState.FENCED,
        (Effect.CLEAR_CODES, Effect.STOP_ENGINE),
    )


def test_the_page_in_the_docs_is_drawn_from_the_table() -> None:
    assert DOCS.read_text(encoding="utf-8") == session_diagram.page(), (
        "write it anew: python -m swarm_node.core.session_diagram > docs/session-states.md"
    )


def test_every_row_is_in_the_picture() -> None:
    table, picture = session_diagram.table(), session_diagram.mermaid()
    for (before, event), (after, _) in TRANSITIONS.items():
        assert f"| {before} | {event} | {after} |" in table
        assert f"    {before} --> {after}: " in picture
