"""What may be done to a message, as far as its ledger entry tells."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.core.message_targets import EDIT_WINDOW_S, may_be_same_chat, target_of
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ChatMessage, MessageRef
from schemas.states import MessageDirection, MessageKind, MessageState

NOW = 1_800_000_000.0
FRIEND = "6281@c.us"
GROUP = "120363@g.us"
REACTION, EDIT, DELETE, FORWARD = (
    MessageKind.REACTION,
    MessageKind.EDIT,
    MessageKind.DELETE,
    MessageKind.FORWARD,
)


def sent(**fields: Any) -> ChatMessage:
    values: dict[str, Any] = {
        "message_id": "3EB0AABBCCDD",
        "session_id": "ses_00000000000000000000000001",
        "direction": MessageDirection.OUTBOUND,
        "kind": MessageKind.TEXT,
        "state": MessageState.SENT,
        "chat_id": FRIEND,
        "created_at": NOW - 100,
        "state_at": NOW - 90,
    }
    return ChatMessage(**(values | fields))


def received(**fields: Any) -> ChatMessage:
    values: dict[str, Any] = {
        "direction": MessageDirection.INBOUND,
        "state": MessageState.RECEIVED,
        "from_id": FRIEND,
        "state_at": None,
    }
    return sent(**(values | fields))


@pytest.mark.parametrize(
    ("found", "act", "author"),
    [
        (sent(), EDIT, None),
        (sent(), DELETE, None),
        (sent(chat_id=GROUP, from_id="6289@c.us"), DELETE, None),
        (received(), REACTION, None),
        (received(chat_id=GROUP), REACTION, FRIEND),
        (received(chat_id=GROUP), FORWARD, FRIEND),
        (sent(state=MessageState.UNKNOWN), DELETE, None),
        (sent(state=MessageState.ACCEPTED, created_at=NOW - 9_999, state_at=None), EDIT, None),
        (sent(kind=MessageKind.LOCATION), FORWARD, None),
    ],
)
def test_the_whole_key_comes_from_the_ledger(
    found: ChatMessage, act: MessageKind, author: str | None
) -> None:
    mine = found.direction is MessageDirection.OUTBOUND
    expected = MessageRef(found.message_id, found.chat_id, mine, author)
    assert target_of(found, act, now=NOW) == expected


@pytest.mark.parametrize(
    ("found", "act", "code"),
    [
        (received(), EDIT, ErrorCode.MESSAGE_NOT_CHANGEABLE),
        (received(), DELETE, ErrorCode.MESSAGE_NOT_CHANGEABLE),
        (sent(kind=MessageKind.IMAGE), EDIT, ErrorCode.MESSAGE_NOT_CHANGEABLE),
        (sent(state_at=NOW - EDIT_WINDOW_S - 1), EDIT, ErrorCode.MESSAGE_NOT_CHANGEABLE),
        (sent(state=MessageState.FAILED), REACTION, ErrorCode.MESSAGE_NOT_CHANGEABLE),
        (sent(deleted=True), FORWARD, ErrorCode.MESSAGE_NOT_CHANGEABLE),
        (received(kind=MessageKind.POLL), FORWARD, ErrorCode.MESSAGE_NOT_CHANGEABLE),
        (sent(kind=MessageKind.REACTION), DELETE, ErrorCode.MESSAGE_NOT_FOUND),
        (sent(kind=MessageKind.EDIT), REACTION, ErrorCode.MESSAGE_NOT_FOUND),
    ],
)
def test_what_cannot_work_is_refused_before_it_is_accepted(
    found: ChatMessage, act: MessageKind, code: ErrorCode
) -> None:
    with pytest.raises(BlazzError) as caught:
        target_of(found, act, now=NOW)
    assert caught.value.code is code
    assert caught.value.detail


@pytest.mark.parametrize(
    ("asked", "chat", "same"),
    [
        (FRIEND, FRIEND, True),
        (FRIEND, "99@lid", True),
        ("99@lid", FRIEND, True),
        (FRIEND, "6282@c.us", False),
        ("98@lid", "99@lid", False),
        (FRIEND, GROUP, False),
        (GROUP, "99@lid", False),
    ],
)
def test_a_person_may_be_known_by_number_or_lid(asked: str, chat: str, same: bool) -> None:
    assert may_be_same_chat(asked, chat) is same
