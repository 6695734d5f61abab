"""Facts: events that WhatsApp itself gives an identity, and the event id that follows from it.

Owns which events are facts and what makes two reports the same fact. A fact has one event id,
whichever node reports it, under whichever epoch and however often: so a report after a restart, a
move or an outage can be told from a new event. Pure; never makes randomness.
"""

import hashlib
from typing import Final

import msgspec

from schemas.events import (
    Call,
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
    event_name,
)
from schemas.ids import EventId, event_id

_DOMAIN: Final = "blazz.fact.1"


def fact_event_id(session_id: str, data: EventData) -> EventId | None:
    """The event id of a fact of this session; None for an event that happens only once anyway
    (a state, a code) or that nothing tells from an equal one (a reaction without its time)."""
    key = _key(data)
    if key is None:
        return None
    parts = msgspec.json.encode((_DOMAIN, session_id, event_name(data), *key))
    return event_id(hashlib.sha256(parts).digest()[:16])


def fact_born_at(data: EventData, at: float) -> float:
    """Before when nobody can have reported it (Unix seconds), as far as that is known; 0: any
    time. `at` is when this event was made."""
    if isinstance(data, MessageReceived):
        return min(at, data.message.created_at)
    return at if _key(data) is None else 0.0


def _key(data: EventData) -> tuple[object, ...] | None:
    match data:
        case MessageReceived(message=message):
            # Senders choose message ids, so the chat belongs to a message's identity.
            return (message.chat_id, message.message_id)
        case MessageAck():
            # About messages of ours, whose ids we chose; a chat may be named in two ways.
            return (data.message_id, data.ack)
        case MessageSent():
            return (data.message_id,)
        case MessageFailed() | MessageUnknown():
            # Each life ends once; whoever repeats its ending after a crash tells the same.
            return (data.message_id, data.redrives)
        case MessageReaction(cause=str(cause)) | MessageEdited(cause=str(cause)):
            # Each attempt that finds our own message sent tells so anew.
            return (cause,)
        case MessageReaction(reacted_at=float(at)):
            return (data.chat_id, data.message_id, data.from_id, data.emoji, at)
        case MessageEdited(edited_at=float(at)):
            return (data.chat_id, data.message_id, data.text, at)
        case MessageDeleted() | MediaReady() | MediaFailed():
            return (data.chat_id, data.message_id)
        case PollVote(voted_at=float(at)):
            return (data.chat_id, data.message_id, data.from_id, data.options, at)
        case GroupChanged(changed_at=float(at)):
            return (data.chat_id, data.change, data.by, data.members, data.value, at)
        case Call():
            return (data.call_id, data.state)
        case _:
            return None
