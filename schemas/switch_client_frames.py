"""The frames a linked device sends to the switch; the protocol is told in `switch_wire`.

Owns these shapes and the base of every frame. Never holds behaviour.
"""

from __future__ import annotations

import re

import msgspec

from schemas.switch_records import (
    Card,
    LinkPreview,
    Location,
    MediaRef,
    MessageType,
    NoticeKind,
    Poll,
    PresenceState,
)


def _tag(class_name: str) -> str:
    """`QueryChat` → `query_chat`; `MessageIn` is plain `message`."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", class_name.removesuffix("In")).lower()


class Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag=_tag):
    """One WebSocket message; `t` is the class name in snake case."""


class Hello(Frame, frozen=True, kw_only=True):
    """First frame of every connection.

    `device_id` is empty for a device that is not linked. `public_key`: base64 SPKI of an ECDSA
    P-256 key, needed when not linked. `instance`: a random id of this browser run (two live
    instances of one device are a hold).
    """

    instance: str
    app_version: str
    device_id: str = ""
    public_key: str = ""
    freshness: int = 0


class Proof(Frame, frozen=True, kw_only=True):
    """Answer to `challenge`: base64 of the raw 64-byte (r‖s) ECDSA-SHA256 signature of the nonce's
    bytes, by the device key."""

    signature: str


class RefreshQr(Frame, frozen=True, kw_only=True):
    """Asks for a new run of QR refs, usually after `qr_idle`."""


class RequestPairingCode(Frame, frozen=True, kw_only=True):
    """Asks for a code the owner of `phone` (digits only) types into the phone."""

    req: int
    phone: str


class Passkey(Frame, frozen=True, kw_only=True):
    """The person at the page passed the passkey prompt (after `passkey_required`)."""


class Send(Frame, frozen=True, kw_only=True):
    """Sends a message. `client_ts`: the device's clock. Answer: `sent` or `send_failed`."""

    req: int
    id: str
    chat: str
    type: MessageType
    body: str = ""
    media: MediaRef | None = None
    quoted_id: str = ""
    mentions: tuple[str, ...] = ()
    client_ts: int = 0
    location: Location | None = None
    contacts: tuple[Card, ...] = ()
    poll: Poll | None = None
    preview: LinkPreview | None = None
    forwarded: bool = False


class Receipt(Frame, frozen=True, kw_only=True):
    """This device's user has seen (`ack` 3) or played (4) others' messages in `chat`. Delivery
    (2) is implied by `stored`. Empty `ids`: all of the chat. Answer, if `req` is not 0: `done`."""

    chat: str
    ack: int
    ids: tuple[str, ...] = ()
    req: int = 0


class React(Frame, frozen=True, kw_only=True):
    """Sets this user's reaction to a message; an empty `emoji` removes it. `own_id`: the id of the
    message that does it, if it has one. Answer: `done`."""

    req: int
    chat: str
    id: str
    emoji: str
    own_id: str = ""


class Edit(Frame, frozen=True, kw_only=True):
    """Replaces the text of an own message. Answer: `done`."""

    req: int
    chat: str
    id: str
    body: str
    own_id: str = ""


class Delete(Frame, frozen=True, kw_only=True):
    """Deletes an own message for everyone. Answer: `done`."""

    req: int
    chat: str
    id: str
    own_id: str = ""


class ShowPresence(Frame, frozen=True, kw_only=True):
    """This user types, records or stopped, in `chat`. Answer: `done`."""

    req: int
    chat: str
    state: PresenceState


class SubscribePresence(Frame, frozen=True, kw_only=True):
    """Asks for `presence` of the others in `chat`. Answer: `done`."""

    req: int
    chat: str


class QueryExists(Frame, frozen=True, kw_only=True):
    """Asks whether a wid (or bare digits) is an account. Answer: `exists`."""

    req: int
    wid: str


class QueryChat(Frame, frozen=True, kw_only=True):
    """Asks for the chat a wid leads to; for an account known by its lid only this is the `@lid`
    chat. Answer: `chat_found`."""

    req: int
    wid: str


class QueryChats(Frame, frozen=True, kw_only=True):
    """Asks for the account's chats. Answer: `chats_listed`."""

    req: int


class QueryContacts(Frame, frozen=True, kw_only=True):
    """Asks for the account's contacts. Answer: `contacts_listed`."""

    req: int


class QueryGroup(Frame, frozen=True, kw_only=True):
    """Asks for a group and its members. Answer: `group_found`."""

    req: int
    wid: str


class QueryProfile(Frame, frozen=True, kw_only=True):
    """Asks for the profile of an account or a group; an empty `wid` is this account. Answer:
    `profile_found`."""

    req: int
    wid: str = ""


class SetProfile(Frame, frozen=True, kw_only=True):
    """Changes this account's profile; what is null stays. Answer: `done`."""

    req: int
    name: str | None = None
    about: str | None = None
    picture: MediaRef | None = None
    remove_picture: bool = False


class Stored(Frame, frozen=True, kw_only=True):
    """Every queued frame up to and including `seq` is durably stored here."""

    seq: int


class NoticeAck(Frame, frozen=True, kw_only=True):
    """The user closed the dialog of a `notice`."""

    kind: NoticeKind


class Takeover(Frame, frozen=True, kw_only=True):
    """After `conflict`: become the active connection again. Answer: `welcome`."""


class Logout(Frame, frozen=True, kw_only=True):
    """Unlink this device for good. Answer: `unlinked(user)`."""


class Ping(Frame, frozen=True, kw_only=True):
    """Round trip. Answer: `pong`."""

    req: int


ClientFrame = (
    Hello
    | Proof
    | RefreshQr
    | RequestPairingCode
    | Passkey
    | Send
    | Receipt
    | React
    | Edit
    | Delete
    | QueryExists
    | QueryChat
    | QueryChats
    | QueryContacts
    | QueryGroup
    | QueryProfile
    | SetProfile
    | ShowPresence
    | SubscribePresence
    | Stored
    | NoticeAck
    | Takeover
    | Logout
    | Ping
)
