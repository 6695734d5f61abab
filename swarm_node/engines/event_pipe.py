"""The event pipe: what an engine saw, on its way to its one reader.

Owns the bound and the end: writers wait when it is full, and after `close` the reader gets what is
left and then the end. Never drops an event.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from swarm_node.engines.contract import EngineEvent


class EventPipe:
    """A bounded pipe. `put` waits for room; `events` ends after `close`."""

    def __init__(self, waiting_max: int = 256) -> None:
        self._waiting_max = waiting_max
        self._waiting: deque[EngineEvent] = deque()
        self.put_count = 0
        """How many were put in."""
        self._settled_count = 0
        self._settled = asyncio.Event()
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False

    async def put(self, event: EngineEvent) -> None:
        """Add an event; waits while the pipe is full. A closed pipe takes nothing."""
        while len(self._waiting) >= self._waiting_max and not self._closed:
            self._room.clear()
            await self._room.wait()
        if not self._closed:
            self._waiting.append(event)
            self.put_count += 1
            self._some.set()

    async def wait_settled(self, count: int) -> None:
        """Wait until the reader is done with the first `count` events: it asked for more.
        For ever, if it never does."""
        while self._settled_count < count:
            self._settled.clear()
            await self._settled.wait()

    def close(self) -> None:
        """Nothing more comes."""
        self._closed = True
        self._some.set()
        self._room.set()

    async def events(self) -> AsyncIterator[tuple[EngineEvent, ...]]:
        """Every event in order, all there are each time, until the pipe is closed and empty. One
        reader."""
        while True:
            while self._waiting:
                events = tuple(self._waiting)
                self._waiting.clear()
                self._room.set()
                yield events
                self._settled_count += len(events)
                self._settled.set()
            if self._closed:
                return
            self._some.clear()
            await self._some.wait()
