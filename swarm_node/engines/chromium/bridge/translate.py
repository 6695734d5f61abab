"""Page events → `EngineEvent`s.

Owns the words of WhatsApp's page and what they mean in the contract. Pure: no page, no clock.
Events about the life of the page itself (codes, login, stream) are read by `watch.py`.
"""

from typing import Any, Final

from schemas.messages import ChatMessage, InboundMedia
from schemas.states import Ack, MessageDirection, MessageKind, MessageState
from swarm_node.engines.contract import (
    AckChanged,
    Deleted,
    Edited,
    EngineEvent,
    MessageArrived,
    Reacted,
)

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


def translate(kind: str, data: dict[str, Any], session_id: str) -> list[EngineEvent]:
    """What an event of the page means; nothing when it means nothing to the contract.

    Raises `KeyError`, `TypeError` or `ValueError` on data that is not as our own JavaScript
    makes it.
    """
    if kind == "message":
        message = _message(data, session_id)
        return [] if message is None else [MessageArrived(message)]
    if kind == "ack":
        return _acks(data)
    if kind == "reaction":
        key = data["key"]
        return [Reacted(key["id"], key["chat"], data["from"] or key["chat"], str(data["emoji"]))]
    if kind == "edit":
        return [Edited(data["key"]["id"], data["key"]["chat"], str(data["text"]))]
    if kind == "revoke":
        return [Deleted(data["key"]["id"], data["key"]["chat"])]
    return []


def _message(data: dict[str, Any], session_id: str) -> ChatMessage | None:
    key, raw_type = data["key"], str(data["type"])
    if raw_type in _NO_MESSAGE or key["chat"] == "status@broadcast":
        return None
    from_me = bool(key["fromMe"])
    t = float(data["t"])
    media = data.get("media")
    return ChatMessage(
        message_id=key["id"],
        session_id=session_id,
        direction=MessageDirection.OUTBOUND if from_me else MessageDirection.INBOUND,
        kind=KINDS.get(raw_type, MessageKind.OTHER),
        # What another device of the account sent is with WhatsApp already.
        state=MessageState.SENT if from_me else MessageState.RECEIVED,
        chat_id=key["chat"],
        created_at=t / 1000 if t > _SECONDS_ABOVE else t,
        # In a group the chat is not who wrote it.
        from_id=key.get("participant") or data.get("from"),
        text=data.get("text"),
        media=None
        if media is None
        else InboundMedia(
            mimetype=media["mimetype"], size_bytes=media["size"], filename=media["filename"]
        ),
        reply_to=data.get("quoted"),
        ack=Ack.from_level(int(data["ack"])) if from_me else Ack.PENDING,
    )


def _acks(data: dict[str, Any]) -> list[EngineEvent]:
    level = int(data["ack"])
    if level < Ack.SENT.level:
        return []
    return [
        AckChanged(key["id"], key["chat"], Ack.from_level(level))
        for key in data["keys"]
        if key["fromMe"]
    ]
