"""Events: what has happened to a session, published by its node on the durable EVENTS stream.

Owns every event struct, its stable public name and the envelope around it. An event's name never
changes; fields are only added. Never holds a QR's or a pairing code's value: those open an
account, so they are read by command.
"""

import msgspec

from schemas.chats import CallState, ChatPresence, GroupChange
from schemas.ids import EventId, MessageId, NodeId, SessionId, TenantId
from schemas.messages import ChatMessage
from schemas.states import Ack, SessionState


class SessionStateChanged(msgspec.Struct, frozen=True, tag="session.state", omit_defaults=True):
    """The session's table took a step."""

    state: SessionState
    previous: SessionState
    reason: str | None = None


class SessionQr(msgspec.Struct, frozen=True, tag="session.qr", omit_defaults=True):
    """A new QR code is on show (read it with `get_qr`); `index` counts from 1."""

    index: int
    count: int
    expires_in_s: float


class SessionQrIdle(msgspec.Struct, frozen=True, tag="session.qr_idle"):
    """The QR codes ran out; `get_qr` with `renew` brings new ones."""


class SessionLinked(msgspec.Struct, frozen=True, tag="session.linked", omit_defaults=True):
    """A phone linked the session."""

    phone: str
    lid: str | None = None
    name: str | None = None


class SessionSync(msgspec.Struct, frozen=True, tag="session.sync"):
    """How far the first sync is, 0 to 100."""

    percent: int


class MessageSent(msgspec.Struct, frozen=True, tag="message.sent", omit_defaults=True):
    """A message accepted by the API went out."""

    message_id: MessageId
    chat_id: str
    ack: Ack = Ack.SENT


class MessageFailed(msgspec.Struct, frozen=True, tag="message.failed", omit_defaults=True):
    """A message accepted by the API will not go out."""

    message_id: MessageId
    chat_id: str
    error_code: str
    error_detail: str | None = None
    redrives: int = 0
    """Which life of the message ended so."""


class MessageUnknown(msgspec.Struct, frozen=True, tag="message.unknown", omit_defaults=True):
    """Nobody can know whether a message went out; nothing more is tried."""

    message_id: MessageId
    chat_id: str
    error_code: str
    error_detail: str | None = None
    redrives: int = 0
    """Which life of the message ended so."""


class MessageAck(msgspec.Struct, frozen=True, tag="message.ack", omit_defaults=True):
    """A message of ours got further: sent, delivered, read, played."""

    message_id: MessageId
    chat_id: str
    ack: Ack


class MessageReceived(msgspec.Struct, frozen=True, tag="message.received", omit_defaults=True):
    """A message arrived, or was sent from another device of the account."""

    message: ChatMessage


class MessageReaction(msgspec.Struct, frozen=True, tag="message.reaction", omit_defaults=True):
    """Somebody reacted to a message; an empty `emoji` takes the reaction back. `cause`: the id of
    our own message that did it, if one did. `reacted_at` is WhatsApp's time of it, in Unix
    seconds."""

    message_id: MessageId
    chat_id: str
    from_id: str
    emoji: str
    cause: MessageId | None = None
    reacted_at: float | None = None


class MessageEdited(msgspec.Struct, frozen=True, tag="message.edited", omit_defaults=True):
    """A message's text was changed. `cause`: our own edit's id, if it was one. `edited_at` is
    WhatsApp's time of it, in Unix seconds."""

    message_id: MessageId
    chat_id: str
    text: str
    cause: MessageId | None = None
    edited_at: float | None = None


class MessageDeleted(msgspec.Struct, frozen=True, tag="message.deleted", omit_defaults=True):
    """A message was deleted for everyone. `cause`: our own delete's id, if it was one."""

    message_id: MessageId
    chat_id: str
    cause: MessageId | None = None


class PollVote(msgspec.Struct, frozen=True, tag="message.poll_vote", omit_defaults=True):
    """Somebody voted in a poll: all that they chose now (none: they took it back). `voted_at` is
    WhatsApp's time of it, in Unix seconds."""

    message_id: MessageId
    chat_id: str
    from_id: str
    options: tuple[str, ...] = ()
    voted_at: float | None = None


class MediaReady(msgspec.Struct, frozen=True, tag="message.media_ready", omit_defaults=True):
    """A message's media was downloaded, as the tenant's media policy wants it: it can be read
    whether its session is online or not."""

    message_id: MessageId
    chat_id: str
    mimetype: str
    size_bytes: int
    sha256: str


class MediaFailed(msgspec.Struct, frozen=True, tag="message.media_failed", omit_defaults=True):
    """A message's media was not to be had, and is not tried again by itself; it may still be read
    on demand."""

    message_id: MessageId
    chat_id: str
    error_code: str
    error_detail: str | None = None


class PresenceChanged(msgspec.Struct, frozen=True, tag="chat.presence", omit_defaults=True):
    """Somebody types, records, is there or went away; only in chats that were subscribed to."""

    chat_id: str
    from_id: str
    presence: ChatPresence


class GroupChanged(msgspec.Struct, frozen=True, tag="group.changed", omit_defaults=True):
    """Something about a group or its members changed. `value`: the new name and the like.
    `changed_at` is WhatsApp's time of it, in Unix seconds."""

    chat_id: str
    change: GroupChange
    by: str | None = None
    members: tuple[str, ...] = ()
    value: str | None = None
    changed_at: float | None = None


class Call(msgspec.Struct, frozen=True, tag="call", omit_defaults=True):
    """A call came in, or ended without being taken here."""

    call_id: str
    from_id: str
    state: CallState
    video: bool = False
    group_id: str | None = None


EventData = (
    SessionStateChanged
    | SessionQr
    | SessionQrIdle
    | SessionLinked
    | SessionSync
    | MessageSent
    | MessageFailed
    | MessageUnknown
    | MessageAck
    | MessageReceived
    | MessageReaction
    | MessageEdited
    | MessageDeleted
    | PollVote
    | MediaReady
    | MediaFailed
    | PresenceChanged
    | GroupChanged
    | Call
)
EVENT_TYPES: tuple[type[msgspec.Struct], ...] = EventData.__args__


def event_name(data: EventData) -> str:
    """Its public name, e.g. `message.received`: also the end of its subject."""
    tag = data.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event and where it comes from. `at` is Unix seconds by the node's clock; `epoch` is the
    session's at that moment: readers reject a state (`session.*`) of an older one than they know.
    What happened to a message stays true under any epoch; its `event_id` follows from the fact
    itself (see `facts.py`), so that it is the same whoever reports it."""

    event_id: EventId
    at: float
    tenant_id: TenantId
    session_id: SessionId
    node_id: NodeId
    epoch: int
    data: EventData
