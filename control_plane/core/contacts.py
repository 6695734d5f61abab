"""Contacts: how a chat is named where its id may not stand.

Owns the digest. Chat ids hold phone numbers: they are no legal key or subject token, and belong
neither into headers nor into logs.
"""

import hashlib
from typing import Final

import msgspec

from schemas.messages import Content, Delete, Edit, Reaction

_REPLY_MARK: Final = ":reply"


class ChatMark(msgspec.Struct, frozen=True):
    """Whom a queued message is for, and whether it is about a message already there: an answer, a
    reaction, an edit, a deletion."""

    digest: str
    answers: bool = False


def chat_digest(chat_id: str) -> str:
    """32 hex digits: a key token for a chat."""
    return hashlib.sha256(chat_id.encode()).hexdigest()[:32]


def chat_mark(chat_id: str, content: Content) -> ChatMark:
    """What is noted beside a message in the outbox."""
    about = isinstance(content, Reaction | Edit | Delete)
    return ChatMark(chat_digest(chat_id), about or getattr(content, "reply_to", None) is not None)


def encode_mark(mark: ChatMark) -> str:
    """A mark as a header's value."""
    return mark.digest + (_REPLY_MARK if mark.answers else "")


def decode_mark(header: str) -> ChatMark:
    """Read it back; an empty one (of an older release) stands for one unknown chat."""
    return ChatMark(header.removesuffix(_REPLY_MARK), header.endswith(_REPLY_MARK))
