"""Media by URL from a real server: what it is, and how little a slow or wrong one can do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from control_plane.media.remote import OutboundMedia, RemoteLimits
from control_plane.outbound.client import Outbound
from control_plane.outbound.settings import LOOPBACK_TOO, OutboundSettings
from schemas.errors import BlazzError, ErrorCode
from tests.waiting import eventually

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 64


class Host:
    """A server; `/slow` answers only when released."""

    def __init__(self) -> None:
        self.url = ""
        self.slow = 0
        self.released = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        match request.path:
            case "/a.png":
                return web.Response(body=PNG, content_type="application/octet-stream")
            case "/b.txt":
                return web.Response(body=b"words", content_type="text/plain")
            case "/c.bin":
                return web.Response(body=b"\0\1\2", content_type="binary/octet-stream")
            case "/slow":
                self.slow += 1
                await self.released.wait()
                return web.Response(body=PNG, content_type="image/png")
        return web.Response(status=404)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    served = Host()
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", served.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield served
    finally:
        served.released.set()
        await runner.cleanup()


@pytest.mark.parametrize(
    ("path", "mimetype", "filename"),
    [
        ("/a.png", "image/png", "a.png"),
        ("/b.txt", "text/plain", "b.txt"),
        ("/c.bin", "application/octet-stream", "c.bin"),
    ],
)
async def test_a_file_is_what_its_server_or_its_bytes_say(
    host: Host, path: str, mimetype: str, filename: str
) -> None:
    async with Outbound(LOOPBACK_TOO) as outbound:
        file = await OutboundMedia(outbound).fetch("acme", host.url + path)
    assert (file.mimetype, file.filename) == (mimetype, filename)


async def test_what_cannot_be_fetched_is_refused_for_good_reasons(host: Host) -> None:
    limits = RemoteLimits(timeout_s=0.3)
    for settings, path, code in (
        (LOOPBACK_TOO, "/nothing", ErrorCode.MEDIA_NOT_FETCHED),
        (LOOPBACK_TOO, "/slow", ErrorCode.MEDIA_NOT_FETCHED),
        (OutboundSettings(allow_http=True), "/a.png", ErrorCode.URL_NOT_ALLOWED),
    ):
        async with Outbound(settings) as outbound:
            with pytest.raises(BlazzError) as caught:
                await OutboundMedia(outbound, limits).fetch("acme", host.url + path)
        assert caught.value.code is code, path
        assert caught.value.spec.http == 422
        assert "127.0.0.1" not in caught.value.detail


async def test_one_tenants_slow_host_holds_up_no_other(host: Host) -> None:
    limits = RemoteLimits(at_once=3, at_once_per_tenant=2, timeout_s=10)
    async with Outbound(LOOPBACK_TOO) as outbound, asyncio.TaskGroup() as group:
        media = OutboundMedia(outbound, limits)
        slow = [group.create_task(media.fetch("acme", f"{host.url}/slow")) for _ in range(4)]
        await eventually(lambda: host.slow == 2, what="two of a tenant's are under way")
        quick = await asyncio.wait_for(media.fetch("rival", f"{host.url}/a.png"), 5)
        assert quick.data == PNG
        assert host.slow == 2
        host.released.set()
        assert [(await task).data for task in slow] == [PNG] * 4
        assert media._tenants == {}
