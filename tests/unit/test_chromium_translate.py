"""What the page's events mean."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.chats import CallState, ChatPresence, GroupChange
from schemas.messages import Location, Poll
from schemas.states import Ack, MessageDirection, MessageKind, MessageState
from swarm_node.engines.chromium.bridge.translate import translate
from swarm_node.engines.contract import (
    AckChanged,
    CallSeen,
    Deleted,
    Edited,
    GroupAltered,
    MessageArrived,
    PollVoted,
    PresenceSeen,
    Reacted,
)

HEX = "3EB0AABBCCDDEEFF001122"
BOB, GROUP = "15550002@c.us", "1203@g.us"


def key(**changes: object) -> dict[str, object]:
    return {"id": HEX, "chat": BOB, "fromMe": False, "participant": None, **changes}


def message(**changes: Any) -> dict[str, Any]:
    return {
        "key": key(), "type": "chat", "subtype": None, "from": BOB, "t": 1_790_000_000, "ack": 1,
        "text": "hi", "quoted": None, "local": False, "media": None, **changes,
    }  # fmt: skip


def arrived(**changes: Any) -> MessageArrived:
    (event,) = translate("message", message(**changes), "ses_1")
    assert isinstance(event, MessageArrived)
    return event


def test_a_message_from_a_person() -> None:
    got = arrived(quoted="3EB0AABBCCDDEEFF001199").message
    assert (got.message_id, got.session_id, got.chat_id) == (HEX, "ses_1", BOB)
    assert (got.from_id, got.text, got.kind) == (BOB, "hi", MessageKind.TEXT)
    assert (got.direction, got.state) == (MessageDirection.INBOUND, MessageState.RECEIVED)
    assert (got.created_at, got.ack) == (1_790_000_000.0, Ack.PENDING)
    assert got.reply_to == "3EB0AABBCCDDEEFF001199"


def test_in_a_group_the_writer_is_not_the_chat() -> None:
    got = arrived(key=key(chat=GROUP, participant=BOB), **{"from": GROUP}).message
    assert (got.chat_id, got.from_id) == (GROUP, BOB)


def test_what_another_device_of_the_account_sent() -> None:
    got = arrived(key=key(fromMe=True), ack=2).message
    assert (got.direction, got.state) == (MessageDirection.OUTBOUND, MessageState.SENT)
    assert got.ack is Ack.DELIVERED


def test_times_in_milliseconds_become_seconds() -> None:
    assert arrived(t=1_790_000_000_500).message.created_at == 1_790_000_000.5


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("image", MessageKind.IMAGE), ("video", MessageKind.VIDEO), ("gif", MessageKind.VIDEO),
        ("ptt", MessageKind.VOICE), ("audio", MessageKind.AUDIO), ("sticker", MessageKind.STICKER),
        ("document", MessageKind.DOCUMENT), ("location", MessageKind.LOCATION),
        ("vcard", MessageKind.CONTACT), ("poll_creation", MessageKind.POLL),
        ("something_new", MessageKind.OTHER),
    ],
)  # fmt: skip
def test_kinds(raw: str, kind: MessageKind) -> None:
    assert arrived(type=raw, text=None).message.kind is kind


def test_media_is_described() -> None:
    media = {"mimetype": "application/pdf", "size": 12, "filename": "a.pdf"}
    got = arrived(type="document", text=None, media=media).message.media
    assert got is not None
    assert (got.mimetype, got.size_bytes, got.filename) == ("application/pdf", 12, "a.pdf")


@pytest.mark.parametrize("raw", ["protocol", "ciphertext", "e2e_notification", "revoked"])
def test_what_nobody_wrote_is_no_message(raw: str) -> None:
    assert translate("message", message(type=raw), "ses_1") == []


def test_a_status_is_no_message() -> None:
    assert translate("message", message(key=key(chat="status@broadcast")), "ses_1") == []


def test_acks_are_for_own_messages_and_start_at_sent() -> None:
    keys = [key(fromMe=True), key(fromMe=True, id="3EB0FFFFFFFFFFFFFFFFFF"), key()]
    assert translate("ack", {"ack": 3, "keys": keys}, "ses_1") == [
        AckChanged(HEX, BOB, Ack.READ),
        AckChanged("3EB0FFFFFFFFFFFFFFFFFF", BOB, Ack.READ),
    ]
    for level in (0, -1):
        assert translate("ack", {"ack": level, "keys": keys}, "ses_1") == []


def test_reactions_edits_and_deletes() -> None:
    reaction = {"key": key(), "from": BOB, "emoji": ""}
    assert translate("reaction", reaction, "s") == [Reacted(HEX, BOB, BOB, "")]
    assert translate("edit", {"key": key(), "text": "new"}, "s") == [Edited(HEX, BOB, "new")]
    at = {"at": 1_790_000_000_500}
    assert translate("edit", {"key": key(), "text": "new", **at}, "s") == [
        Edited(HEX, BOB, "new", 1_790_000_000.5)
    ]
    assert translate("revoke", {"key": key()}, "s") == [Deleted(HEX, BOB)]


def test_votes_presence_and_members() -> None:
    vote = {"key": key(), "from": BOB, "options": ["now"]}
    assert translate("vote", vote, "s") == [PollVoted(HEX, BOB, BOB, ("now",))]
    seen = {"chat": GROUP, "from": BOB, "state": "recording_audio"}
    assert translate("presence", seen, "s") == [PresenceSeen(GROUP, BOB, ChatPresence.RECORDING)]
    assert translate("presence", {**seen, "state": "something_new"}, "s") == []
    members = {"chat": GROUP, "action": "join", "by": BOB, "members": [BOB], "at": None}
    (joined,) = translate("members", members, "s")
    assert isinstance(joined, GroupAltered)
    assert (joined.change, joined.members) == (GroupChange.JOINED, (BOB,))
    assert translate("members", {**members, "action": "something_new"}, "s") == []


@pytest.mark.parametrize(
    ("subtype", "value", "late", "change"),
    [
        ("subject", "Crew", False, (GroupChange.NAME, "Crew")),
        ("announce", "on", False, (GroupChange.ANNOUNCE_ONLY, "on")),
        ("picture", "bytes", False, (GroupChange.PICTURE, None)),
        # An event of its own tells of members, if the page was there for it.
        ("add", None, False, None),
        ("add", None, True, (GroupChange.ADDED, None)),
        ("something_new", None, True, None),
        (None, None, True, None),
    ],
)
def test_lines_in_a_groups_chat(
    subtype: str | None, value: str | None, late: bool, change: tuple[GroupChange, str] | None
) -> None:
    group = {"members": [BOB], "value": value}
    line = message(
        key=key(chat=GROUP, participant=BOB), type="gp2", subtype=subtype, group=group, late=late
    )
    told = translate("message", line, "s")
    found = [(e.change, e.value) for e in told if isinstance(e, GroupAltered)]
    assert found == ([] if change is None else [change])


def test_a_missed_call_is_told_late_and_only_then() -> None:
    line = message(type="call_log", subtype="miss_video", late=True)
    assert translate("message", line, "s") == [
        CallSeen(HEX, BOB, CallState.MISSED, video=True, group_id=None)
    ]
    for changes in ({"late": False}, {"subtype": "answered"}, {"key": key(fromMe=True)}):
        assert translate("message", {**line, **changes}, "s") == []


def test_what_a_message_is_besides_its_text() -> None:
    place = {"latitude": -6.2, "longitude": 106.8, "label": "Shop\n1 Road\n2nd floor"}
    got = arrived(type="location", text=None, location=place, forwarded=True, mentions=[BOB])
    assert got.message.location == Location(-6.2, 106.8, "Shop", "1 Road\n2nd floor")
    assert (got.message.forwarded, got.message.mentions) == (True, (BOB,))
    nowhere = {"latitude": 999, "longitude": 0, "label": None}
    assert arrived(type="location", text=None, location=nowhere).message.location is None
    asked = {"question": "When?", "options": ["now", "later"], "choices": 1}
    assert arrived(type="poll_creation", poll=asked).message.poll == Poll("When?", ("now", "later"))
    endless = {"question": "When?", "options": ["now"], "choices": 1}
    assert arrived(type="poll_creation", poll=endless).message.poll is None


def test_an_unknown_event_means_nothing_and_a_broken_one_raises() -> None:
    assert translate("something", {}, "s") == []
    with pytest.raises(KeyError):
        translate("message", {"type": "chat"}, "s")
