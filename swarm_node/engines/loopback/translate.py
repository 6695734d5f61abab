"""Switch frames ⇄ the contract's words, for the loopback engine.

Owns the mapping, both ways. Pure. Never a frame's transport.
"""

import re
from typing import Final, TypeVar

import msgspec

from schemas import switch_wire as wire
from schemas.chats import CallState, Chat, Contact, Group, GroupChange, GroupMember
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import (
    ChatMessage,
    Contacts,
    Delete,
    Edit,
    InboundMedia,
    Location,
    Media,
    Poll,
    Reaction,
    Text,
)
from schemas.states import Ack, MessageDirection, MessageKind, MessageState
from swarm_node.core.vcards import read_cards, write_card
from swarm_node.engines import contract
from swarm_node.engines.loopback.store import LinkedDevice

S = TypeVar("S", bound=msgspec.Struct)

_KINDS: Final[dict[wire.MessageType, MessageKind]] = {
    "chat": MessageKind.TEXT,
    "image": MessageKind.IMAGE,
    "video": MessageKind.VIDEO,
    "audio": MessageKind.AUDIO,
    "ptt": MessageKind.VOICE,
    "document": MessageKind.DOCUMENT,
    "sticker": MessageKind.STICKER,
    "location": MessageKind.LOCATION,
    "vcard": MessageKind.CONTACT,
    "poll_creation": MessageKind.POLL,
}
_MEDIA_TYPES: Final[dict[MessageKind, wire.MessageType]] = {
    MessageKind.IMAGE: "image",
    MessageKind.VIDEO: "video",
    MessageKind.AUDIO: "audio",
    MessageKind.VOICE: "ptt",
    MessageKind.DOCUMENT: "document",
    MessageKind.STICKER: "sticker",
}
_LINK: Final = re.compile(r"https?://([^\s/?#]+)[^\s]*")

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
        mentions=message.mentions,
        forwarded=message.forwarded,
        location=_made(message.location, Location),
        contacts=read_cards([card.vcard for card in message.contacts]),
        poll=_made(message.poll, Poll),
    )


def _made(part: msgspec.Struct | None, wanted: type[S]) -> S | None:
    """The same in our words; None if there is none, or it is not as the schema wants it."""
    if part is None:
        return None
    texts = {name: value for name, value in msgspec.structs.asdict(part).items() if value != ""}
    try:
        # As JSON would bring it: the tag tells the kind.
        return msgspec.convert({"type": wanted.__struct_config__.tag, **texts}, wanted)
    except msgspec.ValidationError:
        return None


def queued_events(frame: wire.QueuedFrame, session_id: str) -> list[contract.EngineEvent]:
    """What a queued frame means to the world: often one event, sometimes none."""
    match frame:
        case wire.MessageIn(message=message):
            return [contract.MessageArrived(chat_message(message, session_id))]
        case wire.Ack(ids=ids, chat=chat, ack=ack):
            return [contract.AckChanged(one, chat, Ack.from_level(ack)) for one in ids]
        case wire.Reaction():
            return [
                contract.Reacted(
                    frame.id, frame.chat, frame.sender, frame.emoji, frame.ts_ms / 1000
                )
            ]
        case wire.Edited():
            return [contract.Edited(frame.id, frame.chat, frame.body, frame.ts_ms / 1000)]
        case wire.Deleted():
            return [contract.Deleted(frame.id, frame.chat)]
        case wire.PollVoted():
            at = frame.ts_ms / 1000
            return [contract.PollVoted(frame.id, frame.chat, frame.sender, frame.options, at)]
        case wire.GroupChanged():
            return [
                contract.GroupAltered(
                    frame.chat,
                    GroupChange(frame.change),
                    frame.by,
                    frame.members,
                    frame.value or None,
                    float(frame.ts),
                )
            ]
        case wire.CallIn():
            state = CallState(frame.state)
            group = frame.group or None
            return [contract.CallSeen(frame.id, frame.sender, state, frame.video, group)]
        case _:
            return []


Act = Reaction | Edit | Delete
"""What changes another message."""
Sendable = Text | Media | Location | Contacts | Poll
"""What becomes a message with a content of its own."""


def filled(message: wire.Message, content: Sendable) -> wire.Message:
    """The message with what the content says. Raises `media_unsupported`."""
    replace = msgspec.structs.replace
    message = replace(message, quoted_id=content.reply_to or "")
    match content:
        case Text(text=text):
            preview = link_preview(text) if content.link_preview else None
            return replace(message, body=text, mentions=content.mentions, preview=preview)
        case Media():
            return replace(
                message,
                type=_media_type(content.kind),
                body=content.caption or "",
                mentions=content.mentions,
            )
        case Location():
            place = wire.Location(
                latitude=content.latitude,
                longitude=content.longitude,
                name=content.name or "",
                address=content.address or "",
            )
            return replace(message, type="location", location=place)
        case Contacts(contacts=contacts):
            cards = tuple(wire.Card(name=card.name, vcard=write_card(card)) for card in contacts)
            return replace(message, type="vcard", contacts=cards)
        case Poll():
            poll = wire.Poll(
                question=content.question,
                options=content.options,
                choices_max=content.choices_max,
            )
            return replace(message, type="poll_creation", poll=poll)


def forwarded(message: wire.Message, source: wire.Message) -> wire.Message:
    """The message with what another one says, shown as forwarded."""
    return msgspec.structs.replace(
        message,
        type=source.type,
        body=source.body,
        media=source.media,
        mentions=source.mentions,
        location=source.location,
        contacts=source.contacts,
        poll=source.poll,
        preview=source.preview,
        forwarded=True,
    )


def link_preview(text: str) -> wire.LinkPreview | None:
    """What a text's first link leads to, as far as it can be told without asking: its host."""
    link = _LINK.search(text)
    return wire.LinkPreview(url=link[0], title=link[1]) if link else None


def _media_type(kind: MessageKind) -> wire.MessageType:
    type_ = _MEDIA_TYPES.get(kind)
    if type_ is None:
        raise BlazzError(ErrorCode.MEDIA_UNSUPPORTED, f"a {kind} can't be sent as media")
    return type_


def send_frame(req: int, message: wire.Message) -> wire.Send:
    """The frame that sends a message."""
    return wire.Send(
        req=req,
        id=message.id,
        chat=message.chat,
        type=message.type,
        body=message.body,
        media=message.media,
        quoted_id=message.quoted_id,
        mentions=message.mentions,
        client_ts=message.ts,
        location=message.location,
        contacts=message.contacts,
        poll=message.poll,
        preview=message.preview,
        forwarded=message.forwarded,
    )


def act_frame(req: int, own_id: str, act: Act) -> wire.React | wire.Edit | wire.Delete:
    """The frame that changes another message."""
    chat, target_id = act.target.chat_id, act.target.message_id
    match act:
        case Reaction(emoji=emoji):
            return wire.React(req=req, chat=chat, id=target_id, emoji=emoji, own_id=own_id)
        case Edit(text=text):
            return wire.Edit(req=req, chat=chat, id=target_id, body=text, own_id=own_id)
        case Delete():
            return wire.Delete(req=req, chat=chat, id=target_id, own_id=own_id)


def chat(info: wire.ChatInfo) -> Chat:
    """A chat for a list."""
    is_group = info.wid.endswith("@g.us")
    return Chat(
        chat_id=info.wid,
        name=info.name or None,
        is_group=is_group,
        unread=info.unread,
        last_message_at=float(info.ts) if info.ts else None,
        phone=None if is_group else _digits(info.phone or info.wid),
    )


def contact(info: wire.ContactInfo) -> Contact:
    """A contact for a list."""
    return Contact(
        contact_id=info.wid,
        name=info.name or None,
        push_name=info.pushname or None,
        phone=_digits(info.phone or info.wid),
        lid=info.lid or None,
        saved=bool(info.name),
        business=info.business,
    )


def group(info: wire.GroupInfo) -> Group:
    """A group with its members."""
    return Group(
        chat_id=info.wid,
        name=info.name,
        members=tuple(
            GroupMember(one.wid, one.admin, _digits(one.phone or one.wid))
            for one in info.participants
        ),
        description=info.description or None,
        owner_id=info.owner or None,
        created_at=float(info.created_ts),
        announce_only=info.announce_only,
    )


def _digits(wid: str) -> str | None:
    user, _, server = wid.partition("@")
    return user if server == "c.us" else None


def act_failure(reason: str) -> BlazzError:
    """Why the switch changed nothing."""
    if reason == "unknown_chat":
        return BlazzError(ErrorCode.MESSAGE_NOT_FOUND, "the target is not known to WhatsApp")
    return BlazzError(ErrorCode.MESSAGE_REFUSED, f"refused: {reason}")


def failure(reason: wire.SendFailure) -> BlazzError:
    """Why the switch took no message."""
    return BlazzError(_FAILURES[reason], f"refused: {reason}")
