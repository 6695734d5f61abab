"""Chats, contacts, groups and profiles: what can be read of an account.

Owns these records, shared by the node's answers and the API's. Never a message; never a picture's
bytes.
"""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.ids import ChatId

PAGE_MAX = 200
"""Rows of one answer: some 100 KB, well under nats-server's 1 MB payload."""


class ChatPresence(StrEnum):
    """What somebody does in a chat. We send the first three; `available` and `unavailable` are
    only ever seen."""

    TYPING = "typing"
    RECORDING = "recording"
    PAUSED = "paused"
    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"


class Chat(msgspec.Struct, frozen=True):
    """A chat of the account; `phone` is the number behind it (E.164 digits), where known."""

    chat_id: ChatId
    name: str | None = None
    is_group: bool = False
    unread: int = 0
    last_message_at: float | None = None
    phone: str | None = None
    archived: bool = False
    pinned: bool = False
    muted: bool = False


class Contact(msgspec.Struct, frozen=True):
    """Somebody the account knows. `name` is the address book's, `push_name` their own."""

    contact_id: ChatId
    name: str | None = None
    push_name: str | None = None
    phone: str | None = None
    lid: str | None = None
    saved: bool = False
    business: bool = False
    blocked: bool = False


class GroupMember(msgspec.Struct, frozen=True):
    """One participant of a group."""

    member_id: ChatId
    admin: bool = False
    phone: str | None = None


class Group(msgspec.Struct, frozen=True):
    """A group as it is now. `announce_only`: only admins may write."""

    chat_id: ChatId
    name: str
    members: tuple[GroupMember, ...] = ()
    description: str | None = None
    owner_id: ChatId | None = None
    created_at: float | None = None
    announce_only: bool = False


class Profile(msgspec.Struct, frozen=True):
    """The account itself."""

    phone: str
    lid: str | None = None
    name: str | None = None
    about: str | None = None
    picture_url: str | None = None
    """Where WhatsApp serves the picture, for a while; None: there is none, or it is hidden."""


class NumberCheck(msgspec.Struct, frozen=True):
    """Whether a number is on WhatsApp, and under which chat."""

    phone: Annotated[str, Meta(pattern=r"^[1-9][0-9]{6,14}$")]
    exists: bool
    chat_id: ChatId | None = None
    lid: str | None = None
    business: bool = False


class GroupChange(StrEnum):
    """What happened to a group."""

    CREATED = "created"
    ADDED = "added"
    JOINED = "joined"
    REMOVED = "removed"
    LEFT = "left"
    PROMOTED = "promoted"
    DEMOTED = "demoted"
    NAME = "name"
    DESCRIPTION = "description"
    PICTURE = "picture"
    ANNOUNCE_ONLY = "announce_only"


class CallState(StrEnum):
    """Where a call stands. `missed` also means one that was answered on another device or
    refused there: this device cannot tell."""

    RINGING = "ringing"
    MISSED = "missed"
