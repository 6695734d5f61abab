"""Targets: whether a message may be reacted to, edited, deleted or forwarded, and its full key.

Owns these rules, as far as the ledger can tell; WhatsApp has the last word. Never looks a message
up.
"""

from typing import Final

from schemas.errors import BlazzError, ErrorCode
from schemas.ids import ChatId
from schemas.messages import ChatMessage, MessageRef
from schemas.states import MessageDirection, MessageKind, MessageState

EDIT_WINDOW_S: Final = 15 * 60.0
"""WhatsApp takes an edit for so long after the message was sent."""
_NO_MESSAGES: Final = frozenset({MessageKind.REACTION, MessageKind.EDIT, MessageKind.DELETE})
_GROUP: Final = "@g.us"


def target_of(found: ChatMessage, act: MessageKind, *, now: float) -> MessageRef:
    """The key of a message, if `act` (reaction, edit, delete or forward) may be done to it.

    `now`: Unix seconds. Raises `message_not_found`, `message_not_changeable`.
    """
    mine = found.direction is MessageDirection.OUTBOUND
    if found.kind in _NO_MESSAGES:
        raise BlazzError(
            ErrorCode.MESSAGE_NOT_FOUND,
            f"That id is of a {found.kind}; name the message that it was about.",
        )
    if found.deleted:
        raise _not_changeable("It was deleted.")
    if found.state is MessageState.FAILED:
        raise _not_changeable("It was never sent.")
    if act is MessageKind.EDIT:
        _check_edit(found, mine, now)
    if act is MessageKind.DELETE and not mine:
        raise _not_changeable("Only what this session's account sent can be deleted for everyone.")
    if act is MessageKind.FORWARD and found.kind is MessageKind.POLL:
        raise _not_changeable("A poll can't be forwarded; send it as a new one.")
    author = found.from_id if found.chat_id.endswith(_GROUP) and not mine else None
    return MessageRef(found.message_id, found.chat_id, mine, author)


def may_be_same_chat(asked: ChatId, chat: ChatId) -> bool:
    """Whether two ids can be one chat: a person has one by number and one by `@lid`, and which
    belong together only WhatsApp knows."""
    servers = {asked.rpartition("@")[2], chat.rpartition("@")[2]}
    return asked == chat or servers == {"c.us", "lid"}


def _check_edit(found: ChatMessage, mine: bool, now: float) -> None:
    if not mine:
        raise _not_changeable("Only what this session's account sent can be edited.")
    if found.kind is not MessageKind.TEXT:
        raise _not_changeable("Only texts can be edited.")
    waits = found.state is MessageState.ACCEPTED
    since = found.created_at if found.state_at is None else found.state_at
    if not waits and now - since > EDIT_WINDOW_S:
        raise _not_changeable("It was sent more than 15 minutes ago.")


def _not_changeable(detail: str) -> BlazzError:
    return BlazzError(ErrorCode.MESSAGE_NOT_CHANGEABLE, detail)
