"""Waiters: requests that wait for a message to become final.

Owns who waits for what, and looking again at times should a notice be lost. Never a store.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from schemas.messages import ChatMessage

_POLL_S: Final = 5.0

Key = tuple[str, str, str]
"""(tenant, session, message)."""
Read = Callable[[], Awaitable[ChatMessage | None]]


class FinalWaiters:
    """Those who wait on this replica."""

    def __init__(self, poll_s: float = _POLL_S) -> None:
        self._poll_s = poll_s
        self._waiting: dict[Key, set[asyncio.Event]] = {}

    def notice(self, key: Key) -> None:
        """A message may be final now."""
        for waiter in self._waiting.get(key, ()):
            waiter.set()

    async def wait(self, key: Key, read: Read, *, timeout_s: float) -> ChatMessage | None:
        """Read until it is final or the time is up; answers what was read last."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        noticed = asyncio.Event()
        waiters = self._waiting.setdefault(key, set())
        waiters.add(noticed)
        try:
            while True:
                noticed.clear()
                message = await read()
                left_s = deadline - loop.time()
                if message is None or message.state.final or left_s <= 0:
                    return message
                try:
                    async with asyncio.timeout(min(left_s, self._poll_s)):
                        await noticed.wait()
                except TimeoutError:
                    continue
        finally:
            waiters.discard(noticed)
            if not waiters:
                self._waiting.pop(key, None)
