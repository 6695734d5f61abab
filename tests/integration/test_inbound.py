"""What comes in: nothing lost in a crash or an outage, nothing told twice, whoever tells it."""

# ruff: noqa: F811 - fixtures are imported and named again as arguments

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from bench.bus_proxy import BusProxy
from cli import settings_file
from cli.processes import Child, ChildSpec, blazz_argv, spawn
from control_plane.feed.told import serve_told
from schemas import commands as c
from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event, MessageAck, MessageDeleted, MessageReceived
from schemas.facts import fact_event_id
from schemas.resources import EVENTS
from schemas.states import Ack, SessionState
from schemas.subjects import event, node_told
from schemas.transport import typed
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from swarm_node.config import NodeSettings
from tests.integration.node_fixture import (  # noqa: F401
    NODE,
    OTHER_NODE,
    TENANT,
    World,
    bus,
    nats,
    new_session_id,
    world,
)
from tests.waiting import eventually

pytestmark = [pytest.mark.nats]


def received(world: World) -> list[str]:
    return [data.message.message_id for data in world.data(MessageReceived)]


def once_each(world: World) -> None:
    counts = Counter(event.event_id for event in world.events)
    assert [one for one, count in counts.items() if count > 1] == []


@asynccontextmanager
async def node_process(world: World, settings: NodeSettings) -> AsyncIterator[Child]:
    """A node as a process of its own; killed at the end."""
    folder = world.folder / "run"
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    config = folder / "node.json"
    settings_file.write(config, settings)
    child = await spawn(ChildSpec("node", blazz_argv("node", "--config", str(config)), folder))
    try:
        await child.wait_ready()
        yield child
    finally:
        await child.kill()


async def test_a_killed_node_tells_what_it_had_not_told_yet(world: World) -> None:
    session = new_session_id()
    mine, theirs = await world.phone("15550001"), await world.phone("15550002")
    settings = await world.settings()
    async with BusProxy() as proxy:
        proxy.target = world.nats.url
        behind = msgspec.structs.replace(
            settings, bus=msgspec.structs.replace(settings.bus, servers=(proxy.url,))
        )
        async with node_process(world, behind) as node:
            await world.online(session, mine)
            before = [await theirs.send_text(mine.wid, f"before {n}") for n in range(3)]
            await eventually(lambda: received(world) == before)
            await proxy.cut()
            during = [await theirs.send_text(mine.wid, f"bus away {n}") for n in range(12)]
            # The switch has forgotten them all: nobody has them but this node.
            await eventually(lambda: _nothing_queued(world), timeout_s=10)
            await node.kill()
    assert received(world) == before
    # The session is not started again: what it saw is told all the same.
    async with world.node():
        await eventually(lambda: len(received(world)) >= len(before + during), timeout_s=10)
        assert received(world) == before + during
    once_each(world)


def _nothing_queued(world: World) -> bool:
    return all(not device.queue for device in world.sandbox.switch.devices.of("15550001"))


@pytest.mark.parametrize("long_ago", [False, True], ids=["within the window", "long after it"])
async def test_what_two_nodes_report_is_told_once(
    world: World, monkeypatch: pytest.MonkeyPatch, long_ago: bool
) -> None:
    """The first node dies with its events told but not confirmed; the second sees them again."""
    if long_ago:
        # The stream drops no repeat any more, and the node knows that it doesn't.
        await _narrow_window(world.bus)
        monkeypatch.setattr("swarm_node.core.told.WINDOW_S", 0.0)
        monkeypatch.setattr("swarm_node.core.told.SLACK_S", 0.0)
    session, key = new_session_id(), "3EB0" + "A1" * 9
    mine, theirs = await world.phone("15550001"), await world.phone("15550002")
    # A switch that does not hear `stored` gives everything to the next client once more.
    monkeypatch.setattr(world.sandbox.switch.exchange, "stored", lambda *_: None)
    async with world.node():
        await world.online(session, mine)
        sent = [await theirs.send_text(mine.wid, f"hello {n}") for n in range(5)]
        await world.send(session, theirs.wid, "an answer", key=key)
        await theirs.read(mine.wid, key)
        await theirs.react(mine.wid, sent[0], "👍")
        await theirs.edit(mine.wid, sent[1], "hello again")
        await theirs.delete(mine.wid, sent[2])
        await world.sees(MessageDeleted)
        await world.sees(MessageAck, lambda ack: ack.ack is Ack.READ)
        await eventually(lambda: received(world) == sent)
        await world.stop(session)
    profile, copy = (world.folder / one / "profiles" / session for one in (NODE, OTHER_NODE))
    await asyncio.to_thread(shutil.copytree, profile, copy)
    await asyncio.sleep(0.2 if long_ago else 0)
    told = _facts(world)
    async with world.node(OTHER_NODE):
        await world.start(session, epoch=2, node_id=OTHER_NODE)
        await world.reaches(session, SessionState.ONLINE, node_id=OTHER_NODE)
        more = await theirs.send_text(mine.wid, "and now")
        await eventually(lambda: received(world) == [*sent, more])
    assert _facts(world) == told + 1
    once_each(world)


def _facts(world: World) -> int:
    return sum(fact_event_id(one.session_id, one.data) is not None for one in world.events)


async def _narrow_window(bus: Bus) -> None:
    jetstream = JetStream(bus)
    config = (await jetstream.stream_info(EVENTS)).config
    await jetstream.api(
        f"STREAM.UPDATE.{EVENTS}", {**config, "duplicate_window": 100_000_000}, dict[str, Any]
    )


async def test_a_node_is_told_what_others_told(world: World) -> None:
    session = new_session_id()
    first = [await _publish(world.bus, session, NODE, number) for number in range(5)]

    async def ask(node_id: str, after_seq: int, *, said: str | None = None) -> c.Told:
        asked = c.AskTold(said or node_id, TENANT, session, after_seq)
        return await typed.request(world.bus, node_told(node_id), asked, c.Told, timeout_s=5)

    everything = await ask(NODE, 0)
    assert (everything.event_ids, everything.more) == (tuple(first), False)
    assert (await ask(NODE, everything.seq)).event_ids == ()
    own = await _publish(world.bus, session, NODE, 5)
    assert (await ask(NODE, everything.seq)).event_ids == (), "its own it remembers"
    assert (await ask(OTHER_NODE, everything.seq)).event_ids == (own,)
    theirs = await _publish(world.bus, session, OTHER_NODE, 6)
    assert (await ask(NODE, everything.seq)).event_ids == (own, theirs)
    with pytest.raises(BlazzError) as refused:
        await ask(NODE, 0, said=OTHER_NODE)
    assert refused.value.code is ErrorCode.FORBIDDEN


async def test_what_was_told_comes_in_pages(bus: Bus) -> None:
    session = new_session_id()
    ids = [await _publish(bus, session, NODE, number) for number in range(7)]
    found: list[str] = []
    async with serve_told(bus, page_max=3):
        after_seq, more = 0, True
        while more:
            asked = c.AskTold(OTHER_NODE, TENANT, session, after_seq)
            answer = await typed.request(bus, node_told(OTHER_NODE), asked, c.Told, timeout_s=5)
            assert len(answer.event_ids) <= 3
            found += answer.event_ids
            after_seq, more = answer.seq, answer.more
    assert found == ids


async def _publish(bus: Bus, session: str, node_id: str, number: int) -> str:
    data = MessageAck(f"3EB0{number:018X}", "1@c.us", Ack.READ)
    fact = fact_event_id(session, data)
    assert fact is not None
    told = Event(fact, time.time(), TENANT, session, node_id, 1, data)
    await typed.publish_durable(bus, event(node_id, TENANT, session, data), told, fact)
    return fact
