"""Ordered and durable reading on a real server."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing

import msgspec
import pytest

from cli.embedded.server import EmbeddedNats
from schemas.errors import BlazzError, ErrorCode
from schemas.resources import EVENTS, OUTBOX
from schemas.subjects import EVENTS_ALL, outbox_lane, outbox_shard
from schemas.transport import typed
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.durable import DurableSpec, InHand, Work, consume
from schemas.transport.jetstream import JetStream, StoredMessage
from schemas.transport.streams import Gap, read_last_per_subject, read_ordered, read_stored
from tests.waiting import eventually

pytestmark = pytest.mark.nats


class Item(msgspec.Struct, frozen=True):
    n: int


async def publish(bus: Bus, n: int, subject: str = "blazz.event.n.t.s.x") -> int:
    return await typed.publish_durable(bus, subject, Item(n), f"{subject}-{n}")


async def take(count: int, bus: Bus, **options: int) -> list[StoredMessage | Gap]:
    taken: list[StoredMessage | Gap] = []
    async with aclosing(read_ordered(JetStream(bus), EVENTS, EVENTS_ALL, **options)) as messages:  # type: ignore[arg-type]
        async for message in messages:
            taken.append(message)
            if len(taken) == count:
                break
    return taken


async def test_a_repeat_with_the_same_id_is_stored_once(bus: Bus) -> None:
    assert await publish(bus, 1) == await publish(bus, 1)
    assert (await JetStream(bus).stream_info(EVENTS)).state.messages == 1


async def test_reading_starts_where_asked(bus: Bus) -> None:
    for n in range(1, 6):
        await publish(bus, n)
    assert [m.seq for m in await take(2, bus, start_seq=4) if isinstance(m, StoredMessage)] == [
        4,
        5,
    ]
    new = asyncio.create_task(take(1, bus))
    await asyncio.sleep(0)

    def published_and_read() -> bool | Awaitable[bool]:
        return publish_and_done(bus, new)

    await eventually(published_and_read, timeout_s=5.0)
    (message,) = new.result()
    assert isinstance(message, StoredMessage)
    assert message.seq > 5


async def publish_and_done(bus: Bus, reader: "asyncio.Task[list[StoredMessage | Gap]]") -> bool:
    await publish(bus, 100 + (await JetStream(bus).stream_info(EVENTS)).state.last_seq)
    return reader.done()


async def test_pruned_messages_come_out_as_a_gap(bus: Bus) -> None:
    for n in range(1, 9):
        await publish(bus, n)
    jetstream = JetStream(bus)
    await jetstream.api(f"STREAM.PURGE.{EVENTS}", {"seq": 6}, dict)
    gap, first = await take(2, bus, start_seq=3)
    assert gap == Gap(3, 5)
    assert isinstance(first, StoredMessage)
    assert first.seq == 6
    (shorter,) = await take(1, bus, start_seq=50)
    assert shorter == Gap(50, 8), "the stream is shorter than what was read before"


async def test_ordered_reading_neither_loses_nor_repeats_over_a_crash(
    nats: EmbeddedNats, bus: Bus
) -> None:
    seen: list[int] = []

    async def read() -> None:
        async with aclosing(
            read_ordered(JetStream(bus), EVENTS, EVENTS_ALL, start_seq=1)
        ) as messages:
            async for message in messages:
                assert isinstance(message, StoredMessage)
                seen.append(message.seq)

    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(read())
        for n in range(600):  # more than one pull
            await publish(bus, n)
        await eventually(lambda: len(seen) == 600)
        os.kill(nats.pid, signal.SIGKILL)
        await eventually(lambda: nats.restarts == 1 and bus.connected, timeout_s=5.0)
        for n in range(600, 700):
            await publish(bus, n)
        await eventually(lambda: len(seen) >= 700, timeout_s=10.0)
        reader.cancel()
    assert seen == list(range(1, 701))


async def test_lanes_are_listed_read_at_the_head_and_shortened(bus: Bus) -> None:
    jetstream = JetStream(bus)
    for n in range(3):
        for session in ("a", "b"):
            await publish(bus, n, outbox_lane(1, "t", session))
    heads = [
        message
        async for message in read_last_per_subject(
            jetstream, OUTBOX, outbox_shard(1), headers_only=True
        )
    ]
    assert sorted(message.subject[-1] for message in heads) == ["a", "b"]
    assert all(message.data == b"" for message in heads)
    lane = outbox_lane(1, "t", "a")
    head = await jetstream.next_by_subject(OUTBOX, lane)
    assert head is not None
    assert typed.decode(head.data, Item) == Item(0)
    assert await jetstream.delete_message(OUTBOX, head.seq)
    assert not await jetstream.delete_message(OUTBOX, head.seq)
    head = await jetstream.next_by_subject(OUTBOX, lane)
    assert head is not None
    assert typed.decode(head.data, Item) == Item(1)
    assert await jetstream.next_by_subject(OUTBOX, outbox_lane(1, "t", "none")) is None


async def test_a_durable_keeps_its_place_and_brings_back_what_was_not_done(
    nats: EmbeddedNats, bus: Bus
) -> None:
    for n in range(4):
        await publish(bus, n)
    spec = DurableSpec(name="hook", subject=EVENTS_ALL, ack_wait_s=1.0)
    async with aclosing(consume(bus, EVENTS, spec)) as works:
        first, second, third = await anext(works), await anext(works), await anext(works)
        assert [first.value(Item).n, second.value(Item).n, third.value(Item).n] == [0, 1, 2]
        await first.ack()
        await second.give_up()
        await third.again(0.0)
        fourth, third_again = await anext(works), await anext(works)
        assert {fourth.value(Item).n, third_again.value(Item).n} == {2, 3}
        assert {fourth.attempt, third_again.attempt} == {1, 2}
    os.kill(nats.pid, signal.SIGKILL)
    left = set()
    async with aclosing(consume(bus, EVENTS, spec)) as works:
        async for work in works:
            left.add(work.value(Item).n)
            await work.ack()
            if {2, 3} <= left:
                break


async def test_a_reader_that_the_pruning_overtakes_is_told(bus: Bus) -> None:
    for n in range(900):
        await bus.publish("blazz.event.n.t.s.x", msgspec.json.encode(Item(n)))
    jetstream = JetStream(bus)

    async def all_there() -> bool:
        return (await jetstream.stream_info(EVENTS)).state.last_seq == 900

    await eventually(all_there)
    seen: list[int] = []
    gaps: list[Gap] = []
    async with aclosing(read_ordered(jetstream, EVENTS, EVENTS_ALL, start_seq=1)) as messages:
        async for item in messages:
            if isinstance(item, Gap):
                gaps.append(item)
                continue
            seen.append(item.seq)
            if item.seq == 1:
                await jetstream.api(f"STREAM.PURGE.{EVENTS}", {"seq": 601}, dict[str, object])
            if item.seq == 900:
                break
    assert gaps, "what was pruned before it was read is a gap"
    told = {seq for gap in gaps for seq in range(gap.from_seq, gap.to_seq + 1)}
    assert set(range(1, 901)) <= told | set(seen)


async def _next(works: AsyncGenerator[Work, None]) -> Work:
    return await anext(works)


async def test_what_is_in_hand_stays_ours_while_we_live_and_comes_again_soon_after(
    bus: Bus,
) -> None:
    await publish(bus, 7)
    spec = DurableSpec(name="hook", subject=EVENTS_ALL, ack_wait_s=0.6)
    in_hand = InHand(spec)
    async with aclosing(consume(bus, EVENTS, spec)) as works:
        async with Background() as tasks:
            renewals = tasks.start(in_hand.run(), name="renewal")
            in_hand.take(await anext(works))
            again = tasks.start(_next(works), name="next")
            done, _ = await asyncio.wait({again}, timeout=1.8)
            assert not done, "given to somebody else while it was being worked on"
            renewals.cancel()
            work = await asyncio.wait_for(again, 3.0)
        assert (work.value(Item).n, work.attempt) == (7, 2)
        await work.ack()


async def test_a_listing_ends_although_what_it_counted_is_removed_meanwhile(bus: Bus) -> None:
    jetstream = JetStream(bus)
    subject = outbox_shard(0)
    assert [m async for m in read_stored(jetstream, OUTBOX, subject)] == []
    for n in range(300):
        await bus.publish(outbox_lane(0, "acme", f"lane-{n}"), b"%d" % n)
    await eventually(lambda: _messages(jetstream, 300))
    listed = [m.data async for m in read_stored(jetstream, OUTBOX, subject)]
    assert listed == [b"%d" % n for n in range(300)]
    async with aclosing(read_stored(jetstream, OUTBOX, subject)) as messages:
        first = await anext(messages)
        await jetstream.purge(OUTBOX, subject)
        rest = [m async for m in messages]
    assert first.data == b"0"
    assert len(rest) < 300


async def _messages(jetstream: JetStream, count: int) -> bool:
    return (await jetstream.stream_info(OUTBOX)).state.messages == count


async def test_a_missing_stream_is_an_error_not_a_wait(bus: Bus) -> None:
    with pytest.raises(BlazzError) as raised:
        async with aclosing(read_ordered(JetStream(bus), "NOPE", "x")) as messages:
            await anext(messages)
    assert raised.value.code is ErrorCode.NOT_FOUND
