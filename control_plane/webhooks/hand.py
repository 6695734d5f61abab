"""The events in a lane's hand: taken from the stream, not answered yet.

Owns their number and the order within a session. Never sends.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from schemas.transport.durable import InHand, Work


class Hand:
    """At most `size` events. Those of one session pass `turn` one after the other, as they came."""

    def __init__(self, size: int, kept: InHand) -> None:
        self._size = size
        self._count = 0
        self._kept = kept
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}
        self.freed = asyncio.Event()

    @property
    def room(self) -> int:
        """How many more it takes."""
        return self._size - self._count

    @asynccontextmanager
    async def hold(self, work: Work) -> AsyncIterator[None]:
        """In hand for the block."""
        self._count += 1
        self._kept.take(work)
        try:
            yield
        finally:
            self._count -= 1
            self._kept.leave(work)
            self.freed.set()

    @asynccontextmanager
    async def turn(self, session_id: str) -> AsyncIterator[None]:
        """The session's turn, for the block."""
        lock, users = self._turns.get(session_id, (asyncio.Lock(), 0))
        self._turns[session_id] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            _, users = self._turns[session_id]
            if users == 1:
                del self._turns[session_id]
            else:
                self._turns[session_id] = lock, users - 1
