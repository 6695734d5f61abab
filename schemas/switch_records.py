"""What the frames of `switch_wire` carry: messages, chats, contacts, media, and the limits.

Owns these records and constants only; frames and codec are in `switch_wire`, which also re-exports
all of this. Never holds behaviour.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

LINK_PATH: Final = "/sandbox/link"
"""Path of the WebSocket on the page's origin."""

MEDIA_PATH: Final = "/sandbox/media"
"""`PUT MEDIA_PATH` (raw bytes, Content-Type the media's) answers `MediaStored` as JSON;
`GET MEDIA_PATH/<media_id>` answers the bytes."""

FRAME_BYTES_MAX: Final = 4 * 1024 * 1024
MEDIA_BYTES_MAX: Final = 64 * 1024 * 1024
SYNC_MESSAGES_MAX: Final = 500
"""How many messages one `sync` frame carries at most."""

ACK_FAILED: Final = -1
ACK_CLOCK: Final = 0
ACK_SENT: Final = 1
ACK_DELIVERED: Final = 2
ACK_READ: Final = 3
ACK_PLAYED: Final = 4

MessageType = Literal[
    "chat",
    "image",
    "video",
    "audio",
    "ptt",
    "document",
    "sticker",
    "location",
    "vcard",
    "poll_creation",
]
"""`vcard` holds one card or several."""

PresenceState = Literal["typing", "recording", "paused", "available", "unavailable"]

GroupChangeKind = Literal[
    "created",
    "added",
    "joined",
    "removed",
    "left",
    "promoted",
    "demoted",
    "name",
    "description",
    "picture",
    "announce_only",
]

CallKind = Literal["ringing", "missed"]

UnlinkReason = Literal["phone", "user", "stale_state", "notice_ignored", "replaced"]
"""phone: the phone removed the device; user: the device logged out; stale_state: an old snapshot;
notice_ignored: a dialog stayed unanswered too long; replaced: the account linked too many."""

RefusedReason = Literal["unlinked", "stale_state", "bad_proof"]

SendFailure = Literal[
    "unknown_chat", "not_a_member", "admins_only", "bad_frame", "media_missing", "rejected"
]

NoticeKind = Literal["whats_new", "version"]


class Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record inside a frame."""


class MediaRef(Data, frozen=True, kw_only=True):
    """Bytes kept by the switch."""

    media_id: str
    mimetype: str
    size: int
    filename: str = ""


class MediaStored(Data, frozen=True, kw_only=True):
    """The answer to a media PUT. `sha256`: hex of the bytes."""

    media_id: str
    size: int
    sha256: str


class Location(Data, frozen=True, kw_only=True):
    """A place, in degrees."""

    latitude: float
    longitude: float
    name: str = ""
    address: str = ""


class Card(Data, frozen=True, kw_only=True):
    """Somebody's card. `name` is shown; `vcard` is the whole of it (vCard 3.0), its phone in a
    `TEL` line with `waid=<digits>`."""

    name: str
    vcard: str


class Poll(Data, frozen=True, kw_only=True):
    """A question; `choices_max` 0: as many options as one likes."""

    question: str
    options: tuple[str, ...]
    choices_max: int = 0


class LinkPreview(Data, frozen=True, kw_only=True):
    """What the sender's device found behind the first link of a text."""

    url: str
    title: str = ""
    description: str = ""


class Message(Data, frozen=True, kw_only=True):
    """One message as a device sees it.

    `chat` is the chat it belongs to on THIS device (for a direct chat: the other side's wid);
    `sender` the author's wid; `body` the text, or a media's caption; `ack` matters on own ones.
    """

    id: str
    chat: str
    sender: str
    from_me: bool
    type: MessageType
    ts: int
    body: str = ""
    media: MediaRef | None = None
    quoted_id: str = ""
    quoted_sender: str = ""
    mentions: tuple[str, ...] = ()
    ack: int = ACK_SENT
    sender_name: str = ""
    edited: bool = False
    deleted: bool = False
    location: Location | None = None
    contacts: tuple[Card, ...] = ()
    poll: Poll | None = None
    preview: LinkPreview | None = None
    forwarded: bool = False


class ChatInfo(Data, frozen=True, kw_only=True):
    """A chat. `participants` is filled for groups only; `phone` is the number behind an @lid chat,
    as `<digits>@c.us`, when this device may know it."""

    wid: str
    name: str
    participants: tuple[str, ...] = ()
    phone: str = ""
    unread: int = 0
    ts: int = 0


class ContactInfo(Data, frozen=True, kw_only=True):
    """A contact. `name` is the address book's, `pushname` their own; `lid` is empty when the
    account has none; `phone` is the number behind an @lid wid, as `<digits>@c.us`."""

    wid: str
    name: str
    lid: str = ""
    pushname: str = ""
    phone: str = ""
    business: bool = False


class Participant(Data, frozen=True, kw_only=True):
    """Somebody in a group; `phone` as in `ChatInfo`."""

    wid: str
    admin: bool = False
    phone: str = ""


class GroupInfo(Data, frozen=True, kw_only=True):
    """A group. `announce_only`: only admins may write; `picture`: a media id, empty for none."""

    wid: str
    name: str
    participants: tuple[Participant, ...]
    owner: str
    created_ts: int
    description: str = ""
    announce_only: bool = False
    picture: str = ""


class ProfileInfo(Data, frozen=True, kw_only=True):
    """An account, or a group (`about` is empty then); `picture`: a media id, empty for none."""

    wid: str
    name: str
    lid: str = ""
    about: str = ""
    picture: str = ""
