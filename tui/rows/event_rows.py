"""Event rows: what happened, one line each, without a body or a whole phone number.

Pure. Owns the event table's columns and the sentence for every kind of event.
"""

from typing import Final

from schemas.events import (
    Call,
    Event,
    EventData,
    GroupChanged,
    MediaFailed,
    MediaReady,
    MessageAck,
    MessageDeleted,
    MessageEdited,
    MessageFailed,
    MessageReaction,
    MessageReceived,
    MessageSent,
    MessageUnknown,
    PollVote,
    PresenceChanged,
    SessionLinked,
    SessionQr,
    SessionQrIdle,
    SessionStateChanged,
    SessionSync,
    event_name,
)
from schemas.states import MessageDirection
from tui.changes import Happened
from tui.rows import words
from tui.rows.cells import Cell, Column, Row, Severity
from tui.rows.state_words import SESSION_WORDS

COLUMNS: Final = (
    Column("at", "UTC", 8),
    Column("event", "EVENT", 16),
    Column("session", "SESSION", 13, rank=1),
    Column("tenant", "TENANT", 10, rank=3, grow=True, width_max=16),
    Column("node", "NODE", 12, rank=2, grow=True, width_max=24),
    Column("what", "WHAT", 30, grow=True, width_max=100),
)


def event_row(happened: Happened, *, show_phones: bool) -> Row:
    """One event's line; its key is its place in the stream."""
    event: Event = happened.event
    what, severity = _what(event.data)
    if not show_phones:
        what = words.mask_numbers(what)
    cells = (
        Cell(words.clock_time(event.at), Severity.MUTED),
        Cell(event_name(event.data), severity),
        Cell(words.short_id(event.session_id)),
        Cell(event.tenant_id),
        Cell(event.node_id),
        Cell(what, severity),
    )
    return Row(str(happened.sequence), cells)


def _what(data: EventData) -> tuple[str, Severity]:
    match data:
        case SessionStateChanged():
            glyph, word, severity = SESSION_WORDS[data.state]
            reason = f" ({data.reason})" if data.reason else ""
            return f"{SESSION_WORDS[data.previous].word} → {glyph} {word}{reason}", severity
        case SessionQr():
            return f"code {data.index}/{data.count}, {data.expires_in_s:.0f} s", Severity.BUSY
        case SessionQrIdle():
            return "codes ran out", Severity.WARN
        case SessionLinked():
            return f"linked +{data.phone}", Severity.GOOD
        case SessionSync():
            return f"{data.percent}%", Severity.BUSY
        case MessageReceived():
            message = data.message
            way = "from" if message.direction is MessageDirection.INBOUND else "own, to"
            return f"{message.kind.value} {way} {message.chat_id}", Severity.PLAIN
        case (
            MessageSent()
            | MessageFailed()
            | MessageUnknown()
            | MessageAck()
            | MessageReaction()
            | MessageEdited()
            | MessageDeleted()
            | PollVote()
            | MediaReady()
            | MediaFailed()
        ):
            return _what_of_message(data)
        case PresenceChanged():
            return f"{data.presence.value} in {data.chat_id}", Severity.PLAIN
        case GroupChanged():
            return f"{data.change.value} in {data.chat_id}", Severity.PLAIN
        case Call():
            return f"{data.state.value} from {data.from_id}", Severity.PLAIN


def _what_of_message(
    data: MessageSent
    | MessageFailed
    | MessageUnknown
    | MessageAck
    | MessageReaction
    | MessageEdited
    | MessageDeleted
    | PollVote
    | MediaReady
    | MediaFailed,
) -> tuple[str, Severity]:
    match data:
        case MessageFailed():
            return f"{data.error_code} to {data.chat_id}", Severity.BAD
        case MediaFailed():
            return f"{data.error_code} in {data.chat_id}", Severity.WARN
        case MessageUnknown():
            return f"outcome unknown to {data.chat_id}", Severity.BAD
        case MessageSent() | MessageAck():
            return f"{data.ack.value} to {data.chat_id}", Severity.PLAIN
        case _:
            return f"in {data.chat_id}", Severity.PLAIN
