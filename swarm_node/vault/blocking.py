"""Blocking work that is never left behind: a cancelled caller still waits for the thread's end.

Owns the one function. Without it, a cancelled restore would go on writing into a directory that
its successor already uses.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread. `work` must be bounded by itself: it is not cut short."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        if not running.cancelled():
            running.exception()  # seen; the cancellation says enough
        raise
