"""The chaos bench's judge: what it must not overlook."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.chaos_faults import Death
from bench.chaos_judge import Verdict, died_with_node, weigh
from bench.chaos_traffic import Accepted, Record
from sandbox.switch.log import Entry, digest
from schemas.errors import ErrorCode
from schemas.events import Event, EventData, MessageReceived, MessageSent, SessionStateChanged
from schemas.messages import ChatMessage
from schemas.states import MessageDirection, MessageKind, MessageState, SessionState

CHAT = "15559990000@c.us"


def accepted(number: int) -> Accepted:
    return Accepted("ses_1", "15550000001", CHAT, f"OUT{number}", digest(f"out {number}"), 1.0, 1)


def at_switch(*numbers: int) -> list[Entry]:
    return [
        Entry(n=n, at_ms=n, kind="message.accepted", body_digest=digest(f"out {number}"))
        for n, number in enumerate(numbers, 1)
    ]


def message(id_: str, state: MessageState, code: str | None = None) -> ChatMessage:
    inbound = id_.startswith("IN")
    return ChatMessage(
        message_id=id_,
        session_id="ses_1",
        direction=MessageDirection.INBOUND if inbound else MessageDirection.OUTBOUND,
        kind=MessageKind.TEXT,
        state=state,
        chat_id=CHAT,
        created_at=1.0,
        error_code=code,
    )


def event(number: int, data: EventData) -> Event:
    return Event(f"evt_{number}", 1.0, "default", "ses_1", "node-a", 1, data)


def sent(*ids: str) -> dict[str, ChatMessage]:
    return {id_: message(id_, MessageState.SENT) for id_ in ids}


def told(*ids: str) -> list[Event]:
    return [event(n, MessageSent(message_id=id_, chat_id=CHAT)) for n, id_ in enumerate(ids)]


def weighed(
    out: int, ledger: dict[str, ChatMessage], events: list[Event], log: list[Entry]
) -> Verdict:
    record = Record(accepted=[accepted(number) for number in range(out)])
    taken = Counter(event.event_id for event in events)
    return weigh(record, ledger, events, taken, log, [], 0.0)


def test_a_good_run_breaks_nothing() -> None:
    verdict = weighed(2, sent("OUT0", "OUT1"), told("OUT0", "OUT1"), at_switch(0, 1))
    assert verdict.broken() == {}
    assert verdict.states == {"sent": 2}


@pytest.mark.parametrize(
    ("ledger", "log", "wrong"),
    [
        (sent("OUT0", "OUT1"), at_switch(0), "lost"),
        (sent("OUT0", "OUT1"), at_switch(0, 1, 0), "duplicates"),
        (sent("OUT0", "OUT1"), at_switch(1, 0), "out of order"),
        (sent("OUT0"), at_switch(0, 1), "not final"),
        (
            {**sent("OUT0"), "OUT1": message("OUT1", MessageState.FAILED, ErrorCode.TIMEOUT)},
            at_switch(0, 1),
            "failed, but sent",
        ),
        (
            {**sent("OUT0"), "OUT1": message("OUT1", MessageState.UNKNOWN)},
            at_switch(0),
            "without a reason",
        ),
    ],
)
def test_what_is_wrong_with_messages_out_is_seen(
    ledger: dict[str, ChatMessage], log: list[Entry], wrong: str
) -> None:
    assert wrong in weighed(2, ledger, told("OUT0", "OUT1"), log).broken()


@pytest.mark.parametrize("events", [[], told("OUT0", "OUT0")])
def test_a_message_that_was_sent_is_told_once(events: list[Event]) -> None:
    assert "message.sent not once" in weighed(1, sent("OUT0"), events, at_switch(0)).broken()


def test_an_inbound_message_is_told_under_one_event_id() -> None:
    record = Record(inbound={"IN0": "ses_1", "IN1": "ses_1", "IN2": "ses_1"})
    ledger = {id_: message(id_, MessageState.RECEIVED) for id_ in ("IN0", "IN1")}
    first, second = ledger["IN0"], ledger["IN1"]
    events = [event(n, MessageReceived(m)) for n, m in enumerate((first, first, second, second))]
    events[3] = event(2, MessageReceived(second))  # the same event again is no second one
    verdict = weigh(
        record, ledger, events, Counter({"evt_0": 2, "evt_2": 1, "evt_9": 1}), [], [], 0.0
    )
    assert verdict.broken() == {
        "inbound not in the ledger": 1,
        "inbound without an event": 1,
        "inbound under two event ids": 1,
        "webhook missing": 1,
        "webhook under an id of its own": 1,
    }
    assert (verdict.hooks_missing, verdict.hooks_unknown) == (["evt_1"], ["evt_9"])
    assert verdict.inbound_events_twice == ["IN0"]


def test_an_unknown_is_shown_with_its_cause() -> None:
    unknown = message("OUT0", MessageState.UNKNOWN, ErrorCode.NODE_UNREACHABLE)
    (cause,) = weighed(1, {"OUT0": unknown}, [], []).unknown
    assert (cause["message_id"], cause["code"]) == ("OUT0", ErrorCode.NODE_UNREACHABLE)


def run_on(node: str, epoch: int, at: float) -> Event:
    data = SessionStateChanged(state=SessionState.ONLINE, previous=SessionState.STARTING)
    return Event(f"evt_{node}{epoch}", at, "default", "ses_1", node, epoch, data)


STORED = Entry(n=1, at_ms=10_050, kind="message.stored", id="IN0")
MOVED = [run_on("node-a", 1, 5.0), run_on("node-b", 2, 17.0)]


def test_what_a_page_confirmed_as_its_node_was_killed_is_counted_apart() -> None:
    record = Record(inbound={"IN0": "ses_1"})
    excused = died_with_node(record.inbound, MOVED, [STORED], [Death("node-a", 10.0)])
    assert excused == {"IN0"}
    verdict = weigh(record, {}, MOVED, Counter(), [STORED], [], 0.0, excused)
    assert (verdict.broken(), verdict.died_with_node) == ({}, ["IN0"])


@pytest.mark.parametrize(
    ("events", "log", "death"),
    [
        pytest.param(MOVED, [STORED], Death("node-b", 10.0), id="another node died"),
        pytest.param(MOVED, [STORED], Death("node-a", 11.0), id="confirmed long before"),
        pytest.param(MOVED, [STORED], Death("node-a", 9.0), id="confirmed long after"),
        pytest.param(
            MOVED, [STORED], Death("node-a", 8.0, gone_at=9.0), id="confirmed by nothing of it"
        ),
        pytest.param(MOVED, [], Death("node-a", 10.0), id="never confirmed"),
        pytest.param(
            [run_on("node-a", 1, 5.0), run_on("node-a", 2, 12.0), run_on("node-b", 3, 17.0)],
            [STORED],
            Death("node-a", 10.0),
            id="the session came back to its own profile",
        ),
        pytest.param([run_on("node-a", 1, 5.0)], [STORED], Death("node-a", 10.0), id="not moved"),
    ],
)
def test_nothing_else_is_excused(events: list[Event], log: list[Entry], death: Death) -> None:
    assert not died_with_node({"IN0": "ses_1"}, events, log, [death])
