"""The outbox: a session's events, published in order, each until the stream has it.

Owns the bounded buffer between a session and the bus. An event leaves it only when JetStream has
acknowledged it; its id is the message id, so that a repeat after a lost ack counts once. A full
outbox makes `put` wait, which makes the engine wait: nothing is dropped for want of room. Never
decides what is published.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable

import structlog
import uuid_utils

from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event, EventData, event_name
from schemas.ids import event_id
from schemas.transport.checkpoints import At, checkpoint
from swarm_node.core.backoff import BackoffPolicy, delay_s

log = structlog.get_logger()

Publish = Callable[[Event], Awaitable[None]]
"""Stores one event durably (message id: the event's); raises `BlazzError`."""

_RETRY = BackoffPolicy(first_s=0.05, longest_s=5.0)


class Outbox:
    """One session's waiting events. `run` publishes them; `put` adds one."""

    def __init__(
        self,
        publish: Publish,
        *,
        tenant_id: str,
        session_id: str,
        node_id: str,
        epoch: int,
        waiting_max: int,
    ) -> None:
        self._publish = publish
        self._tenant_id = tenant_id
        self._session_id = session_id
        self._node_id = node_id
        self._epoch = epoch
        self._waiting_max = waiting_max
        self._waiting: deque[Event] = deque()
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether `put` would wait now."""
        return len(self._waiting) >= self._waiting_max

    async def put(self, data: EventData) -> None:
        """Add an event as of now; waits while the outbox is full."""
        event = self._event(data)
        while self.full:
            self._room.clear()
            await self._room.wait()
        self._waiting.append(event)
        self._some.set()

    def put_now(self, data: EventData) -> None:
        """Add a state's event without waiting: a session must be able to stop during an outage.

        States are few, so they may go over the bound, up to twice; beyond that one is dropped
        and logged (the observed record still tells the latest state).
        """
        if len(self._waiting) >= 2 * self._waiting_max:
            log.error("event.dropped", name=event_name(data))
            return
        self._waiting.append(self._event(data))
        self._some.set()

    async def run(self) -> None:
        """Publish for ever, oldest first."""
        attempt = 0
        while True:
            if not self._waiting:
                self._empty.set()
                self._some.clear()
                await self._some.wait()
            self._empty.clear()
            try:
                checkpoint(At.EVENT_BEFORE_PUBLISH)
                await self._publish(self._waiting[0])
                checkpoint(At.EVENT_AFTER_PUBLISH)
            except BlazzError as error:
                if error.code is not ErrorCode.PAYLOAD_TOO_LARGE:
                    attempt += 1
                    if attempt == 1:
                        log.warning("event.publish_delayed", **{log_keys.CODE: error.code})
                    await asyncio.sleep(delay_s(_RETRY, attempt, random.random()))
                    continue
                # It can never be published; all behind it would wait for ever.
                log.exception("event.too_large", name=event_name(self._waiting[0].data))
            attempt = 0
            self._waiting.popleft()
            self._room.set()

    async def drain(self, timeout_s: float) -> None:
        """Wait until all is published, at most `timeout_s`; what is left then is logged."""
        if self._waiting:
            self._empty.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            log.exception("event.left_unpublished", count=len(self._waiting))

    def _event(self, data: EventData) -> Event:
        return Event(
            event_id=event_id(uuid_utils.uuid7().bytes),
            at=time.time(),
            tenant_id=self._tenant_id,
            session_id=self._session_id,
            node_id=self._node_id,
            epoch=self._epoch,
            data=data,
        )
