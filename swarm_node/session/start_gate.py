"""The start gate: engines of one node start one after another, not in a storm.

Owns the turn-taking: starts are spaced and at most `at_once_max` run at the same time. One gate a
node, shared by its sessions. Never limits running engines (that is admission's).
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from swarm_node.core.admission import start_delay_s


class StartGate:
    """Turns for engine starts; `async with gate.turn():` around a launch."""

    def __init__(self, *, spacing_s: float, at_once_max: int) -> None:
        self._spacing_s = spacing_s
        self._places = asyncio.Semaphore(at_once_max)
        self._order = asyncio.Lock()
        self._last_start_s: float | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a place and for the spacing, then hold the place for the block.

        Bounded by the launches before: each has its own limit.
        """
        async with self._places:
            async with self._order:
                delay_s = start_delay_s(
                    now_s=time.monotonic(),
                    last_start_s=self._last_start_s,
                    spacing_s=self._spacing_s,
                )
                if delay_s > 0:
                    await asyncio.sleep(delay_s)
                self._last_start_s = time.monotonic()
            yield
