"""Reactions, edits, deletions and forwards: from the message they name to what is sent.

Owns the look-up of that message in the session's history and the naming of the wrong field. The
rules what may be done to it are `core.message_targets`. Never sends.
"""

from typing import Final

import msgspec

from control_plane.core.message_targets import may_be_same_chat, target_of
from control_plane.http.problems import InvalidFields, invalid
from control_plane.ports import Services
from schemas.api import FieldProblem
from schemas.api_messages import NewMessage
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import ChatId, MessageId, SessionId, TenantId
from schemas.messages import Content, Delete, Edit, Forward, MessageRef, Reaction
from schemas.states import MessageKind

_KINDS: Final = (
    MessageKind.REACTION,
    MessageKind.EDIT,
    MessageKind.DELETE,
    MessageKind.FORWARD,
)
_OF_THE_TARGET: Final = frozenset({ErrorCode.MESSAGE_NOT_FOUND, ErrorCode.MESSAGE_NOT_CHANGEABLE})


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request that is about another message of the session.

    `to` is where a forward goes; for all others it is the chat of the message, and None where the
    request need not say it. `path` is the field that names the message.
    """

    kind: MessageKind
    message_id: MessageId
    path: str = "message_id"
    to: ChatId | None = None
    emoji: str = ""
    text: str = ""
    mentions: tuple[ChatId, ...] = ()


def act_of(new: NewMessage, to: ChatId, mentions: tuple[ChatId, ...]) -> Act | None:
    """The act that a message request asks for, if it is one."""
    for kind in _KINDS:
        asked = getattr(new, kind.value)
        if asked is not None:
            return Act(
                kind=kind,
                message_id=asked.message_id,
                path=f"{kind}.message_id",
                to=to,
                emoji=getattr(asked, "emoji", ""),
                text=getattr(asked, "text", ""),
                mentions=mentions,
            )
    return None


async def about(
    act: Act, services: Services, tenant: TenantId, session: SessionId, *, now: float
) -> tuple[ChatId, Content]:
    """Where to and what. `now`: Unix seconds. Raises `session_not_found`, `message_not_found`,
    `message_not_changeable`, and `validation_failed` for a wrong `to`."""
    try:
        found = await services.messages.get(tenant, session, act.message_id)
        target = target_of(found, act.kind, now=now)
    except BlazzError as error:
        if error.code not in _OF_THE_TARGET:
            raise
        detail = error.detail or "This session's history knows no message with this id."
        raise InvalidFields(FieldProblem(act.path, detail), code=error.code) from None
    if act.kind is MessageKind.FORWARD:
        assert act.to is not None
        return act.to, Forward(target)
    if act.to is not None and not may_be_same_chat(act.to, target.chat_id):
        raise invalid("to", f"The message that {act.path} names is in another chat.")
    return target.chat_id, _content(act, target)


def _content(act: Act, target: MessageRef) -> Content:
    if act.kind is MessageKind.REACTION:
        return Reaction(target, act.emoji)
    if act.kind is MessageKind.EDIT:
        return Edit(target, act.text, act.mentions)
    return Delete(target)
