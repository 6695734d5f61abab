"""The switch's own records: accounts, groups, envelopes, devices; and its refusal.

Owns their fields and the wid grammar. Mutable on purpose: the switch is one in-memory state.
Never does I/O and never reads a clock.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

import msgspec

from schemas import switch_wire as wire

ChatKey = str
"""A group's wid, or the two numbers of a direct chat, sorted and joined by `|`."""


class RefusedError(Exception):
    """A request nobody can fulfil; `reason` goes to the asker."""

    def __init__(self, reason: wire.SendFailure) -> None:
        super().__init__(reason)
        self.reason = reason


class Account(msgspec.Struct, kw_only=True):
    """A phone. `number` and `lid` are digits; `lid_only`: others reach it by its lid alone;
    `picture`: a media id."""

    number: str
    name: str
    lid: str = ""
    lid_only: bool = False
    on: bool = True
    auto_read: bool = False
    business: bool = False
    about: str = ""
    picture: str = ""

    @property
    def wid(self) -> str:
        return f"{self.number}@c.us"

    @property
    def lid_wid(self) -> str:
        return f"{self.lid}@lid" if self.lid else ""

    @property
    def shown_wid(self) -> str:
        """The wid others see."""
        return self.lid_wid if self.lid_only and self.lid else self.wid


class Group(msgspec.Struct, kw_only=True):
    """A group; `members`, `admins` and `owner` are account numbers."""

    wid: str
    name: str
    members: list[str]
    admins: list[str]
    owner: str
    created_ts: int
    description: str = ""
    announce_only: bool = False
    picture: str = ""


CONTENT_FIELDS: Final = (
    "body",
    "media",
    "location",
    "contacts",
    "poll",
    "preview",
    "mentions",
    "forwarded",
)
"""What is in a message: the same fields in a `send`, an envelope and a device's view of it."""


class Envelope(msgspec.Struct, kw_only=True):
    """A message as the switch holds it. `n` is its place among all accepted messages."""

    n: int
    id: str
    chat: ChatKey
    sender: str
    device_id: str
    type: wire.MessageType
    ts: int
    body: str = ""
    media: wire.MediaRef | None = None
    quoted_id: str = ""
    mentions: tuple[str, ...] = ()
    location: wire.Location | None = None
    contacts: tuple[wire.Card, ...] = ()
    poll: wire.Poll | None = None
    preview: wire.LinkPreview | None = None
    forwarded: bool = False
    edited: bool = False
    deleted: bool = False
    acks: dict[str, int] = {}
    reactions: dict[str, str] = {}
    votes: dict[str, tuple[str, ...]] = {}

    @property
    def ack(self) -> int:
        """What the sender sees: the lowest ack among the others."""
        return min(self.acks.values(), default=wire.ACK_READ)


class Line(Protocol):
    """An open connection of a device, as the switch's state sees it."""

    instance: str
    ready: bool

    def post(self, frame: wire.SwitchFrame) -> None: ...

    def hang_up(self) -> None: ...


class Device(msgspec.Struct, kw_only=True):
    """A linked device. `queue` holds what it has not stored yet; `sent` the ids of its messages,
    `acts` those of its reactions, edits and deletes; `watching` the chats whose presence its
    instance `watching_as` asked for."""

    device_id: str
    account: str
    public_key: str
    linked_ts: int
    app_version: str = ""
    synced: bool = False
    whats_new_closed: bool = False
    next_seq: int = 1
    stored_seq: int = 0
    queue: deque[wire.QueuedFrame] = msgspec.field(default_factory=deque)
    sent: dict[str, int] = {}
    acts: set[str] = set()
    watching: set[ChatKey] = set()
    watching_as: str = ""
    active: Line | None = None
    lines: list[Line] = []


def split_wid(wid: str) -> tuple[str, str]:
    """`("1555", "c.us")`; bare digits, with or without `+`, count as a phone number."""
    user, _, server = wid.partition("@")
    return user.lstrip("+"), server or "c.us"


def direct_key(one: str, other: str) -> ChatKey:
    """The key of the chat of two numbers."""
    return "|".join(sorted((one, other)))
