"""A TCP proxy between one node and the bus, which can lose the connection in the ways a net does.

Owns its listener and the connections through it. Cut: connections break and new ones are refused
at once. Black hole: nothing passes and nothing breaks; what was under way arrives after healing,
as TCP delivers it. Delay: every piece comes that much later. Never looks into the bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

HOST = "127.0.0.1"
_PIECE_BYTES = 65_536


class BusProxy:
    """`async with BusProxy() as proxy:`, then set `target` before the first connection."""

    def __init__(self) -> None:
        self.target = ""
        self.delay_s = 0.0
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cut = False
        self._live: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._break_all()

    @property
    def url(self) -> str:
        """What the node is given as the bus's address."""
        assert self._server is not None
        return f"nats://{HOST}:{self._server.sockets[0].getsockname()[1]}"

    @property
    def carried(self) -> int:
        """How many connections there are now."""
        return len(self._live)

    async def cut(self) -> None:
        """Break every connection, and every new one at once."""
        self._cut = True
        await self._break_all()

    def black_hole(self) -> None:
        """Let nothing pass, in neither direction, and tell nobody."""
        self._flowing.clear()

    def heal(self) -> None:
        """Be a plain wire again."""
        self._cut = False
        self.delay_s = 0.0
        self._flowing.set()

    async def _break_all(self) -> None:
        live = list(self._live)
        for task in live:
            task.cancel()
        if live:
            await asyncio.wait(live)

    async def _serve(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._live.add(task)
        far_writer: asyncio.StreamWriter | None = None
        try:
            if self._cut:
                return
            await self._flowing.wait()
            parts = urlsplit(self.target)
            with contextlib.suppress(OSError):
                far, far_writer = await asyncio.open_connection(parts.hostname, parts.port)
                await self._carry((near, far_writer), (far, back))
        except asyncio.CancelledError:
            # Only `_break_all` cancels: the connection ends here, the server goes on.
            return
        finally:
            for writer in (back, far_writer):
                if writer is not None:
                    writer.transport.abort()
            self._live.discard(task)

    async def _carry(self, *ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        """Until one side ends."""
        pumps = [asyncio.ensure_future(self._pump(*way)) for way in ways]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_PIECE_BYTES):
            await self._flowing.wait()
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            writer.write(data)
            await writer.drain()
