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

MessageType = Literal["chat", "image", "video", "audio", "ptt", "document", "sticker"]

UnlinkReason = Literal["phone", "user", "stale_state", "notice_ignored", "replaced"]
"""phone: the phone removed the device; user: the device logged out; stale_state: an old snapshot;
notice_ignored: a dialog stayed unanswered too long; replaced: the account linked too many."""

RefusedReason = Literal["unlinked", "stale_state", "bad_proof"]

SendFailure = Literal["unknown_chat", "not_a_member", "bad_frame", "media_missing", "rejected"]

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
    """A contact. `lid` is empty when the account has none."""

    wid: str
    name: str
    lid: str = ""
