"""Switch frames ⇄ the contract's words, for the loopback engine.

Owns the mapping, both ways. Pure. Never a frame's transport.
"""

from typing import Final

from schemas import switch_wire as wire
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ChatMessage, Content, InboundMedia, Media, Text
from schemas.states import Ack, MessageDirection, MessageKind, MessageState
from swarm_node.engines import contract
from swarm_node.engines.loopback.store import LinkedDevice

_KINDS: Final[dict[wire.MessageType, MessageKind]] = {
    "chat": MessageKind.TEXT,
    "image": MessageKind.IMAGE,
    "video": MessageKind.VIDEO,
    "audio": MessageKind.AUDIO,
    "ptt": MessageKind.VOICE,
    "document": MessageKind.DOCUMENT,
    "sticker": MessageKind.STICKER,
}
_TYPES: Final = {kind: type_ for type_, kind in _KINDS.items()}

_FAILURES: Final[dict[wire.SendFailure, ErrorCode]] = {
    "unknown_chat": ErrorCode.CHAT_NOT_FOUND,
    "not_a_member": ErrorCode.MESSAGE_REFUSED,
    "admins_only": ErrorCode.MESSAGE_REFUSED,
    "bad_frame": ErrorCode.MESSAGE_REFUSED,
    "media_missing": ErrorCode.MEDIA_NOT_FOUND,
    "rejected": ErrorCode.MESSAGE_REFUSED,
}


def identity(device: LinkedDevice) -> contract.Identity:
    """Whose account it is."""
    return contract.Identity(
        phone=device.me.partition("@")[0], lid=device.lid or None, name=device.pushname or None
    )


def chat_message(message: wire.Message, session_id: str) -> ChatMessage:
    """A switch's message as ours."""
    media = message.media
    own = message.from_me
    return ChatMessage(
        message_id=message.id,
        session_id=session_id,
        direction=MessageDirection.OUTBOUND if own else MessageDirection.INBOUND,
        kind=_KINDS[message.type],
        state=MessageState.SENT if own else MessageState.RECEIVED,
        chat_id=message.chat,
        created_at=float(message.ts),
        from_id=message.sender,
        text=message.body or None,
        media=InboundMedia(
            mimetype=media.mimetype, size_bytes=media.size, filename=media.filename or None
        )
        if media
        else None,
        reply_to=message.quoted_id or None,
        ack=Ack.from_level(message.ack),
        edited=message.edited,
        deleted=message.deleted,
    )


def queued_events(frame: wire.QueuedFrame, session_id: str) -> list[contract.EngineEvent]:
    """What a queued frame means to the world: often one event, sometimes none."""
    match frame:
        case wire.MessageIn(message=message):
            return [contract.MessageArrived(chat_message(message, session_id))]
        case wire.Ack(ids=ids, chat=chat, ack=ack):
            return [contract.AckChanged(one, chat, Ack.from_level(ack)) for one in ids]
        case wire.Reaction():
            return [
                contract.Reacted(frame.id, frame.chat, frame.sender, frame.emoji, float(frame.ts))
            ]
        case wire.Edited():
            return [contract.Edited(frame.id, frame.chat, frame.body, float(frame.ts))]
        case wire.Deleted():
            return [contract.Deleted(frame.id, frame.chat)]
        case _:
            return []


def message_type(content: Content) -> wire.MessageType:
    """The switch's word for a content. Raises `media_unsupported`."""
    if not isinstance(content, Media):
        return "chat"
    type_ = _TYPES.get(content.kind)
    if type_ is None or type_ == "chat":
        raise BlazzError(ErrorCode.MEDIA_UNSUPPORTED, f"a {content.kind} can't be sent as media")
    return type_


def body(content: Content) -> str:
    """The text, or the media's caption."""
    if isinstance(content, Media):
        return content.caption or ""
    return content.text if isinstance(content, Text) else ""


def failure(reason: wire.SendFailure) -> BlazzError:
    """Why the switch took no message."""
    return BlazzError(_FAILURES[reason], f"refused: {reason}")
