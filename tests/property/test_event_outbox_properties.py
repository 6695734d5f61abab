"""Event ids that follow from facts, and the journal after a crash at any byte."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas.chats import CallState
from schemas.events import (
    Call,
    Event,
    EventData,
    MessageAck,
    MessageDeleted,
    MessageEdited,
    MessageReaction,
    MessageReceived,
    MessageSent,
    SessionSync,
)
from schemas.facts import fact_born_at, fact_event_id
from schemas.ids import EventId
from schemas.messages import ChatMessage
from schemas.states import Ack, MessageDirection, MessageKind, MessageState
from swarm_node.core.told import SLACK_S, WINDOW_S, window_covers
from swarm_node.outbox.entry import Entry
from swarm_node.outbox.journal import EventJournal

SESSIONS = st.sampled_from([f"ses_{number:026d}" for number in range(3)])
IDS = st.sampled_from(["3EB0AABBCCDDEEFF001122", "3EB0AABBCCDDEEFF001123"])
CHATS = st.sampled_from(["1@c.us", "2@c.us", "1@lid"])
TIMES = st.sampled_from([1_790_000_000.0, 1_790_000_000.5, 1_790_000_001.0])
TEXTS = st.sampled_from(["", "a", "b", "👍"])


@st.composite
def received(draw: st.DrawFn) -> MessageReceived:
    return MessageReceived(
        ChatMessage(
            message_id=draw(IDS),
            session_id="",
            direction=MessageDirection.INBOUND,
            kind=MessageKind.TEXT,
            state=MessageState.RECEIVED,
            chat_id=draw(CHATS),
            created_at=draw(TIMES),
            text=draw(TEXTS),
        )
    )


FACTS: st.SearchStrategy[EventData] = st.one_of(
    received(),
    st.builds(MessageAck, IDS, CHATS, st.sampled_from(Ack)),
    st.builds(MessageSent, IDS, CHATS),
    st.builds(MessageReaction, IDS, CHATS, CHATS, TEXTS, reacted_at=TIMES),
    st.builds(MessageEdited, IDS, CHATS, TEXTS, edited_at=TIMES),
    st.builds(MessageDeleted, IDS, CHATS),
    st.builds(Call, IDS, CHATS, st.sampled_from(CallState)),
)


def identity(session: str, data: EventData) -> tuple[object, ...]:
    """What makes two reports one fact, said the other way round: what is left out of each."""
    match data:
        case MessageReceived(message=message):
            return (session, "received", message.chat_id, message.message_id)
        case MessageAck():
            return (session, "ack", data.message_id, data.ack)
        case MessageSent():
            return (session, "sent", data.message_id)
        case Call():
            return (session, "call", data.call_id, data.state)
        case _:
            return (session, type(data).__name__, *msgspec.structs.astuple(data))


@given(SESSIONS, FACTS, SESSIONS, FACTS)
def test_equal_facts_and_only_those_have_one_id(
    one_session: str, one: EventData, other_session: str, other: EventData
) -> None:
    left, right = fact_event_id(one_session, one), fact_event_id(other_session, other)
    assert left is not None
    assert msgspec.convert(left, EventId) == left
    same = identity(one_session, one) == identity(other_session, other)
    assert (left == right) is same


@given(FACTS, TIMES)
def test_nothing_is_older_than_it_says(data: EventData, at: float) -> None:
    assert 0.0 <= fact_born_at(data, at) <= at
    assert fact_born_at(SessionSync(1), at) == at
    assert fact_event_id("ses_x", SessionSync(1)) is None
    assert fact_event_id("ses_x", MessageReaction("3EB0AABBCC", "1@c.us", "1@c.us", "a")) is None


@given(
    published=st.floats(0, 2000), born_at=st.floats(0, 2000), asked_at=st.floats(0, 2000),
    now=st.floats(0, 2000),
)  # fmt: skip
def test_an_earlier_publication_is_known_or_within_the_window(
    published: float, born_at: float, asked_at: float, now: float
) -> None:
    """Whoever published it: after it was born, before now."""
    if not (born_at <= published <= now and asked_at <= now):
        return
    if window_covers(born_at=born_at, asked_at=asked_at, now=now):
        told_when_asked = published < asked_at
        assert told_when_asked or now - published <= WINDOW_S - SLACK_S


Step = tuple[str, int]
STEPS = st.lists(st.tuples(st.sampled_from(["put", "gone"]), st.integers(0, 9)), max_size=25)


@given(steps=STEPS, cut=st.integers(0, 12_000), junk=st.binary(max_size=20))
def test_a_journal_cut_anywhere_holds_what_was_there_before(
    steps: list[Step], cut: int, junk: bytes
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = EventJournal(folder)
        journal._read()
        file = next(folder.glob("*.log"))
        waiting: dict[int, Entry] = {}
        truths: list[tuple[int, list[str]]] = [(0, [])]
        for act, number in steps:
            if act == "put":
                entry = Entry(_event(len(truths)))
                journal._number([entry])
                journal._write([entry], ())
                waiting[entry.number] = entry
            elif waiting:
                gone = sorted(waiting)[number % len(waiting)]
                journal._write([], (gone,))
                del waiting[gone]
            truths.append((file.stat().st_size, [one.event.event_id for one in waiting.values()]))
        journal._close()
        whole = file.read_bytes()
        file.write_bytes(whole[:cut] + junk)
        kept = [truth for size, truth in truths if size <= min(cut, len(whole))]
        # A line without its break is whole too.
        later = [truth for size, truth in truths if size == min(cut, len(whole)) + 1]
        again = EventJournal(folder)
        found = [entry.event.event_id for entry in again._read()]
        again._close()
        assert found in (kept[-1], *later)
        fresh = Entry(_event(1000))
        again._number([fresh])
        assert fresh.number > max((entry.number for entry in waiting.values()), default=0) or (
            cut < len(whole)
        )


def _event(number: int) -> Event:
    return Event(
        event_id=f"evt_{number:026d}",
        at=1_790_000_000.0,
        tenant_id="acme",
        session_id=f"ses_{0:026d}",
        node_id="n1",
        epoch=1,
        data=SessionSync(number),
    )
