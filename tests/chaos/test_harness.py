"""The harness itself: a proxy that loses nothing when it should not, and all when it should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bench.bus_proxy import BusProxy
from tests.waiting import eventually

SILENCE_S = 0.3


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1000):
            writer.write(data)
    except ConnectionError:
        return
    finally:
        writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[BusProxy]:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with server, BusProxy() as made:
        made.target = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield made


async def _open(proxy: BusProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(proxy.url.rpartition(":")[2]))


async def _says(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, word: bytes) -> bytes:
    writer.write(word)
    async with asyncio.timeout(SILENCE_S):
        return await reader.readexactly(len(word))


async def test_a_plain_wire_carries_both_ways(proxy: BusProxy) -> None:
    reader, writer = await _open(proxy)
    assert await _says(reader, writer, b"hello") == b"hello"
    writer.close()


async def test_a_cut_breaks_old_and_new_connections_until_it_is_healed(proxy: BusProxy) -> None:
    reader, writer = await _open(proxy)
    await _says(reader, writer, b"hello")
    await proxy.cut()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await _says(reader, writer, b"lost")
    reader, writer = await _open(proxy)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await _says(reader, writer, b"lost")
    proxy.heal()
    reader, writer = await _open(proxy)
    assert await _says(reader, writer, b"again") == b"again"
    writer.close()


async def test_a_black_hole_keeps_what_was_said_until_it_is_healed(proxy: BusProxy) -> None:
    reader, writer = await _open(proxy)
    await _says(reader, writer, b"hello")
    proxy.black_hole()
    with pytest.raises(TimeoutError):
        await _says(reader, writer, b"kept")
    proxy.heal()
    assert await reader.readexactly(4) == b"kept"
    writer.close()
    await eventually(lambda: not proxy.carried, what="the connection is gone")


async def test_a_delay_is_felt(proxy: BusProxy) -> None:
    reader, writer = await _open(proxy)
    proxy.delay_s = 2 * SILENCE_S
    with pytest.raises(TimeoutError):
        await _says(reader, writer, b"late")
    async with asyncio.timeout(10):
        assert await reader.readexactly(4) == b"late"
    writer.close()
