"""Inflows: a subscription's messages, over all the connections that carry it.

Owns the bounded queue and the recognition of what two connections brought twice. Never subscribes:
`connection.Bus` does.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Self

import structlog
from nats.aio.msg import Msg

from schemas.errors import BlazzError, ErrorCode
from schemas.transport.link import BusMessage, Link, Subscribed, message_of

log = structlog.get_logger()


class Overlap:
    """While two links carry the same subscription, each message comes once by each. Told apart by
    what they are; of equal ones, as many count as the link brought that brought more."""

    def __init__(self) -> None:
        self._brought: dict[int, Counter[bytes]] = {}

    def is_new(self, link: object, message: BusMessage) -> bool:
        """Take in a message; whether it is the first of its kind."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (message.subject, message.reply, repr(sorted(message.headers.items()))):
            digest.update(part.encode() + b"\0")
        digest.update(message.data)
        key = digest.digest()
        own = self._brought.setdefault(id(link), Counter())
        own[key] += 1
        others = (count[key] for link_id, count in self._brought.items() if link_id != id(link))
        return own[key] > max(others, default=0)


class Inflow:
    """A subscription's bounded queue: `async for message in inflow`.

    It outlives connections. Core NATS is at most once, so when the reader is too slow the newest
    message is dropped and counted in `dropped` rather than memory growing.
    """

    def __init__(self, subject: str, queue_group: str, pending_max: int) -> None:
        self.subject = subject
        self.queue_group = queue_group
        self.dropped = 0
        self._queue: asyncio.Queue[BusMessage] = asyncio.Queue(pending_max)
        self._refused = asyncio.Event()
        self.subscribed: Subscribed | None = None
        self._overlap: Overlap | None = None

    def taker(self, link: Link) -> Callable[[Msg], Awaitable[None]]:
        """nats-py's callback for a link: quick and never raising, for callbacks run one at a
        time."""

        async def take(msg: Msg) -> None:
            self._accept(message_of(msg, link))

        return take

    def begin_overlap(self) -> None:
        """From here on two links may bring the same. The members of a group share instead."""
        self._overlap = None if self.queue_group else Overlap()

    def end_overlap(self) -> None:
        """One link is left."""
        self._overlap = None

    async def unsubscribe(self) -> None:
        """Take no more. Quiet if no link carries it."""
        if self.subscribed is not None:
            await self.subscribed.unsubscribe()

    def _accept(self, message: BusMessage) -> None:
        if self._overlap is not None and not self._overlap.is_new(message.via, message):
            return
        if self._queue.full():
            self.dropped += 1
            if self.dropped & (self.dropped - 1) == 0:  # 1, 2, 4, 8 …: a flood logs little
                log.warning("bus.message_dropped", subject=self.subject, dropped=self.dropped)
            return
        self._queue.put_nowait(message)

    def refuse(self) -> None:
        """The server does not let this identity subscribe here."""
        self._refused.set()

    def check(self) -> None:
        """Raise `forbidden` if the server refused the subscription."""
        if self._refused.is_set():
            raise BlazzError(
                ErrorCode.FORBIDDEN, "the bus refuses this subject to us", subject=self.subject
            )

    async def next(self) -> BusMessage:
        """The next message, however long it takes."""
        return await self._queue.get()

    def take_pending(self) -> list[BusMessage]:
        """All that waits in the queue, at once."""
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BusMessage:
        return await self._queue.get()
