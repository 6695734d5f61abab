"""Page events → `EngineEvent`s.

Owns the words of WhatsApp's page and what they mean in the contract; messages are read in
`translate_message.py`. Pure: no page, no clock. Events about the life of the page itself (codes,
login, stream) are read by `watch.py`.
"""

from typing import Any, Final

from schemas.chats import CallState, ChatPresence, GroupChange
from schemas.states import Ack
from swarm_node.engines.chromium.bridge.translate_message import chat_message, unix_s
from swarm_node.engines.contract import (
    AckChanged,
    CallSeen,
    Deleted,
    Edited,
    EngineEvent,
    GroupAltered,
    MessageArrived,
    PollVoted,
    PresenceSeen,
    Reacted,
)

PRESENCES: Final[dict[str, ChatPresence]] = {
    "composing": ChatPresence.TYPING,
    "recording": ChatPresence.RECORDING,
    "recording_audio": ChatPresence.RECORDING,
    "paused": ChatPresence.PAUSED,
    "available": ChatPresence.AVAILABLE,
    "unavailable": ChatPresence.UNAVAILABLE,
}
_MEMBERS: Final[dict[str, GroupChange]] = {
    "add": GroupChange.ADDED,
    "join": GroupChange.JOINED,
    "remove": GroupChange.REMOVED,
    "leave": GroupChange.LEFT,
    "promote": GroupChange.PROMOTED,
    "demote": GroupChange.DEMOTED,
}
_NOTICES: Final[dict[str, GroupChange]] = {
    "create": GroupChange.CREATED,
    "subject": GroupChange.NAME,
    "description": GroupChange.DESCRIPTION,
    "picture": GroupChange.PICTURE,
    "announce": GroupChange.ANNOUNCE_ONLY,
}
"""Subtypes of the lines that WhatsApp writes into a group's chat. Those about members are told by
an event of their own, unless the page was not there for it (`_LATE_NOTICES`)."""
_LATE_NOTICES: Final[dict[str, GroupChange]] = {
    **_NOTICES,
    **_MEMBERS,
    "invite": GroupChange.JOINED,
    "linked_group_join": GroupChange.JOINED,
}
_VALUED: Final = (GroupChange.CREATED, GroupChange.NAME, GroupChange.DESCRIPTION)
_SWITCHES: Final = {"on": "on", "off": "off", "true": "on", "false": "off"}


def translate(kind: str, data: dict[str, Any], session_id: str) -> list[EngineEvent]:
    """What an event of the page means; nothing when it means nothing to the contract.

    Raises `KeyError`, `TypeError` or `ValueError` on data that is not as our own JavaScript
    makes it.
    """
    match kind:
        case "message" if data["type"] == "gp2":
            return _notice(data)
        case "message" if data["type"] == "call_log":
            return _call_log(data)
        case "message":
            message = chat_message(data, session_id)
            return [] if message is None else [MessageArrived(message)]
        case "ack":
            return _acks(data)
        case "members":
            return _members(data)
        case "presence":
            presence = PRESENCES.get(data["state"])
            return [PresenceSeen(data["chat"], data["from"], presence)] if presence else []
        case "call":
            state = CallState(data["state"])
            return [CallSeen(data["id"], data["from"], state, data["video"], data["group"])]
        case _:
            return _about_message(kind, data)


def _about_message(kind: str, data: dict[str, Any]) -> list[EngineEvent]:
    if kind not in {"reaction", "edit", "revoke", "vote"}:
        return []
    message_id, chat_id = data["key"]["id"], data["key"]["chat"]
    at = unix_s(data.get("at"))
    match kind:
        case "reaction":
            from_id = data["from"] or chat_id
            return [Reacted(message_id, chat_id, from_id, str(data["emoji"]), at)]
        case "edit":
            return [Edited(message_id, chat_id, str(data["text"]), at)]
        case "vote":
            options = tuple(map(str, data["options"]))
            return [PollVoted(message_id, chat_id, data["from"] or chat_id, options, at)]
        case _:
            return [Deleted(message_id, chat_id)]


def _acks(data: dict[str, Any]) -> list[EngineEvent]:
    level = int(data["ack"])
    if level < Ack.SENT.level:
        return []
    return [
        AckChanged(key["id"], key["chat"], Ack.from_level(level))
        for key in data["keys"]
        if key["fromMe"]
    ]


def _members(data: dict[str, Any]) -> list[EngineEvent]:
    change = _MEMBERS.get(data["action"])
    if change is None:
        return []
    return [GroupAltered(data["chat"], change, data["by"], tuple(data["members"]))]


def _notice(data: dict[str, Any]) -> list[EngineEvent]:
    notices = _LATE_NOTICES if data["late"] else _NOTICES
    change = notices.get(data["subtype"] or "")
    if change is None:
        return []
    key, group = data["key"], data["group"]
    value = group["value"]
    if change is GroupChange.ANNOUNCE_ONLY:
        value = _SWITCHES.get(str(value).lower())
    elif change not in _VALUED:
        value = None
    by = key["participant"] or data["from"]
    members = tuple(group["members"])
    who = by if by != key["chat"] else None
    return [GroupAltered(key["chat"], change, who, members, value, unix_s(data["t"]))]


def _call_log(data: dict[str, Any]) -> list[EngineEvent]:
    key, subtype = data["key"], data["subtype"] or ""
    # A call that rang while the page was there was told by an event of its own.
    if not data["late"] or key["fromMe"] or not subtype.startswith("miss"):
        return []
    group = key["chat"] if key["participant"] else None
    from_id = key["participant"] or key["chat"]
    return [CallSeen(key["id"], from_id, CallState.MISSED, "video" in subtype, group)]
