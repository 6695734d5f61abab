"""Changing a message with compare-and-set, whatever the store.

Owns the loop: read, decide, write if nobody else has, else again. Never a store's detail.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from control_plane.core.backoff import delay_s
from control_plane.ledger.port import Change
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ChatMessage

_TRIES_MAX: Final = 12
NOTHING: Final = 0
"""The version of a message that is not there."""

Read = Callable[[], Awaitable[tuple[ChatMessage | None, int]]]
Write = Callable[[ChatMessage, int], Awaitable[bool]]
"""Write a message if its version is still this; False if somebody else wrote."""


async def change_stored(
    read: Read, write: Write, change: Change, *, likely_new: bool
) -> ChatMessage | None:
    """What stands in the end. Raises `conflict` when others write all the time."""
    for attempt in range(1, _TRIES_MAX + 1):
        unseen = likely_new and attempt == 1
        old, version = (None, NOTHING) if unseen else await read()
        new = change(old)
        if new is None or new == old:
            return old
        if await write(new, version):
            return new
        if not unseen:
            await asyncio.sleep(delay_s(attempt, random.random(), min_s=0.002, max_s=0.1))
    raise BlazzError(ErrorCode.CONFLICT, "the message is changed by others all the time")
