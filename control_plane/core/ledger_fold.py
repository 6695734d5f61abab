"""The ledger's fold: what each event makes of a message, and nothing else.

Owns the rules that make folding safe to repeat and to do in any order: a final state stays, a
receipt never goes back, what arrived once is not overwritten.
"""

from typing import Any

import msgspec

from schemas.events import (
    EventData,
    MessageAck,
    MessageDeleted,
    MessageEdited,
    MessageFailed,
    MessageReaction,
    MessageReceived,
    MessageSent,
    MessageUnknown,
    PollVote,
)
from schemas.messages import (
    ChatMessage,
    Contacts,
    Content,
    Delete,
    Edit,
    Forward,
    InboundMedia,
    Location,
    Media,
    Poll,
    Reaction,
    Text,
    kind_of,
)
from schemas.records import OutboxItem
from schemas.states import Ack, MessageDirection, MessageState

_SECOND_END = 0.999
REACTIONS_MAX = 1024
"""WhatsApp's largest group; each member has one reaction, and one vote in a poll."""
_NOTHING: dict[str, Any] = {
    "text": None,
    "media": None,
    "mentions": (),
    "location": None,
    "contacts": (),
    "poll": None,
    "poll_votes": {},
}
"""What is left in a message that was deleted."""


def accepted(item: OutboxItem) -> ChatMessage:
    """The message as it stands when the API has taken it."""
    return ChatMessage(
        message_id=item.message_id,
        session_id=item.session_id,
        direction=MessageDirection.OUTBOUND,
        kind=kind_of(item.content),
        state=MessageState.ACCEPTED,
        chat_id=item.to,
        created_at=item.accepted_at,
        state_at=item.entered_at,
        reply_to=getattr(item.content, "reply_to", None),
        mentions=getattr(item.content, "mentions", ()),
        **_shape(item.content),
        redrives=item.redrives,
    )


def _shape(content: Content) -> dict[str, Any]:
    """The fields that hold what is in it; a target's own content is in the target's record."""
    match content:
        case Text():
            return {"text": content.text}
        case Media(media=ref):
            media = InboundMedia(ref.mimetype, ref.size_bytes, ref.filename)
            return {"text": content.caption, "media": media}
        case Location():
            return {"location": content}
        case Contacts():
            return {"contacts": content.contacts}
        case Poll():
            return {"poll": content}
        case Reaction(target=target):
            return {"target_id": target.message_id, "text": content.emoji}
        case Edit(target=target):
            return {"target_id": target.message_id, "text": content.text}
        case Delete(target=target):
            return {"target_id": target.message_id}
        case Forward(target=target):
            return {"target_id": target.message_id, "forwarded": True}


def message_id_of(data: EventData) -> str | None:
    """Which message an event is about; None: none."""
    if isinstance(data, MessageReceived):
        return data.message.message_id
    return getattr(data, "message_id", None)


def fold(
    old: ChatMessage | None, data: EventData, *, session_id: str, at: float
) -> ChatMessage | None:
    """The message after the event, or None if the event changes nothing."""
    if isinstance(data, MessageReceived):
        # The session is the event's own: a payload cannot put a message into another's ledger.
        return None if old is not None else _arrived(data.message, session_id, at)
    if old is None:
        return None
    new = _changed(old, data, at)
    return None if new == old else new


def _arrived(message: ChatMessage, session_id: str, at: float) -> ChatMessage:
    created_at = message.created_at
    if created_at == int(created_at):
        # WhatsApp's times are whole seconds: an answer would stand before the message of ours
        # that it answers. When the node saw it says more, as far as it is within that second.
        created_at = max(created_at, min(at, created_at + _SECOND_END))
    return msgspec.structs.replace(message, session_id=session_id, created_at=created_at)


def _changed(old: ChatMessage, data: EventData, at: float) -> ChatMessage:
    replace = msgspec.structs.replace
    match data:
        case MessageSent():
            sent = finish(old, MessageState.SENT, at=at, chat_id=data.chat_id)
            return replace(sent, ack=higher(sent.ack, data.ack))
        case MessageFailed() | MessageUnknown():
            state = MessageState.FAILED if isinstance(data, MessageFailed) else MessageState.UNKNOWN
            # An earlier life's end may be told late, after a redrive.
            if data.redrives < old.redrives:
                return old
            lived = redriven(old, data.redrives, at)
            return finish(lived, state, at, data.error_code, data.error_detail)
        case MessageAck():
            return replace(old, ack=higher(old.ack, data.ack))
        case MessageReaction():
            return replace(old, reactions=_reacted(old.reactions, data))
        case MessageEdited():
            return old if old.deleted else replace(old, text=data.text, edited=True)
        case MessageDeleted():
            return replace(old, deleted=True, reactions={}, **_NOTHING)
        case PollVote():
            return replace(old, poll_votes=_voted(old, data))
        case _:
            return old


def finish(
    old: ChatMessage,
    state: MessageState,
    at: float,
    error_code: str | None = None,
    error_detail: str | None = None,
    chat_id: str | None = None,
) -> ChatMessage:
    """Reach a final state, once: one that is reached already stays."""
    if old.state.final:
        return old
    return msgspec.structs.replace(
        old,
        state=state,
        state_at=at,
        error_code=error_code,
        error_detail=error_detail,
        chat_id=chat_id or old.chat_id,
    )


def redriven(old: ChatMessage, redrives: int, at: float) -> ChatMessage:
    """The message in its life number `redrives`: accepted again, unless it is that far already.

    The only way back from a final state, and a person's explicit act.
    """
    if redrives <= old.redrives:
        return old
    return msgspec.structs.replace(
        old,
        state=MessageState.ACCEPTED,
        state_at=at,
        error_code=None,
        error_detail=None,
        redrives=redrives,
    )


def higher(left: Ack, right: Ack) -> Ack:
    """The receipt that got further."""
    return left if left.level >= right.level else right


def _reacted(old: dict[str, str], data: MessageReaction) -> dict[str, str]:
    left = {who: emoji for who, emoji in old.items() if who != data.from_id}
    if data.emoji and len(left) < REACTIONS_MAX:
        left[data.from_id] = data.emoji
    return left


def _voted(old: ChatMessage, data: PollVote) -> dict[str, tuple[str, ...]]:
    """Voters by option: much smaller than options by voter, for a poll's record must stay one."""
    votes = old.poll_votes
    before = {option for option, voters in votes.items() if data.from_id in voters}
    chosen = set(data.options)
    if (
        before == chosen
        or len({who for voters in votes.values() for who in voters}) > REACTIONS_MAX
    ):
        return votes
    left = {
        option: tuple(who for who in voters if who != data.from_id)
        for option, voters in votes.items()
    }
    for option in data.options:
        left[option] = (*left.get(option, ()), data.from_id)
    order = old.poll.options if old.poll is not None else tuple(left)
    return {option: left[option] for option in order if left.get(option)}
