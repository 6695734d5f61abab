"""A message of the page → `ChatMessage`.

Owns WhatsApp's types of message and which of their parts are told. Pure. Strangers write messages:
a part that is not as the schema wants it is left out, never the message.
"""

from typing import Any, Final, TypeVar

import msgspec

from schemas.messages import NAME_CHARS_MAX, ChatMessage, InboundMedia, Location, Poll
from schemas.states import Ack, MessageDirection, MessageKind, MessageState
from swarm_node.core.vcards import read_cards

S = TypeVar("S", bound=msgspec.Struct)

KINDS: Final[dict[str, MessageKind]] = {
    "chat": MessageKind.TEXT,
    "image": MessageKind.IMAGE,
    "video": MessageKind.VIDEO,
    "gif": MessageKind.VIDEO,
    "ptv": MessageKind.VIDEO,
    "audio": MessageKind.AUDIO,
    "ptt": MessageKind.VOICE,
    "document": MessageKind.DOCUMENT,
    "sticker": MessageKind.STICKER,
    "location": MessageKind.LOCATION,
    "vcard": MessageKind.CONTACT,
    "multi_vcard": MessageKind.CONTACT,
    "poll_creation": MessageKind.POLL,
}
_NO_MESSAGE: Final = frozenset(
    {"protocol", "reaction", "reaction_enc", "ciphertext", "e2e_notification", "notification",
     "notification_template", "gp2", "revoked", "debug", "call_log", "broadcast_notification"}
)  # fmt: skip
"""Types that carry nothing a person wrote."""
_SECONDS_ABOVE: Final = 10_000_000_000
"""Larger than any Unix time in seconds for centuries: then it is in ms."""


def unix_s(t: object) -> float | None:
    """WhatsApp's time, in seconds or milliseconds, as Unix seconds; None when it gave none."""
    if not t:
        return None
    value = float(str(t))
    return value / 1000 if value > _SECONDS_ABOVE else value


def chat_message(data: dict[str, Any], session_id: str) -> ChatMessage | None:
    """The message, or None when nobody wrote it. Raises as `translate` does."""
    key, raw_type = data["key"], str(data["type"])
    if raw_type in _NO_MESSAGE or key["chat"] == "status@broadcast":
        return None
    from_me = bool(key["fromMe"])
    return ChatMessage(
        message_id=key["id"],
        session_id=session_id,
        direction=MessageDirection.OUTBOUND if from_me else MessageDirection.INBOUND,
        kind=KINDS.get(raw_type, MessageKind.OTHER),
        # What another device of the account sent is with WhatsApp already.
        state=MessageState.SENT if from_me else MessageState.RECEIVED,
        chat_id=key["chat"],
        created_at=unix_s(data["t"]) or 0.0,
        # In a group the chat is not who wrote it.
        from_id=key.get("participant") or data.get("from"),
        text=data.get("text"),
        media=_media(data.get("media")),
        reply_to=data.get("quoted"),
        ack=Ack.from_level(int(data["ack"])) if from_me else Ack.PENDING,
        mentions=tuple(data.get("mentions") or ()),
        forwarded=bool(data.get("forwarded")),
        location=_location(data.get("location")),
        contacts=read_cards(data.get("vcards") or []),
        poll=_poll(data.get("poll")),
    )


def _media(raw: dict[str, Any] | None) -> InboundMedia | None:
    if raw is None:
        return None
    return InboundMedia(mimetype=raw["mimetype"], size_bytes=raw["size"], filename=raw["filename"])


def _location(raw: dict[str, Any] | None) -> Location | None:
    if raw is None:
        return None
    # WhatsApp has one text: a name, and an address in the lines below.
    name, _, address = (raw["label"] or "").partition("\n")
    place = {"latitude": raw["latitude"], "longitude": raw["longitude"]}
    texts = {"name": name[:NAME_CHARS_MAX] or None, "address": address[:NAME_CHARS_MAX] or None}
    return _made({**place, **texts}, Location)


def _poll(raw: dict[str, Any] | None) -> Poll | None:
    if raw is None:
        return None
    poll = {"question": raw["question"], "options": raw["options"], "choices_max": raw["choices"]}
    return _made(poll, Poll)


def _made(fields: dict[str, Any], wanted: type[S]) -> S | None:
    try:
        # As JSON would bring it: the tag tells the kind.
        return msgspec.convert({"type": wanted.__struct_config__.tag, **fields}, wanted)
    except msgspec.ValidationError:
        return None
