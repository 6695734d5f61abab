"""The node's event outbox: outages, crashes, a full disk, and the weeding out of repeats."""

import asyncio
import errno
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from schemas.commands import Told
from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event, EventData, MessageAck, MessageReceived, SessionSync
from schemas.messages import ChatMessage
from schemas.states import Ack, MessageDirection, MessageKind, MessageState
from swarm_node.journal import Journal
from swarm_node.outbox.journal import EventJournal
from swarm_node.outbox.outbox import EventOutbox, SessionOutbox
from tests.waiting import eventually

SESSION = f"ses_{'0' * 26}"


class Bus:
    """A stream that takes events when it is up, and a control plane that says what was told."""

    def __init__(self) -> None:
        self.up = True
        self.control_plane_up = True
        self.tries = 0
        self.asked = 0
        self.stored: list[Event] = []
        self.told: tuple[str, ...] = ()
        self.erased = False

    async def publish(self, event: Event) -> None:
        self.tries += 1
        if not self.up:
            raise BlazzError(ErrorCode.NATS_UNAVAILABLE)
        self.stored.append(event)

    async def ask(self, _tenant: str, _session: str, after_seq: int) -> Told:
        if not (self.up and self.control_plane_up):
            raise BlazzError(ErrorCode.NATS_UNAVAILABLE)
        self.asked += 1
        return Told(seq=after_seq + len(self.told) + 1, event_ids=self.told, erased=self.erased)

    @property
    def data(self) -> list[EventData]:
        return [event.data for event in self.stored]


@asynccontextmanager
async def outbox(
    folder: Path,
    bus: Bus,
    *,
    waiting_max: int = 100,
    bytes_max: int = 1_000_000,
    linger_s: float = 0.01,
) -> AsyncIterator[SessionOutbox]:
    """A node's outbox, and one session's way into it."""
    journal = EventJournal(folder, bytes_max=bytes_max, linger_s=linger_s)
    made = EventOutbox("n1", journal, publish=bus.publish, ask=bus.ask)
    async with made.running():
        yield made.of(tenant_id="acme", session_id=SESSION, epoch=4, waiting_max=waiting_max)


def ack(number: int, level: Ack = Ack.READ) -> MessageAck:
    return MessageAck(message_id=f"3EB0{number:018X}", chat_id="1@c.us", ack=level)


def arrival(number: int, created_at: float) -> MessageReceived:
    return MessageReceived(
        ChatMessage(
            message_id=f"3A{number:018X}",
            session_id=SESSION,
            direction=MessageDirection.INBOUND,
            kind=MessageKind.TEXT,
            state=MessageState.RECEIVED,
            chat_id="1@c.us",
            created_at=created_at,
        )
    )


async def test_an_outage_holds_events_back_and_loses_none(tmp_path: Path) -> None:
    bus = Bus()
    bus.up = False
    async with outbox(tmp_path, bus, waiting_max=3) as box:
        for percent in range(3):
            await box.put(SessionSync(percent))
        assert box.full
        waiting = asyncio.ensure_future(box.put(SessionSync(3)))
        await eventually(lambda: bus.tries >= 2)
        assert not waiting.done()
        box.put_now(SessionSync(99))  # a state's event may pass the bound
        bus.up = True
        await waiting
        await box.drain(5)
    assert bus.data == [SessionSync(percent) for percent in (0, 1, 2, 99, 3)]
    assert len({event.event_id for event in bus.stored}) == 5
    assert {event.epoch for event in bus.stored} == {4}


async def test_what_waits_is_published_by_the_next_process(tmp_path: Path) -> None:
    bus = Bus()
    bus.up = False
    async with outbox(tmp_path / "a", bus) as box:
        for number in range(5):
            await box.put(ack(number))
        # As after `kill -9`: the files as they are now, before anything is closed.
        (tmp_path / "b").mkdir()
        for file in (tmp_path / "a").iterdir():
            (tmp_path / "b" / file.name).write_bytes(file.read_bytes())
    bus.up = True
    async with outbox(tmp_path / "b", bus) as box:
        await box.put(ack(9))
        await box.drain(5)
    assert bus.data == [ack(number) for number in (0, 1, 2, 3, 4, 9)]
    async with outbox(tmp_path / "b", bus) as box:
        await box.drain(5)
    assert len(bus.stored) == 6


async def test_states_that_wait_at_the_end_are_kept_too(tmp_path: Path) -> None:
    bus = Bus()
    bus.up = False
    async with outbox(tmp_path, bus) as box:
        box.put_now(SessionSync(7))
    bus.up = True
    async with outbox(tmp_path, bus) as box:
        await box.drain(5)
    assert bus.data == [SessionSync(7)]


async def test_the_same_fact_goes_out_once(tmp_path: Path) -> None:
    bus = Bus()
    async with outbox(tmp_path, bus) as box:
        for _ in range(3):
            await box.put(ack(1))
        await box.put(ack(1, Ack.PLAYED))
    assert bus.data == [ack(1), ack(1, Ack.PLAYED)]


async def test_what_another_node_told_long_ago_is_not_told_again(tmp_path: Path) -> None:
    old, fresh = arrival(1, time.time() - 3600), arrival(2, time.time())
    elsewhere = Bus()
    async with outbox(tmp_path / "other", elsewhere) as box:
        await box.put(old)
    bus = Bus()
    bus.told = (elsewhere.stored[0].event_id,)
    async with outbox(tmp_path / "mine", bus) as box:
        await box.put(fresh)
        assert bus.asked == 0, "the stream's own window reaches back far enough"
        await box.put(old)
        await box.put(arrival(3, time.time() - 3600))
        await box.drain(5)
    assert bus.asked == 1
    assert [event.data for event in bus.stored] == [fresh, arrival(3, bus_time(bus, 1))]


async def test_without_a_control_plane_only_what_may_be_a_repeat_waits(tmp_path: Path) -> None:
    bus = Bus()
    bus.control_plane_up = False
    fresh = arrival(1, time.time())
    async with outbox(tmp_path, bus) as box:
        await box.put(fresh)
        await box.put(ack(1))  # returns: it is on the disk
        assert bus.data == [fresh]
        bus.control_plane_up = True
        await box.drain(5)
    assert bus.data == [fresh, ack(1)]


def bus_time(bus: Bus, index: int) -> float:
    data = bus.data[index]
    assert isinstance(data, MessageReceived)
    return data.message.created_at


async def test_with_a_full_disk_an_event_is_safe_when_the_stream_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = Bus()
    bus.up = False

    def refuse(_self: Journal, *_changes: bytes) -> None:
        raise OSError(errno.ENOSPC, "no space")

    async with outbox(tmp_path, bus) as box:
        monkeypatch.setattr(Journal, "append", refuse)
        waiting = asyncio.ensure_future(box.put(ack(1)))
        await asyncio.sleep(0.1)
        assert not waiting.done(), "neither disk nor stream has it"
        bus.up = True
        await waiting
    assert bus.data == [ack(1)]


async def test_the_journal_is_bounded(tmp_path: Path) -> None:
    bus = Bus()
    bus.up = False
    async with outbox(tmp_path, bus, bytes_max=700) as box:
        await box.put(ack(1))
        waiting = asyncio.ensure_future(box.put(ack(2)))
        third = asyncio.ensure_future(box.put(ack(3)))
        fourth = asyncio.ensure_future(box.put(ack(4)))
        await asyncio.sleep(0.1)
        assert not fourth.done()
        bus.up = True
        await asyncio.gather(waiting, third, fourth)
        await box.drain(5)
    assert bus.data == [ack(number) for number in (1, 2, 3, 4)]


async def test_the_file_does_not_grow_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarm_node.outbox.journal._REWRITE_BYTES", 2000)
    bus = Bus()
    async with outbox(tmp_path, bus) as box:
        for number in range(12):
            bus.up = False
            await box.put(ack(number))
            bus.up = True
            await box.drain(5)
    left = await asyncio.to_thread(lambda: [file.stat().st_size for file in tmp_path.iterdir()])
    assert sum(left) < 3500, "twelve of 300 bytes were written"
    assert len(bus.stored) == 12


async def test_nothing_is_told_of_a_tenant_that_was_erased_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = Bus()
    monkeypatch.setattr("swarm_node.core.told.PROMPT_S", 0.1)
    async with outbox(tmp_path, bus) as events:
        now = time.time()
        await events.put(arrival(1, now))
        assert (len(bus.stored), bus.asked) == (1, 0), "what goes at once needs no question"
        bus.up = False
        for number in (2, 3):
            await events.put(arrival(number, now))
        bus.erased = True
        await asyncio.sleep(0.2)
    assert len(bus.stored) == 1
    bus.up = True
    async with outbox(tmp_path, bus) as events:
        await events.drain(5.0)
        assert (len(bus.stored), bus.asked) == (1, 1)
    async with EventJournal(tmp_path).open() as left:
        assert left == [], "and nothing of it is kept"


async def test_what_comes_together_waits_once(tmp_path: Path) -> None:
    bus = Bus()
    bus.up = False
    async with outbox(tmp_path, bus, linger_s=0.1) as session:
        async with asyncio.timeout(1.0):  # one after the other it would be 4 s
            await session.put(*(SessionSync(percent) for percent in range(40)))
        bus.up = True
        await eventually(lambda: bus.data == [SessionSync(percent) for percent in range(40)])
