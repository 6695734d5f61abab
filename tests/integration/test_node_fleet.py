"""The node among others, on a real bus: capacity, epochs, its id, its lease, its media, its end."""

# ruff: noqa: F811 - fixtures are imported and named again as arguments

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable
from typing import Any

import aiohttp
import msgspec
import pytest

from schemas import commands as c
from schemas.errors import BlazzError, ErrorCode
from schemas.events import MessageReceived
from schemas.keys import assignment_key, lease_key, node_key
from schemas.messages import MEDIA_CHUNK_BYTES, Media, MediaRef
from schemas.records import Assignment, Heartbeat, LeaseRecord, NodeRecord
from schemas.resources import FLEET
from schemas.states import EngineKind, MessageKind, MessageState, SessionState
from schemas.subjects import ALL_HEARTBEATS, ALL_NODE_MEDIA
from schemas.transport.connection import BusMessage
from schemas.transport.kv import Bucket
from schemas.transport.typed import serve, subscribe
from swarm_node.app import run_node
from tests.integration.node_fixture import (  # noqa: F401
    NODE,
    OTHER_NODE,
    TENANT,
    World,
    bus,
    nats,
    new_message_id,
    new_session_id,
    world,
)
from tests.waiting import eventually

pytestmark = pytest.mark.nats


async def code_of(call: Awaitable[object]) -> ErrorCode:
    with pytest.raises(BlazzError) as raised:
        await call
    return raised.value.code


async def test_a_full_node_says_so_and_a_stop_makes_room(world: World) -> None:
    one, two = new_session_id(), new_session_id()
    async with world.node(sessions_max=1):
        await world.start(one)
        assert await code_of(world.start(two)) is ErrorCode.NODE_AT_CAPACITY
        assert (await world.start(one)).epoch == 1  # again: no second place is taken
        await world.stop(one)
        await world.start(two)
        assert await code_of(world.start(one)) is ErrorCode.NODE_AT_CAPACITY
        restart = c.RestartSession(session_id=one, epoch=1)
        assert await code_of(world.ask("restart", restart)) is ErrorCode.NODE_AT_CAPACITY


async def test_many_at_once_never_get_more_places_than_there_are(world: World) -> None:
    sessions = [new_session_id() for _ in range(12)]
    async with world.node(sessions_max=4):
        answers = await asyncio.gather(
            *(world.start(session) for session in sessions), return_exceptions=True
        )
        pong = await world.ask("ping", c.Ping())
        assert (pong.sessions, pong.sessions_max) == (4, 4)
    refused = [a for a in answers if isinstance(a, BlazzError)]
    assert {a.code for a in refused} == {ErrorCode.NODE_AT_CAPACITY}
    assert len(refused) == 8


async def test_only_the_epoch_held_is_obeyed_and_a_newer_one_replaces_it(world: World) -> None:
    session, phone = new_session_id(), await world.phone()
    async with world.node():
        await world.online(session, phone)
        answer = await world.start(session, epoch=3)
        assert (answer.state, answer.epoch) == (SessionState.STARTING, 3)
        for stale in (1, 2, 4):
            assert await code_of(world.stop(session, epoch=stale)) is ErrorCode.STALE_EPOCH
        assert await code_of(world.start(session, epoch=2)) is ErrorCode.STALE_EPOCH
        seen = await world.reaches(session, SessionState.ONLINE)
        assert seen.epoch == 3


async def test_a_session_that_is_not_here_is_not_found_but_can_be_destroyed(world: World) -> None:
    session, phone = new_session_id(), await world.phone()
    profile = world.folder / NODE / "profiles" / session
    async with world.node():
        assert await code_of(world.stop(session)) is ErrorCode.SESSION_NOT_FOUND
        await world.online(session, phone)
        assert profile.is_dir()
    async with world.node():
        destroy = c.DestroySession(session_id=session, epoch=1)
        assert (await world.ask("destroy_session", destroy)).state is SessionState.STOPPED
        assert not profile.exists()
        await world.start(session)
        await world.reaches(session, SessionState.PAIRING)
        assert (await world.ask("destroy_session", destroy)).state is SessionState.STOPPED
    assert await world.observed(session) is None


async def test_an_engine_the_node_does_not_have_is_refused(world: World) -> None:
    command = c.StartSession(
        session_id=new_session_id(), epoch=1, tenant_id=TENANT, engine=EngineKind.CHROMIUM
    )
    async with world.node():
        assert await code_of(world.ask("start", command)) is ErrorCode.UNSUPPORTED_BY_ENGINE


async def test_a_second_process_with_the_same_id_is_refused(world: World) -> None:
    session, phone = new_session_id(), await world.phone()
    async with world.node():
        await world.online(session, phone)
        with pytest.raises(BlazzError) as raised:
            await _run(world, data_dir=world.folder / "elsewhere")
        assert raised.value.code is ErrorCode.NODE_ID_IN_USE
        with pytest.raises(BlazzError) as raised:
            await _run(world)
        assert raised.value.code is ErrorCode.DATA_DIR_LOCKED
        seen = await world.observed(session)
        assert seen is not None
        assert seen.state is SessionState.ONLINE


async def _run(world: World, **changes: Any) -> None:
    async with asyncio.timeout(20):
        await run_node(await world.settings(**changes), stop=asyncio.Event())


async def test_a_lost_lease_fences_every_session(world: World) -> None:
    session, phone = new_session_id(), await world.phone()
    async with world.node():
        await world.online(session, phone)
        thief = LeaseRecord(holder="thief", incarnation="t1", acquired_at=0.0)
        bucket = Bucket(world.bus, FLEET)
        revision = await bucket.put(lease_key("node", NODE), thief)
        seen = await world.reaches(session, SessionState.FENCED)
        assert seen.reason == "lease_lost"
        assert [d.instances for d in await phone.devices()] == [()]
        assert await code_of(world.start(session)) is ErrorCode.LEASE_LOST
        await bucket.delete(lease_key("node", NODE), revision)

        async def started() -> bool:
            try:
                await world.start(session)
            except BlazzError as error:
                return error.code is not ErrorCode.LEASE_LOST
            return True

        assert await eventually(started, timeout_s=10)
        await world.reaches(session, SessionState.ONLINE)


async def test_the_node_tells_who_it_is_how_it_stands_and_that_it_stops(world: World) -> None:
    session = new_session_id()
    bucket = Bucket(world.bus, FLEET)
    async with (
        subscribe(world.bus, ALL_HEARTBEATS, Heartbeat) as beats,
        world.node(OTHER_NODE, region="eu", provider="acme", sessions_max=7),
    ):
        await world.start(session, node_id=OTHER_NODE)
        record = (await bucket.get(node_key(OTHER_NODE), NodeRecord)).value
        assert record is not None
        assert (record.region, record.provider, record.sessions_max) == ("eu", "acme", 7)
        assert record.engines == (EngineKind.LOOPBACK,)
        assert not record.stopped
        last = 0
        async with asyncio.timeout(10):
            async for _, beat in beats:
                assert beat.incarnation == record.incarnation
                assert beat.sequence > last
                last = beat.sequence
                if beat.memory_used_bytes and beat.sessions:
                    assert beat.sessions[0].session_id == session
                    break
        async with aiohttp.ClientSession() as http:
            assert await _page(http, f"{record.http_url}/livez") == 200
            assert await _page(http, f"{record.http_url}/readyz") == 200
            async with http.get(f"{record.http_url}/metrics") as response:
                text = await response.text()
        assert 'blazz_node_capacity_sessions{node="node-2"} 7.0' in text
        assert 'blazz_sessions{node="node-2",state="pairing"}' in text
        assert session not in text
    record = (await bucket.get(node_key(OTHER_NODE), NodeRecord)).value
    assert record is not None
    assert record.stopped
    assert (await bucket.get(lease_key("node", OTHER_NODE), LeaseRecord)).value is None


async def test_the_word_of_a_placement_that_is_over_is_refused_and_ends_it(world: World) -> None:
    bucket = Bucket(world.bus, FLEET)
    session, phone = new_session_id(), await world.phone()
    mine = Assignment(session, TENANT, NODE, 1)
    revision = await bucket.put(assignment_key(session), mine)
    async with world.node():
        command = c.StartSession(
            session_id=session,
            epoch=1,
            tenant_id=TENANT,
            engine=EngineKind.LOOPBACK,
            assignment_revision=revision,
        )
        await world.ask("start", command)
        await world.reaches(session, SessionState.PAIRING)
        # A wish to move changes the assignment, not the placement: the node goes on.
        wish = msgspec.structs.replace(mine, moving_to=OTHER_NODE)
        revision = await bucket.update(assignment_key(session), wish, revision)
        await phone.scan((await world.qr(session)).value)
        last = await world.reaches(session, SessionState.ONLINE)
        # Somebody else's now, and this node was told nothing.
        elsewhere = Assignment(session, TENANT, OTHER_NODE, 2)
        await bucket.update(assignment_key(session), elsewhere, revision)
        await phone.unlink()

        async def let_go() -> bool:
            try:
                await world.stop(session)
            except BlazzError as error:
                return error.code is ErrorCode.SESSION_NOT_FOUND
            return False

        await eventually(let_go, timeout_s=10, what="the node has ended it")
    assert await world.observed(session) == last, "nothing was written under the old epoch"


async def _page(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url) as response:
        return response.status


async def test_media_goes_out_in_chunks_and_is_checked(world: World) -> None:
    session, key = new_session_id(), new_message_id()
    mine, theirs = await world.phone("15550001"), await world.phone("15550002")
    data = secrets.token_bytes(MEDIA_CHUNK_BYTES + 1234)

    async def chunk(ask: c.FetchMedia, _message: BusMessage) -> c.MediaChunk:
        part = data[ask.offset : ask.offset + MEDIA_CHUNK_BYTES]
        return c.MediaChunk(
            data=part, offset=ask.offset, total_bytes=len(data), mimetype="image/png"
        )

    async with serve(world.bus, ALL_NODE_MEDIA, c.FetchMedia, chunk), world.node():
        await world.online(session, mine)
        ref = MediaRef(
            media_id="med_" + "0" * 26,
            mimetype="image/png",
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            filename="cat.png",
        )
        answer = await world.ask("send_message", _picture(session, key, theirs.wid, ref))
        assert answer.state is MessageState.SENT, answer
        (arrived,) = await theirs.messages(mine.wid)
        assert arrived.message.media is not None
        assert await world.book.get_media(arrived.message.media.media_id) == data
        assert (arrived.message.body, arrived.message.media.filename) == ("look", "cat.png")

        lying = msgspec.structs.replace(ref, sha256="0" * 64)
        answer = await world.ask(
            "send_message", _picture(session, new_message_id(), theirs.wid, lying)
        )
        assert (answer.state, answer.error_code) == (MessageState.FAILED, "media_corrupt")
        assert len(await theirs.messages(mine.wid)) == 1
        scratch = world.folder / NODE / "scratch" / session
        assert list(scratch.iterdir()) == []


def _picture(session: str, key: str, to: str, ref: MediaRef) -> c.SendMessage:
    content = Media(kind=MessageKind.IMAGE, media=ref, caption="look")
    return c.SendMessage(session_id=session, epoch=1, message_id=key, to=to, content=content)


async def test_media_that_arrived_is_read_chunk_by_chunk(world: World) -> None:
    session = new_session_id()
    mine, theirs = await world.phone("15550001"), await world.phone("15550002")
    data = secrets.token_bytes(MEDIA_CHUNK_BYTES + 77)
    async with world.node():
        await world.online(session, mine)
        message_id = await theirs.send_media(mine.wid, data, "image/jpeg", caption="you")
        message = (await world.sees(MessageReceived)).message
        assert (message.kind, message.text) == (MessageKind.IMAGE, "you")
        assert message.media is not None
        assert message.media.size_bytes == len(data)
        got = b""
        while len(got) < len(data):
            chunk = await world.ask(
                "get_media",
                c.GetMedia(
                    session_id=session,
                    epoch=1,
                    message_id=message_id,
                    chat_id=theirs.wid,
                    offset=len(got),
                ),
            )
            assert (chunk.total_bytes, chunk.mimetype) == (len(data), "image/jpeg")
            got += chunk.data
        assert got == data
        missing = c.GetMedia(
            session_id=session, epoch=1, message_id="3EB0" + "0" * 18, chat_id=theirs.wid
        )
        assert await code_of(world.ask("get_media", missing)) is ErrorCode.MEDIA_NOT_FOUND
