"""The guard of the terminal in a browser: who gets in, over a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from cli.browser import COOKIE, HOST, TABS_MAX, Guard
from cli.view import TuiOptions, tui_words

TOKEN = "t" * 43


@asynccontextmanager
async def guarded(
    closed: asyncio.Event | None = None,
) -> AsyncIterator[tuple[Guard, str, aiohttp.ClientSession]]:
    """A page and a socket behind the guard, on a free port."""

    async def page(request: web.Request) -> web.Response:
        if closed is not None and "wait" in request.query:
            await closed.wait()
        return web.Response(text="the terminal")

    listening = socket.create_server((HOST, 0))
    guard = Guard(listening.getsockname()[1], TOKEN)
    app = web.Application(middlewares=[guard.admit])
    app.add_routes([web.get("/", page), web.get("/ws", page)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    try:
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as client:
            yield guard, f"http://{HOST}:{listening.getsockname()[1]}", client
    finally:
        await runner.cleanup()


async def test_the_printed_address_opens_it_and_leaves_no_token_in_the_bar() -> None:
    async with guarded() as (guard, url, client):
        async with client.get(guard.url) as answer:
            assert (answer.status, str(answer.url)) == (200, f"{url}/")
            assert await answer.text() == "the terminal"
        async with client.get(f"{url}/ws", headers={"Origin": url}) as answer:
            assert answer.status == 200


async def _status(client: aiohttp.ClientSession, url: str, origin: str) -> int:
    async with client.get(url, headers={"Origin": origin}) as answer:
        return answer.status


async def test_only_so_many_tabs_are_open_at_once() -> None:
    closed = asyncio.Event()
    async with guarded(closed) as (guard, url, client):
        async with client.get(guard.url):
            pass
        asked = f"{url}/ws?wait=1"
        tabs = [asyncio.create_task(_status(client, asked, url)) for _ in range(TABS_MAX + 1)]
        first, _ = await asyncio.wait(tabs, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert [each.result() for each in first] == [503]
        closed.set()
        assert sorted(await asyncio.gather(*tabs)) == [200] * TABS_MAX + [503]
        async with client.get(f"{url}/ws", headers={"Origin": url}) as answer:
            assert answer.status == 200, "a closed tab's place is free again"


@pytest.mark.parametrize("path", ["/", "/ws", "/?token=", f"/?token={'x' * 43}"])
async def test_without_the_token_nothing_opens(path: str) -> None:
    async with (
        guarded() as (_, url, client),
        client.get(url + path, headers={"Origin": url}) as answer,
    ):
        assert answer.status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "localhost:1"},
        {},
    ],
)
async def test_another_page_cannot_open_the_socket_with_the_persons_cookie(
    headers: dict[str, str],
) -> None:
    async with guarded() as (_, url, client):
        cookie = {"Cookie": f"{COOKIE}={TOKEN}"}
        async with client.get(f"{url}/ws", headers={**cookie, "Origin": url}) as answer:
            assert answer.status == 200
        async with client.get(f"{url}/ws", headers={**cookie, **headers}) as answer:
            assert answer.status == 403


def test_the_served_command_says_what_was_said_but_never_that_it_may_act() -> None:
    options = TuiOptions(server="nats://127.0.0.1:4222", light=False, read_only=False)
    assert tui_words(options) == ("--server", "nats://127.0.0.1:4222", "--no-light")
