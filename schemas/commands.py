"""Commands: what a control plane asks of a node by request/reply, and what it gets back.

Owns every command struct and its reply. A command may be refused (a `Reply.error`); what has
happened is an event. Each carries the session's epoch: a node refuses an older or newer one than
it holds with `stale_epoch`.
"""

from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from schemas.chats import (
    PAGE_MAX,
    Chat,
    ChatPresence,
    Contact,
    Group,
    NumberCheck,
    Profile,
)
from schemas.ids import ChatId, MessageId, NodeId, SessionId, TenantId
from schemas.messages import MEDIA_CHUNK_BYTES, Content, MediaRef
from schemas.snapshots import SnapshotGeneration
from schemas.states import Ack, EngineKind, MessageState, SessionState

Epoch = Annotated[int, Meta(ge=1)]
PhoneNumber = Annotated[str, Meta(pattern=r"^[1-9][0-9]{6,14}$", description="E.164 without +")]


class Command(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What every session command carries."""

    session_id: SessionId
    epoch: Epoch


class Admission(Command, frozen=True):
    """What a node needs to run a session.

    - `assignment_revision`: fences the node's writes about the session: the server refuses them
      once the assignment has changed. 0 where nothing fences.
    - `data_key`: opens and seals the session's snapshots; 32 bytes, a secret, held in memory only.
      Empty where the fleet keeps no snapshots.
    - `generations`: what can be restored, newest first.
    - `unlinked_epoch`: a profile that last ran under that or an earlier epoch is of a device that
      was unlinked: the session begins anew.
    """

    tenant_id: TenantId
    engine: EngineKind = EngineKind.CHROMIUM
    proxy: str | None = None
    assignment_revision: int = 0
    data_key: bytes = b""
    generations: tuple[SnapshotGeneration, ...] = ()
    unlinked_epoch: int = 0

    def __repr__(self) -> str:
        """Hide the key: commands may end up in logs."""
        return f"{type(self).__name__}({self.session_id}, epoch {self.epoch})"


class CreateSession(Admission, frozen=True):
    """Admit a session to this node and start it. The same epoch twice is the same session."""


class StartSession(Admission, frozen=True):
    """Start a session's engine; a running one stays as it is. Admits it if it is not here yet
    (a node that restarted knows no session until it is told)."""


class StopSession(Command, frozen=True):
    """Stop the engine; the link and the profile stay."""


class RestartSession(Command, frozen=True):
    """Stop and start the engine."""


class LogoutSession(Command, frozen=True):
    """Unlink the device at WhatsApp and stop."""


class DestroySession(Command, frozen=True):
    """Stop the engine, delete the local profile, give the place back."""

    logout: bool = False


class MoveSession(Command, frozen=True):
    """Snapshot, stop and let go: the session goes to another node under the next epoch. Answers
    when the engine has ended and the last snapshot is committed, or could not be."""


class SessionAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the session stands after the command."""

    session_id: SessionId
    epoch: Epoch
    state: SessionState
    reason: str | None = None


class SendMessage(Command, frozen=True):
    """Send one message, or say what became of it. Safe to repeat: the node looks the id up."""

    message_id: MessageId
    to: ChatId
    content: Content
    attempt: Annotated[int, Meta(ge=1)] = 1
    dispatcher_epoch: int = 0


class SendAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A final outcome. A retryable trouble comes as a `Reply.error` instead."""

    message_id: MessageId
    state: MessageState
    chat_id: str | None = None
    ack: Ack = Ack.PENDING
    found_before: bool = False
    """Whether the look-up found it: an earlier attempt had sent it."""
    error_code: str | None = None
    error_detail: str | None = None


class GetQr(Command, frozen=True):
    """Read the QR on show; `renew` asks for new codes when they have run out."""

    renew: bool = False


class QrAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A QR code that can be scanned now. `value` is a secret until it expires."""

    value: str
    index: int
    count: int
    expires_in_s: float


class GetPairingCode(Command, frozen=True):
    """Ask WhatsApp for an eight-character code to type on the phone."""

    phone: PhoneNumber


class PairingCodeAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The code, without a dash."""

    code: str
    expires_in_s: float


class GetMedia(Command, frozen=True):
    """Read one chunk of a message's media."""

    message_id: MessageId
    chat_id: ChatId
    from_me: bool = False
    participant: str | None = None
    offset: Annotated[int, Meta(ge=0)] = 0


class MediaChunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """At most `MEDIA_CHUNK_BYTES` of media (base64 in JSON); `total_bytes` is the whole size."""

    data: Annotated[bytes, Meta(max_length=MEDIA_CHUNK_BYTES)]
    offset: int
    total_bytes: int
    mimetype: str


class SetPresence(Command, frozen=True):
    """Show that we type or record in a chat, or no longer do (WhatsApp forgets it by itself after
    some 25 s). Refused with `validation_failed` for what can only be seen."""

    chat_id: ChatId
    presence: ChatPresence


class SubscribePresence(Command, frozen=True):
    """Ask to be told what the other side of a chat does, until the engine ends."""

    chat_id: ChatId


class MarkSeen(Command, frozen=True):
    """Tell a chat's other side that all of it was read here."""

    chat_id: ChatId


class CheckNumber(Command, frozen=True):
    """Ask WhatsApp whether a number has an account."""

    phone: PhoneNumber


class ReadChats(Command, frozen=True):
    """The account's chats, last used first; `after` is the last answer's `next`."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = 100
    after: str | None = None
    groups_only: bool = False


class ChatsAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Some chats; `next` is None at the end."""

    chats: tuple[Chat, ...]
    next: str | None = None


class ReadContacts(Command, frozen=True):
    """The account's contacts, by id; `after` is the last answer's `next`."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = 100
    after: str | None = None


class ContactsAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Some contacts; `next` is None at the end."""

    contacts: tuple[Contact, ...]
    next: str | None = None


class ReadGroup(Command, frozen=True):
    """A group with its members. Refused with `chat_not_found`."""

    chat_id: ChatId


class ReadProfile(Command, frozen=True):
    """The account's own profile."""


class SetProfile(Command, frozen=True):
    """Change the account's own profile; what is None stays. `remove_picture` with a `picture` is
    `validation_failed`."""

    name: Annotated[str, Meta(min_length=1, max_length=25)] | None = None
    about: Annotated[str, Meta(max_length=139)] | None = None
    picture: MediaRef | None = None
    remove_picture: bool = False


class ReadPicture(Command, frozen=True):
    """Where the picture of a person or a group can be had."""

    chat_id: ChatId


class PictureAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """`url` is None where there is none, or it is hidden from us."""

    url: str | None = None


class ChatActDone(msgspec.Struct, frozen=True):
    """It was done."""


class FetchMedia(msgspec.Struct, frozen=True):
    """A node asks the control plane for a chunk of an outbound message's media."""

    node_id: NodeId
    session_id: SessionId
    media_id: str
    offset: Annotated[int, Meta(ge=0)] = 0


class AskTold(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node asks which events of a session the stream EVENTS has behind `after_seq`.

    It does so before it publishes what somebody may have published longer ago than the stream's
    duplicate window reaches, or what waited so long that its tenant may be erased by now. From 0
    on every node's events are told; later, its own (which it remembers) need not be.
    """

    node_id: NodeId
    tenant_id: TenantId
    session_id: SessionId
    after_seq: Annotated[int, Meta(ge=0)] = 0


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """Ids in the stream's order; all up to `seq` are told. `more`: ask again behind it. `erased`:
    the session was of a tenant that is erased; nothing of it may be told any more."""

    seq: int
    event_ids: tuple[str, ...] = ()
    more: bool = False
    erased: bool = False


class RenewCredential(msgspec.Struct, frozen=True):
    """A node asks for its credential anew, before it ends: `jwt` is the one it has. Its key stays
    its own. Refused with `forbidden` for one that was not issued to this node by this fleet."""

    node_id: NodeId
    jwt: str


class Renewed(msgspec.Struct, frozen=True):
    """The same identity's next JWT; `expires_at` in Unix seconds."""

    jwt: str
    expires_at: int


class Ping(msgspec.Struct, frozen=True):
    """Is the node there?"""


class Pong(msgspec.Struct, frozen=True):
    """It is."""

    node_id: NodeId
    incarnation: str
    sessions: int
    sessions_max: int


class CommandSpec(NamedTuple):
    """A command's name on the wire, its structs, and how long to wait for the answer."""

    request: type[msgspec.Struct]
    reply: type[msgspec.Struct]
    timeout_s: float


COMMANDS: dict[str, CommandSpec] = {
    "create_session": CommandSpec(CreateSession, SessionAnswer, 10.0),
    "destroy_session": CommandSpec(DestroySession, SessionAnswer, 30.0),
    "start": CommandSpec(StartSession, SessionAnswer, 10.0),
    "stop": CommandSpec(StopSession, SessionAnswer, 30.0),
    "restart": CommandSpec(RestartSession, SessionAnswer, 30.0),
    "move": CommandSpec(MoveSession, SessionAnswer, 45.0),
    "logout": CommandSpec(LogoutSession, SessionAnswer, 30.0),
    "send_message": CommandSpec(SendMessage, SendAnswer, 60.0),
    "get_qr": CommandSpec(GetQr, QrAnswer, 10.0),
    "pairing_code": CommandSpec(GetPairingCode, PairingCodeAnswer, 30.0),
    "get_media": CommandSpec(GetMedia, MediaChunk, 60.0),
    "set_presence": CommandSpec(SetPresence, ChatActDone, 15.0),
    "subscribe_presence": CommandSpec(SubscribePresence, ChatActDone, 15.0),
    "mark_seen": CommandSpec(MarkSeen, ChatActDone, 15.0),
    "check_number": CommandSpec(CheckNumber, NumberCheck, 20.0),
    "read_chats": CommandSpec(ReadChats, ChatsAnswer, 20.0),
    "read_contacts": CommandSpec(ReadContacts, ContactsAnswer, 20.0),
    "read_group": CommandSpec(ReadGroup, Group, 20.0),
    "read_profile": CommandSpec(ReadProfile, Profile, 20.0),
    "set_profile": CommandSpec(SetProfile, Profile, 60.0),
    "read_picture": CommandSpec(ReadPicture, PictureAnswer, 20.0),
    "ping": CommandSpec(Ping, Pong, 5.0),
}
"""Every command. `create_session` and `start` answer as soon as the session is `starting`."""
