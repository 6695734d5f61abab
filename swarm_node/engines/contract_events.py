"""What an engine reports: the events of the engine contract.

Owns the event union and whose account it is. Never a call's argument or answer: those are in
`contract`, which also re-exports all of this. Never names a browser, wa-js or a wire format.
"""

import msgspec

from schemas.chats import CallState, ChatPresence, GroupChange
from schemas.messages import ChatMessage
from schemas.states import Ack


class Identity(msgspec.Struct, frozen=True):
    """Whose account is linked. `phone` is E.164 digits without +."""

    phone: str
    lid: str | None = None
    name: str | None = None


class QrShown(msgspec.Struct, frozen=True):
    """A code to scan is on show; `index` counts from 1."""

    value: str
    index: int
    count: int
    expires_in_s: float


class QrExpired(msgspec.Struct, frozen=True):
    """The codes ran out; `renew_qr` brings new ones."""


class PasskeyAsked(msgspec.Struct, frozen=True):
    """WhatsApp wants a passkey confirmed on the phone."""


class Linked(msgspec.Struct, frozen=True):
    """The account is authenticated: just linked, or restored from the profile."""

    identity: Identity


class SyncProgress(msgspec.Struct, frozen=True):
    """How far the first sync is, 0 to 100."""

    percent: int


class ConnectionChanged(msgspec.Struct, frozen=True):
    """Something about the connection changed: a hint to probe now, never a state."""

    detail: str


class Replaced(msgspec.Struct, frozen=True):
    """Another client holds this device: the split-brain alarm. The engine must not take over."""


class LoggedOut(msgspec.Struct, frozen=True):
    """The device was unlinked, by the phone or by WhatsApp."""

    reason: str


class EngineFailed(msgspec.Struct, frozen=True):
    """The engine can't go on: crash, page never ready. `code` is an `ErrorCode`."""

    code: str
    detail: str = ""


class MessageArrived(msgspec.Struct, frozen=True):
    """A message arrived, or was sent from another device of the account."""

    message: ChatMessage


class AckChanged(msgspec.Struct, frozen=True):
    """A message of ours got further."""

    message_id: str
    chat_id: str
    ack: Ack


class Reacted(msgspec.Struct, frozen=True):
    """Somebody reacted; an empty `emoji` takes it back. `reacted_at`: WhatsApp's time of it (Unix
    seconds), the same at every report: it tells a repeat from the same thing done again."""

    message_id: str
    chat_id: str
    from_id: str
    emoji: str
    reacted_at: float | None = None


class Edited(msgspec.Struct, frozen=True):
    """A message's text was changed. `edited_at`: as `Reacted.reacted_at`."""

    message_id: str
    chat_id: str
    text: str
    edited_at: float | None = None


class Deleted(msgspec.Struct, frozen=True):
    """A message was deleted for everyone."""

    message_id: str
    chat_id: str


class PollVoted(msgspec.Struct, frozen=True):
    """Somebody voted: all that they chose now, as the options read; none takes the vote back.
    `voted_at`: as `Reacted.reacted_at`."""

    message_id: str
    chat_id: str
    from_id: str
    options: tuple[str, ...]
    voted_at: float | None = None


class PresenceSeen(msgspec.Struct, frozen=True):
    """Somebody types, records, stopped, came or went, in a chat that was subscribed to."""

    chat_id: str
    from_id: str
    presence: ChatPresence


class GroupAltered(msgspec.Struct, frozen=True):
    """A group of ours, or who is in it, changed. `by` did it; `value`: a new name and the like.
    `changed_at`: as `Reacted.reacted_at`."""

    chat_id: str
    change: GroupChange
    by: str | None = None
    members: tuple[str, ...] = ()
    value: str | None = None
    changed_at: float | None = None


class CallSeen(msgspec.Struct, frozen=True):
    """A call rings, or went unanswered here."""

    call_id: str
    from_id: str
    state: CallState
    video: bool = False
    group_id: str | None = None


EngineEvent = (
    QrShown
    | QrExpired
    | PasskeyAsked
    | Linked
    | SyncProgress
    | ConnectionChanged
    | Replaced
    | LoggedOut
    | EngineFailed
    | MessageArrived
    | AckChanged
    | Reacted
    | Edited
    | Deleted
    | PollVoted
    | PresenceSeen
    | GroupAltered
    | CallSeen
)
