"""The event socket: who may open it, what comes, how it resumes and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from schemas.events import MessageEdited
from schemas.states import SessionState
from tests.integration.http_server import TENANT, Running, running
from tests.waiting import eventually


class Line:
    """A client's end of the socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, word: Any) -> None:
        await self.socket.send_str(json.dumps(word))

    async def next(self) -> dict[str, Any]:
        """The next message that is no heartbeat."""
        while True:
            message = await asyncio.wait_for(self.socket.receive(), 5)
            assert message.type is aiohttp.WSMsgType.TEXT, f"closed: {self.socket.close_code}"
            word: dict[str, Any] = json.loads(message.data)
            if word["type"] != "heartbeat":
                return word

    async def closed(self) -> int:
        """The code it is closed with."""
        async with asyncio.timeout(20):
            while not self.socket.closed:
                await self.socket.receive()
        assert self.socket.close_code is not None
        return self.socket.close_code


def bearer(api: Running) -> dict[str, str]:
    return {"Authorization": api.client.headers["Authorization"]}


@asynccontextmanager
async def line(
    api: Running, query: str = "", headers: dict[str, str] | None = None
) -> AsyncIterator[Line]:
    async with aiohttp.ClientSession() as client:
        url = f"{api.url}/v1/events/ws?{query}"
        async with client.ws_connect(url, headers=headers or {}) as socket:
            yield Line(socket)


async def test_events_come_live_and_resume_after_the_last_one_seen() -> None:
    async with running() as api:
        session = await api.session()
        async with line(api, headers=bearer(api)) as live:
            await eventually(lambda: api.memory.feed.followers == 1)
            await api.memory.sessions.put(TENANT, session, SessionState.PAIRING)
            seen = await live.next()
            assert (seen["id"], seen["type"]) == ("1", "session.state")
            assert seen["data"]["data"]["state"] == "pairing"
            await live.say({"type": "ping"})
            assert await live.next() == {"type": "pong"}
        await eventually(lambda: api.memory.feed.followers == 0, what="the feed is closed")
        for state in (SessionState.SYNCING, SessionState.ONLINE):
            await api.memory.sessions.put(TENANT, session, state)
        async with line(api, f"after=1&session_id={session}", bearer(api)) as late:
            assert [(await late.next())["id"] for _ in range(2)] == ["2", "3"]
        api.memory.feed.pruned_to = 2
        async with line(api, "after=0", bearer(api)) as pruned:
            gap = await pruned.next()
            assert (gap["type"], gap["id"]) == ("gap", "2")
            assert gap["data"] == {"from_sequence": 1, "to_sequence": 2}
            assert (await pruned.next())["id"] == "3"


async def test_a_browser_comes_with_a_ticket_or_says_who_it_is() -> None:
    async with running() as api:
        session = await api.session()
        await api.memory.sessions.put(TENANT, session, SessionState.ONLINE)
        ticket = (await api.client.post("/v1/events/ticket")).json()["ticket"]
        async with line(api, f"after=0&ticket={ticket}") as with_ticket:
            assert (await with_ticket.next())["id"] == "1"
        async with line(api, f"after=0&ticket={ticket}") as again:
            assert await again.closed() == 4401, "it opens one socket"
        key = api.client.headers["Authorization"].removeprefix("Bearer ")
        async with line(api, "after=0") as with_word:
            await with_word.say({"type": "auth", "key": key})
            assert (await with_word.next())["id"] == "1"


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ({"type": "auth", "key": "blz_live_wrong"}, 4401),
        ({"type": "auth"}, 4401),
        ({"type": "ping"}, 4401),
        ({"type": "nonsense"}, 4400),
    ],
)
async def test_a_stranger_is_turned_away(word: dict[str, str], code: int) -> None:
    async with running() as api, line(api) as stranger:
        await stranger.say(word)
        assert await stranger.closed() == code


async def test_what_a_key_may_not_read_it_does_not_read() -> None:
    async with running() as api:
        session = await api.session()
        async with (
            api.client_for("rival", "messages") as rival,
            api.client_for(TENANT, "sessions") as unscoped,
        ):
            theirs = {"Authorization": rival.headers["Authorization"]}
            async with line(api, f"session_id={session}", theirs) as foreign:
                assert await foreign.closed() == 4404
            lacking = {"Authorization": unscoped.headers["Authorization"]}
            async with line(api, headers=lacking) as refused:
                assert await refused.closed() == 4403
        async with line(api, "types=no.such", bearer(api)) as wrong:
            assert await wrong.closed() == 4400


async def test_only_the_wanted_types_come() -> None:
    async with running() as api:
        session = await api.session()
        await api.memory.sessions.put(TENANT, session, SessionState.ONLINE)
        async with line(api, "after=0&types=message.*", bearer(api)) as messages:
            await eventually(lambda: api.memory.feed.followers == 1)
            await messages.say({"type": "ping"})
            assert (await messages.next())["type"] == "pong"
        async with line(api, "after=0&types=message.ack,session.state", bearer(api)) as states:
            assert (await states.next())["type"] == "session.state"


async def test_sockets_are_bounded_and_end_at_a_stop() -> None:
    async with running(streams_max=1, heartbeat_s=0.05) as api, line(api, "", bearer(api)) as held:
        await eventually(lambda: api.memory.feed.followers == 1)
        async with line(api, headers=bearer(api)) as refused:
            assert await refused.closed() == 4429
        assert json.loads((await held.socket.receive()).data) == {"type": "heartbeat"}
        api.stop.set()
        assert await held.closed() == 1001
        await eventually(lambda: api.memory.feed.followers == 0)


async def test_a_client_that_takes_nothing_is_closed() -> None:
    async with running(socket_send_s_max=0.3, heartbeat_s=5.0) as api:
        session = await api.session()
        async with aiohttp.ClientSession() as client:
            url = f"{api.url}/v1/events/ws?after=0"
            # Nothing is read from this socket: aiohttp stops taking once its own buffer is full.
            async with client.ws_connect(url, headers=bearer(api)):
                await eventually(lambda: api.memory.feed.followers == 1)
                for _ in range(400):
                    for _ in range(200):
                        api.memory.feed.publish(TENANT, session, _large())
                    await asyncio.sleep(0.005)
                    if api.memory.feed.followers == 0:
                        break
                await eventually(lambda: api.memory.feed.followers == 0, timeout_s=10)


def _large() -> MessageEdited:
    return MessageEdited("3EB0AABBCCDDEEFF001122", "1@c.us", "x" * 4000)


async def test_a_foreign_page_is_let_in_only_where_that_is_wanted() -> None:
    origin = {"Origin": "https://elsewhere.example"}
    async with running() as api, line(api, "", {**bearer(api), **origin}):
        await eventually(lambda: api.memory.feed.followers == 1)
    async with running(socket_origins=("https://app.example",)) as api:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with line(api, "", {**bearer(api), **origin}):
                pass
        assert refused.value.status == 403
        async with line(api, "", {**bearer(api), "Origin": "https://app.example"}):
            await eventually(lambda: api.memory.feed.followers == 1)
