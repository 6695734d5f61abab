"""The queue between an engine and its reader: ordered, bounded, and it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from swarm_node.engines.chromium.event_queue import EventQueue
from swarm_node.engines.contract import EngineEvent, SyncProgress
from tests.waiting import eventually


async def test_the_writer_waits_for_the_reader_and_nothing_is_lost() -> None:
    queue = EventQueue(2)
    put: list[int] = []

    async def write() -> None:
        for percent in range(10):
            assert await queue.put(SyncProgress(percent))
            put.append(percent)
        await queue.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        await eventually(lambda: len(put) == 2)
        read = [event async for some in queue.read() for event in some]
    assert read == [SyncProgress(percent) for percent in range(10)]


async def test_closing_frees_a_waiting_writer_and_lets_the_rest_be_read() -> None:
    queue = EventQueue(1)
    await queue.put(SyncProgress(1))
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(queue.put(SyncProgress(2)))
        await asyncio.sleep(0)
        await queue.close()
    assert waiting.result() is False
    rest = [some async for some in queue.read()]
    assert rest == [(SyncProgress(1),)]
    assert not await queue.put(SyncProgress(3))


async def test_events_are_settled_when_the_reader_asks_for_more() -> None:
    queue = EventQueue(5)
    await queue.put(SyncProgress(0))
    await queue.put(SyncProgress(1))
    events = queue.read()
    assert await anext(events) == (SyncProgress(0), SyncProgress(1))
    async with asyncio.TaskGroup() as group:
        settled = group.create_task(queue.settled())
        await asyncio.sleep(0)
        assert not settled.done(), "the reader has it in hand"
        coming = group.create_task(_next(events))
        await eventually(settled.done)
        await queue.put(SyncProgress(2))
        await coming
        unsettled = group.create_task(queue.settled())
        await asyncio.sleep(0)
        await queue.close()
    assert settled.result() is True
    assert unsettled.result() is False


async def _next(events: AsyncIterator[tuple[EngineEvent, ...]]) -> tuple[EngineEvent, ...]:
    return await anext(events)
