"""State words: one glyph, word and severity for every state of a session or a node.

Owns the two tables and what doubt does to them. Pure.
"""

from typing import Final, NamedTuple

from schemas.records import NodeIntent
from schemas.states import NodeState, SessionState
from tui.health import SessionLook, Trust
from tui.rows.cells import Cell, Severity


class StateWord(NamedTuple):
    """How a state is shown. Glyphs are one cell wide and differ from each other."""

    glyph: str
    word: str
    severity: Severity


SESSION_WORDS: Final[dict[SessionState, StateWord]] = {
    SessionState.PENDING: StateWord("○", "pending", Severity.BUSY),
    SessionState.STARTING: StateWord("◔", "starting", Severity.BUSY),
    SessionState.PAIRING: StateWord("◇", "pairing", Severity.WARN),
    SessionState.PASSKEY_REQUIRED: StateWord("◈", "passkey", Severity.WARN),
    SessionState.SYNCING: StateWord("↻", "syncing", Severity.BUSY),
    SessionState.ONLINE: StateWord("●", "online", Severity.GOOD),
    SessionState.DEGRADED: StateWord("◐", "degraded", Severity.WARN),
    SessionState.MOVING: StateWord("⇢", "moving", Severity.BUSY),
    SessionState.STOPPED: StateWord("■", "stopped", Severity.MUTED),
    SessionState.LOGGED_OUT: StateWord("⊘", "logged out", Severity.BAD),
    SessionState.FAILED: StateWord("✗", "failed", Severity.BAD),
    SessionState.FENCED: StateWord("▲", "fenced", Severity.WARN),
}
NODE_WORDS: Final[dict[NodeState, StateWord]] = {
    NodeState.ALIVE: StateWord("●", "alive", Severity.GOOD),
    NodeState.SUSPECT: StateWord("?", "suspect", Severity.WARN),
    NodeState.LOST: StateWord("✗", "lost", Severity.BAD),
    NodeState.STOPPED: StateWord("■", "stopped", Severity.MUTED),
}
DOUBT_GLYPH: Final = "?"
_BELIEVED: Final = {state: f"{each.glyph} {each.word}" for state, each in SESSION_WORDS.items()}
_DOUBTED: Final = {state: f"{DOUBT_GLYPH} was {each.word}" for state, each in SESSION_WORDS.items()}
_URGENCY: Final = (
    Severity.BAD,
    Severity.WARN,
    Severity.BUSY,
    Severity.PLAIN,
    Severity.GOOD,
    Severity.MUTED,
)


def session_severity(look: SessionLook) -> Severity:
    """How a session is doing: never good unless its node confirms it."""
    severity = SESSION_WORDS[look.state].severity
    if look.trust is not Trust.DOUBTED:
        return severity
    return severity if severity is Severity.BAD else Severity.WARN


def session_state_cell(look: SessionLook) -> Cell:
    """Glyph and word; a doubted state reads as the past it is."""
    return Cell(session_state_words(look), session_severity(look))


def session_state_words(look: SessionLook) -> str:
    """The same without the colour."""
    return (_DOUBTED if look.trust is Trust.DOUBTED else _BELIEVED)[look.state]


def node_state_cell(state: NodeState, intent: NodeIntent | None) -> Cell:
    """Glyph and word; one that is alive, but should not be used, says that instead."""
    glyph, word, severity = NODE_WORDS[state]
    if intent is not None and state is NodeState.ALIVE:
        if intent.draining:
            return Cell("◨ draining", Severity.WARN)
        if intent.cordoned:
            return Cell("◫ cordoned", Severity.WARN)
    return Cell(f"{glyph} {word}", severity)


def urgency(severity: Severity) -> int:
    """For sorting: the worst first."""
    return _URGENCY.index(severity)
