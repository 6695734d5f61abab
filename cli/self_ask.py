"""A process that asks its own HTTP server whether it lives: proof that it accepts and answers.

Owns the asking and the turn it makes. Never anything but `GET /livez`, over its own address.
"""

import asyncio
import time
from typing import Final

from schemas.turns import Turn

PERIOD_S: Final = 10.0
_ANSWER_MAX_S: Final = 10.0
_SILENT_MAX_S: Final = 60.0
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - looked up
_OK: Final = b"HTTP/1.1 200"


class SelfAsk:
    """The server's proof of life; `run` asks for ever."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = _ANY.get(host, host), port
        self._at_s = time.monotonic()

    @property
    def turn(self) -> Turn:
        """When it last answered."""
        return Turn("http", self._at_s, _SILENT_MAX_S + PERIOD_S)

    async def run(self) -> None:
        """Ask every `PERIOD_S`, for ever."""
        while True:
            if await self.ask():
                self._at_s = time.monotonic()
            await asyncio.sleep(PERIOD_S)

    async def ask(self) -> bool:
        """Whether it answers now. Bounded."""
        try:
            async with asyncio.timeout(_ANSWER_MAX_S):
                reader, writer = await asyncio.open_connection(self._host, self._port)
                try:
                    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    return (await reader.readline()).startswith(_OK)
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False
