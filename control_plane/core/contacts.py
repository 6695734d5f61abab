"""Contacts: how a chat is named where its id may not stand.

Owns the digest. Chat ids hold phone numbers: they are no legal key or subject token, and belong
neither into headers nor into logs.
"""

import hashlib
from typing import Final

import msgspec

from schemas.messages import Content, Delete, Edit, Reaction

_ANSWERS: Final = "a"
_GROUP: Final = "g"


class ChatMark(msgspec.Struct, frozen=True):
    """Whom a queued message is for; whether it is about a message already there (an answer, a
    reaction, an edit, a deletion); whether the chat is no single person's."""

    digest: str
    answers: bool = False
    group: bool = False


def chat_digest(chat_id: str) -> str:
    """32 hex digits: a key token for a chat."""
    return hashlib.sha256(chat_id.encode()).hexdigest()[:32]


def chat_mark(chat_id: str, content: Content) -> ChatMark:
    """What is noted beside a message in the outbox."""
    about = isinstance(content, Reaction | Edit | Delete)
    return ChatMark(
        chat_digest(chat_id),
        answers=about or getattr(content, "reply_to", None) is not None,
        group=not is_direct(chat_id),
    )


def is_direct(chat_id: str) -> bool:
    """Whether a chat is one person's."""
    return chat_id.endswith(("@c.us", "@lid"))


def encode_mark(mark: ChatMark) -> str:
    """A mark as a header's value: the digest, a dot, a letter for each flag."""
    flags = (_ANSWERS if mark.answers else "") + (_GROUP if mark.group else "")
    return f"{mark.digest}.{flags}" if flags else mark.digest


def decode_mark(header: str) -> ChatMark:
    """Read it back; an empty one (of an older release) stands for one unknown group."""
    digest, _, flags = header.partition(".")
    return ChatMark(digest, _ANSWERS in flags, _GROUP in flags or not digest)
