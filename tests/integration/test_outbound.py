"""Requests to customers' addresses, against real servers on this machine."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from control_plane.outbound.client import Outbound
from control_plane.outbound.settings import LOOPBACK_TOO, OutboundSettings
from schemas.errors import BlazzError, ErrorCode

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    """A web server on a free port; the block gets its address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def expect(code: ErrorCode) -> AsyncIterator[list[BlazzError]]:
    found: list[BlazzError] = []
    with pytest.raises(BlazzError) as raised:
        yield found
    found.append(raised.value)
    assert raised.value.code is code, raised.value


async def picture(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"P" * 10_000, content_type="image/png")


async def test_a_fetch_answers_bytes_type_and_name() -> None:
    async with server(picture) as url, Outbound(LOOPBACK_TOO) as out:
        got = await out.fetch(
            f"{url}/a/menu%20card.png?x=1", bytes_max=10_000, timeout_s=5, types=("image/",)
        )
        assert (len(got.data), got.mimetype, got.filename) == (
            10_000,
            "image/png",
            "menu card.png",
        )
        for path in ("/", "/..", "/plain", "/%00.png"):
            got = await out.fetch(url + path, bytes_max=10_000, timeout_s=5)
            assert got.filename is None, path


async def test_a_fetch_is_bounded_in_size_however_it_is_announced() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"x" * 4_096)

    async with Outbound(LOOPBACK_TOO) as out:
        for handler in (picture, endless):
            async with server(handler) as url, expect(ErrorCode.MEDIA_TOO_LARGE):
                await out.fetch(url, bytes_max=9_999, timeout_s=5)


async def test_a_fetch_takes_only_the_wanted_types_and_never_unpacks() -> None:
    async def packed(_request: web.Request) -> web.StreamResponse:
        return web.Response(
            body=gzip.compress(b"0" * 1_000_000),
            content_type="image/png",
            headers={"Content-Encoding": "gzip"},
        )

    async with Outbound(LOOPBACK_TOO) as out:
        async with server(picture) as url, expect(ErrorCode.MEDIA_UNSUPPORTED):
            await out.fetch(url, bytes_max=10_000, timeout_s=5, types=("image/jpeg", "audio/"))
        async with server(packed) as url, expect(ErrorCode.MEDIA_UNSUPPORTED):
            await out.fetch(url, bytes_max=10_000, timeout_s=5)


async def test_an_exchange_is_bounded_in_time_even_when_bytes_drip() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"x")
            await asyncio.sleep(0.02)

    async with server(drip) as url, Outbound(LOOPBACK_TOO) as out:
        async with expect(ErrorCode.TIMEOUT):
            await out.fetch(url, bytes_max=10_000, timeout_s=0.2)
        async with expect(ErrorCode.TIMEOUT):
            await out.post(url, b"{}", {}, timeout_s=0.2, answer_bytes_max=1_000)


async def test_every_redirect_is_checked_and_their_number_is_bounded() -> None:
    seen: list[str] = []

    async def hop(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        places = {
            "/relative": "/file.png",
            "/inside": "http://10.0.0.1/latest/meta-data",
            "/scheme": "file:///etc/passwd",
            "/loop": "/loop",
        }
        if request.path in places:
            return web.Response(status=302, headers={"Location": places[request.path]})
        return await picture(request)

    async with server(hop) as url, Outbound(LOOPBACK_TOO) as out:
        got = await out.fetch(f"{url}/relative", bytes_max=10_000, timeout_s=5)
        assert got.filename == "file.png"
        for path in ("/inside", "/scheme"):
            async with expect(ErrorCode.URL_NOT_ALLOWED):
                await out.fetch(url + path, bytes_max=10_000, timeout_s=5)
        seen.clear()
        async with expect(ErrorCode.URL_NOT_ALLOWED):
            await out.fetch(f"{url}/loop", bytes_max=10_000, timeout_s=5)
        assert len(seen) == 1 + LOOPBACK_TOO.redirects_max


async def test_a_post_follows_no_redirect_and_reads_only_the_answers_beginning() -> None:
    posted: list[Any] = []

    async def moved(request: web.Request) -> web.StreamResponse:
        posted.append((request.path, await request.read(), request.headers.get("Webhook-Id")))
        return web.Response(
            status=307, body=b"y" * 100_000, headers={"Location": "/else", "Set-Cookie": "a=b"}
        )

    async with server(moved) as url, Outbound(LOOPBACK_TOO) as out:
        for _ in range(2):
            answer = await out.post(
                url, b'{"a":1}', {"webhook-id": "evt_1"}, timeout_s=5, answer_bytes_max=100
            )
        assert (answer.http_code, answer.body) == (307, b"y" * 100)
        assert answer.headers["location"] == "/else"
    assert posted == [("/", b'{"a":1}', "evt_1")] * 2


async def test_a_name_that_leads_inside_is_refused_without_a_connection() -> None:
    async def count(_request: web.Request) -> web.StreamResponse:
        raise AssertionError("reached")

    opened = OutboundSettings(allow_http=True)
    async with server(count) as url, Outbound(opened) as out:
        port = url.rpartition(":")[2]
        for host in ("localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"):
            async with expect(ErrorCode.URL_NOT_ALLOWED):
                await out.post(f"http://{host}:{port}/", b"{}", {}, timeout_s=5, answer_bytes_max=0)


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "017700000001", "127.1", "0"])
async def test_an_odd_way_to_write_loopback_does_not_get_through(host: str) -> None:
    async def count(_request: web.Request) -> web.StreamResponse:
        raise AssertionError("reached")

    async with server(count) as url, Outbound(OutboundSettings(allow_http=True)) as out:
        port = url.rpartition(":")[2]
        with pytest.raises(BlazzError) as raised:
            await out.fetch(f"http://{host}:{port}/", bytes_max=10, timeout_s=5)
    assert raised.value.code in (ErrorCode.URL_NOT_ALLOWED, ErrorCode.URL_UNREACHABLE)


async def test_the_connection_goes_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that leads elsewhere the next time it is asked (DNS rebinding) gains nothing."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "rebind.test":
            return real(host, port, *args, **kwargs)
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "10.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    async with server(picture) as url, Outbound(LOOPBACK_TOO) as out:
        port = url.rpartition(":")[2]
        got = await out.fetch(f"http://rebind.test:{port}/", bytes_max=10_000, timeout_s=5)
        assert len(got.data) == 10_000
        assert asked == ["rebind.test"]
    async with Outbound(LOOPBACK_TOO) as out, expect(ErrorCode.URL_NOT_ALLOWED):
        await out.fetch(f"http://rebind.test:{port}/", bytes_max=10_000, timeout_s=5)


async def test_of_mixed_addresses_only_the_good_ones_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mixed(_host: Any, port: Any, *_args: Any, **_kwargs: Any) -> Any:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("169.254.169.254", "127.0.0.1")
        ]

    async with server(picture) as url, Outbound(LOOPBACK_TOO) as out:
        monkeypatch.setattr(socket, "getaddrinfo", mixed)
        port = url.rpartition(":")[2]
        got = await out.fetch(f"http://mixed.test:{port}/", bytes_max=10_000, timeout_s=2)
        assert len(got.data) == 10_000


async def test_what_cannot_be_reached_says_how_without_the_address() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        async with Outbound(LOOPBACK_TOO) as out:
            async with expect(ErrorCode.URL_UNREACHABLE) as found:
                await out.fetch(f"http://127.0.0.1:{port}/tok", bytes_max=10, timeout_s=5)
            assert found[0].detail == "It can't be connected to."
            async with expect(ErrorCode.URL_UNREACHABLE) as found:
                await out.fetch("http://no-such-host.invalid/tok", bytes_max=10, timeout_s=5)
            assert "tok" not in str(found[0])


async def test_https_is_checked_against_real_authorities() -> None:
    """A plain server behind https:// fails as TLS; that a certificate is checked is aiohttp's
    default, which nothing here turns off."""
    https = expect(ErrorCode.URL_UNREACHABLE)
    async with server(picture) as url, Outbound(LOOPBACK_TOO) as out, https:
        await out.fetch(url.replace("http:", "https:"), bytes_max=10, timeout_s=5)
    closed = msgspec.structs.replace(LOOPBACK_TOO, allow_http=False)
    async with server(picture) as url, Outbound(closed) as out, expect(ErrorCode.URL_NOT_ALLOWED):
        await out.fetch(url, bytes_max=10, timeout_s=5)
