"""The mailbox: everything that may happen to a session, in one line.

Owns the item types and the bounded queue. Never acts on an item.
"""

import asyncio
from enum import StrEnum

import msgspec

from schemas.commands import SessionAnswer
from schemas.errors import BlazzError, ErrorCode
from swarm_node.engines.contract import Probe
from swarm_node.session.engine_slot import EngineSlot
from swarm_node.session.event_data import StateBearing


class Verb(StrEnum):
    """What a session can be told."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    MOVE = "move"
    LOGOUT = "logout"
    FENCE = "fence"


class Order:
    """A verb, and whom to answer; an answer that nobody waits for any more is dropped."""

    def __init__(self, verb: Verb, reason: str | None = None) -> None:
        self.verb = verb
        self.reason = reason
        self.done: asyncio.Future[SessionAnswer] = asyncio.get_running_loop().create_future()

    def fulfil(self, answer: SessionAnswer) -> None:
        """It is done."""
        if not self.done.done():
            self.done.set_result(answer)

    def refuse(self, error: BlazzError) -> None:
        """It can't be done."""
        if not self.done.done():
            self.done.set_exception(error)


class Saw(msgspec.Struct, frozen=True):
    """An engine reported something that may change the state."""

    slot: EngineSlot
    event: StateBearing


class Probed(msgspec.Struct, frozen=True):
    """A probe ended: with a finding, or with an error code when the engine gave no answer.
    `unanswered` counts those in a row."""

    slot: EngineSlot
    probe: Probe | None = None
    error: str | None = None
    unanswered: int = 0


class RelaunchDue(msgspec.Struct, frozen=True):
    """The backoff after the failure of `slot` is over."""

    slot: EngineSlot | None


Item = Order | Saw | Probed | RelaunchDue


class Mailbox:
    """A bounded queue with one reader. Writers wait when it is full."""

    def __init__(self, size_max: int) -> None:
        self._queue: asyncio.Queue[Item] = asyncio.Queue(size_max)
        self._orders: set[Order] = set()
        self._closed = False

    async def next(self) -> Item:
        """The next item, however long it takes."""
        return await self._queue.get()

    async def put(self, item: Item) -> None:
        """Add an item; waits while the mailbox is full. A closed one takes nothing."""
        if not self._closed:
            await self._queue.put(item)

    async def order(self, verb: Verb, reason: str | None = None) -> SessionAnswer:
        """Add an order and wait for its answer. Raises `shutting_down` when it won't be read."""
        if self._closed:
            raise _closed()
        order = Order(verb, reason)
        self._orders.add(order)
        try:
            await self._queue.put(order)
            return await order.done
        finally:
            self._orders.discard(order)

    def close(self) -> None:
        """Refuse the orders that wait and all that come; writers that wait for room go on."""
        self._closed = True
        for order in self._orders:
            order.refuse(_closed())
        while not self._queue.empty():
            self._queue.get_nowait()


def _closed() -> BlazzError:
    return BlazzError(ErrorCode.SHUTTING_DOWN, "the session is being closed")
