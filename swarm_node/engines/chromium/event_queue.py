"""The engine's events on their way to their one reader.

Owns order and the bound: who reports waits while the reader is behind. Never drops an event
before it is closed.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from swarm_node.engines.contract import EngineEvent


class EventQueue:
    """A bounded queue that can be closed from outside; what is in it can still be read then."""

    def __init__(self, events_max: int) -> None:
        self._events: deque[EngineEvent] = deque()
        self._max = events_max
        self._changed = asyncio.Condition()
        self._closed = False
        self._put_count = 0
        self._settled_count = 0

    async def put(self, event: EngineEvent) -> bool:
        """Add an event, waiting for room. False: it was closed, and nobody will read it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or len(self._events) < self._max)
            if self._closed:
                return False
            self._events.append(event)
            self._put_count += 1
            self._changed.notify_all()
            return True

    async def settled(self) -> bool:
        """Wait until the reader is done with all that was put so far: it asked for more.
        False: it was closed before."""
        async with self._changed:
            count = self._put_count
            await self._changed.wait_for(lambda: self._closed or self._settled_count >= count)
            return self._settled_count >= count

    async def close(self) -> None:
        """No more events; the reader ends when it has read the rest. Idempotent."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def read(self) -> AsyncIterator[tuple[EngineEvent, ...]]:
        """Events in order, all there are each time, until it is closed and empty."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._closed or bool(self._events))
                if not self._events:
                    return
                events = tuple(self._events)
                self._events.clear()
                self._changed.notify_all()
            yield events
            async with self._changed:
                self._settled_count += len(events)
                self._changed.notify_all()
