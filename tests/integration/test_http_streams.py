"""Event streams and the server's life: resume, gaps, heartbeats, ends that leave nothing open."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from control_plane.app import HttpSettings, create_app, serve
from schemas.errors import BlazzError, ErrorCode
from schemas.states import SessionState
from tests.integration.http_server import TENANT, Running, running
from tests.integration.memory_services import memory
from tests.waiting import eventually


class Reader:
    """Reads a stream's events one by one."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.comments: list[str] = []

    async def next(self) -> dict[str, Any]:
        """The next event as {id, event, data}."""
        found: dict[str, Any] = {}
        async with asyncio.timeout(20):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if line.startswith(":"):
                    self.comments.append(line)
                elif not line and "data" in found:
                    return found
                elif line:
                    found[name] = json.loads(value) if name == "data" else value
        raise EOFError


@asynccontextmanager
async def reading(
    client: httpx.AsyncClient, path: str, last: int | None = None
) -> AsyncIterator[Reader]:
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    async with client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield Reader(answer.aiter_lines())


async def test_events_come_live_and_resume_after_the_last_one_seen() -> None:
    async with running() as api:
        session = await api.session()
        async with reading(api.client, "/v1/events") as stream:
            await eventually(lambda: api.memory.feed.followers == 1)
            await api.memory.sessions.put(TENANT, session, SessionState.PAIRING)
            seen = await stream.next()
            assert (seen["id"], seen["event"]) == ("1", "session.state")
            assert seen["data"]["data"]["state"] == "pairing"
        await eventually(lambda: api.memory.feed.followers == 0, what="the feed is closed")
        for state in (SessionState.SYNCING, SessionState.ONLINE):
            await api.memory.sessions.put(TENANT, session, state)
        async with reading(api.client, "/v1/events", last=1) as stream:
            assert [(await stream.next())["id"] for _ in range(2)] == ["2", "3"]


async def test_a_stream_holds_only_its_session_and_its_tenant() -> None:
    async with running() as api:
        mine, other = await api.session(), await api.session()
        async with api.client_for("rival", "sessions", "messages") as rival:
            theirs = (await rival.post("/v1/sessions", json={})).json()["session_id"]
        await api.memory.sessions.put("rival", theirs, SessionState.ONLINE)
        await api.memory.sessions.put(TENANT, other, SessionState.ONLINE)
        await api.memory.sessions.put(TENANT, mine, SessionState.ONLINE)
        async with reading(api.client, f"/v1/sessions/{mine}/events", last=0) as stream:
            assert (await stream.next())["id"] == "3"
        async with reading(api.client, "/v1/events", last=0) as stream:
            assert (await stream.next())["data"]["session_id"] == other
        async with reading(api.client, "/v1/fleet/events") as stream:
            await eventually(lambda: api.memory.feed.followers == 1)
            await api.memory.sessions.put("rival", theirs, SessionState.DEGRADED)
            assert (await stream.next())["data"]["tenant_id"] == "rival"


async def test_pruned_events_are_told_as_a_gap() -> None:
    async with running() as api:
        session = await api.session()
        for state in (SessionState.PAIRING, SessionState.SYNCING, SessionState.ONLINE):
            await api.memory.sessions.put(TENANT, session, state)
        api.memory.feed.pruned_to = 2
        async with reading(api.client, "/v1/events", last=0) as stream:
            gap = await stream.next()
            assert (gap["event"], gap["id"]) == ("gap", "2")
            assert gap["data"] == {"from_sequence": 1, "to_sequence": 2}
            assert (await stream.next())["id"] == "3"
        wrong = await api.client.get("/v1/events", headers={"Last-Event-ID": "x"})
        assert wrong.json()["code"] == ErrorCode.VALIDATION_FAILED


async def test_a_quiet_stream_beats_and_ends_when_its_time_is_up() -> None:
    async with running(heartbeat_s=0.02, stream_s_max=0.3) as api:
        async with reading(api.client, "/v1/events") as stream:
            with pytest.raises(EOFError):
                await stream.next()
        assert len(stream.comments) >= 3
        assert api.memory.feed.followers == 0


async def test_open_streams_are_bounded() -> None:
    async with running(streams_max=1) as api:
        async with reading(api.client, "/v1/events"):
            refused = await api.client.get("/v1/events")
            assert refused.json()["code"] == ErrorCode.RATE_LIMITED
        await eventually(lambda: api.memory.feed.followers == 0)
        async with reading(api.client, "/v1/events"):
            pass


async def test_a_stop_ends_streams_cleanly_and_soon() -> None:
    async with running(stop_grace_s=30.0) as api, reading(api.client, "/v1/events") as stream:
        await eventually(lambda: api.memory.feed.followers == 1)
        async with asyncio.timeout(20):
            api.stop.set()
            with pytest.raises(EOFError):  # the end of the answer, not a broken connection
                await stream.next()
        await eventually(lambda: api.memory.feed.followers == 0)


async def test_a_request_under_way_at_a_stop_is_still_answered() -> None:
    async with running() as api:
        api.memory.sessions.creating.clear()
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(api.client.post("/v1/sessions", json={}))
            await eventually(lambda: api.memory.sessions.calls == ["create"])
            api.stop.set()
            with pytest.raises(httpx.ConnectError):
                await eventually(lambda: _connected(api), what="the listener is closed")
            api.memory.sessions.creating.set()
        assert slow.result().status_code == 201


async def _connected(api: Running) -> bool:
    async with httpx.AsyncClient(base_url=api.url) as stranger:
        await stranger.get("/livez")
    return False


async def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        app = create_app(memory().services, HttpSettings())
        with pytest.raises(BlazzError) as refused:
            await serve(app, "127.0.0.1", port, asyncio.Event(), lambda _: None)
    assert refused.value.code is ErrorCode.PORT_IN_USE
    assert str(port) in refused.value.detail
