"""Confirmations: telling the switch what it may forget.

Owns the order: a queued frame is confirmed once its events are settled, never before. Never keeps
anything itself.
"""

import asyncio
import contextlib
from collections import deque

from schemas import switch_wire as wire
from schemas.errors import BlazzError
from swarm_node.engines.event_pipe import EventPipe
from swarm_node.engines.loopback.link import SwitchLink


class Confirmations:
    """The frames of one engine that are not confirmed yet."""

    def __init__(self, pipe: EventPipe) -> None:
        self._pipe = pipe
        self._waiting: deque[tuple[int, int]] = deque()
        """Frames' numbers, and how many events there were with theirs."""
        self._some = asyncio.Event()

    def add(self, seq: int) -> None:
        """Confirm this frame when the events put so far are settled."""
        self._waiting.append((seq, self._pipe.put_count))
        self._some.set()

    async def run(self, link: SwitchLink) -> None:
        """Confirm for ever."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                seq, count = self._waiting[0]
                await self._pipe.wait_settled(count)
                self._waiting.popleft()
                # Cumulative: of several only the last needs telling. On a broken line none does,
                # for the frames come again on the next one.
                if link.connected and not self._waiting:
                    with contextlib.suppress(BlazzError):
                        await link.tell(wire.Stored(seq=seq))
