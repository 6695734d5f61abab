"""The outbox: a node's event lanes, and each session's way into its own.

Owns the lanes' lifetimes: one is made when a session or a leftover event needs it, publishes in a
task of its own, and is forgotten when it is empty and no session holds it. Never decides an order
within a lane.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import structlog
import uuid_utils

from schemas import log_keys
from schemas.events import Event, EventData, event_name
from schemas.facts import fact_event_id
from schemas.ids import event_id
from schemas.transport.background import Background
from schemas.transport.checkpoints import At, checkpoint
from swarm_node.outbox.journal import EventJournal
from swarm_node.outbox.lane import Ask, EventLane, Publish

log = structlog.get_logger()

_LANE_AGAIN_S: Final = 5.0


class EventOutbox:
    """All lanes of a node. `running` publishes; `of` gives a session its way in."""

    def __init__(self, node_id: str, journal: EventJournal, *, publish: Publish, ask: Ask) -> None:
        self._node_id = node_id
        self._journal = journal
        self._publish = publish
        self._ask = ask
        self._lanes: dict[str, EventLane] = {}
        self._holders: dict[str, int] = {}
        self._tasks = Background()
        self._publishing: set[str] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Publish for the block, first what an earlier process left. What waits at the end is on
        the disk. Raises `OSError`."""
        async with self._journal.open() as left, self._tasks:
            for entry in left:
                if entry.event.node_id != self._node_id:
                    # The directory was another node's; we may publish under our own name alone.
                    entry.event = msgspec.structs.replace(entry.event, node_id=self._node_id)
                self._lane(entry.event.tenant_id, entry.event.session_id).restore(entry)
            if left:
                log.info("events.restored", count=len(left), sessions=len(self._lanes))
            yield

    def of(
        self, *, tenant_id: str, session_id: str, epoch: int, waiting_max: int
    ) -> "SessionOutbox":
        """A session's way in under one epoch; `close` it when the session is let go."""
        self._holders[session_id] = self._holders.get(session_id, 0) + 1
        return SessionOutbox(
            self,
            self._lane(tenant_id, session_id),
            node_id=self._node_id,
            epoch=epoch,
            waiting_max=waiting_max,
        )

    def _wake(self, lane: EventLane) -> None:
        """Have a lane published, unless it is being."""
        if lane.session_id not in self._publishing:
            self._publishing.add(lane.session_id)
            self._tasks.start(self._run(lane), name=f"events {lane.session_id}")

    def release(self, lane: EventLane) -> None:
        """A session let go of its lane."""
        holders = self._holders[lane.session_id] - 1
        if holders:
            self._holders[lane.session_id] = holders
        else:
            del self._holders[lane.session_id]
        self._forget_idle(lane)

    async def _run(self, lane: EventLane) -> None:
        try:
            while len(lane):
                try:
                    await lane.run()
                except Exception:
                    # One lane's trouble is its own.
                    log.exception("events.lane_failed", **{log_keys.SESSION: lane.session_id})
                    await asyncio.sleep(_LANE_AGAIN_S)
        finally:
            self._publishing.discard(lane.session_id)
        self._forget_idle(lane)

    def _forget_idle(self, lane: EventLane) -> None:
        if not len(lane) and lane.session_id not in self._holders:
            self._lanes.pop(lane.session_id, None)

    def _lane(self, tenant_id: str, session_id: str) -> EventLane:
        lane = self._lanes.get(session_id)
        if lane is None:
            lane = self._lanes[session_id] = EventLane(
                tenant_id,
                session_id,
                self._journal,
                publish=self._publish,
                ask=self._ask,
                wake=self._wake,
            )
        return lane


class SessionOutbox:
    """One session's way into its lane, under one epoch."""

    def __init__(
        self, outbox: EventOutbox, lane: EventLane, *, node_id: str, epoch: int, waiting_max: int
    ) -> None:
        self._outbox = outbox
        self._lane = lane
        self._node_id = node_id
        self._epoch = epoch
        self._waiting_max = waiting_max

    def __len__(self) -> int:
        return len(self._lane)

    @property
    def full(self) -> bool:
        """Whether `put` would wait for room now."""
        return len(self._lane) >= self._waiting_max

    async def put(self, *data: EventData) -> None:
        """Add events as of now; returns when a crash can no longer lose any of them, which is one
        wait for all. Waits while the outbox is full."""
        entries = [await self._lane.put(self._event(one), self._waiting_max) for one in data]
        for entry in entries:
            await entry.settled.wait()
            checkpoint(At.EVENT_AFTER_KEEP)

    def put_now(self, data: EventData) -> None:
        """Add a state's event without waiting: a session must be able to stop during an outage.

        States are few, so they may go over the bound, up to twice; beyond that one is dropped
        and logged (the observed record still tells the latest state).
        """
        if len(self._lane) >= 2 * self._waiting_max:
            log.error("event.dropped", name=event_name(data))
            return
        self._lane.add(self._event(data))

    async def drain(self, timeout_s: float) -> None:
        """Wait until all is published, at most `timeout_s`; what is left goes on waiting."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._lane.wait_empty()
        except TimeoutError:
            log.warning("event.left_unpublished", count=len(self._lane))

    def close(self) -> None:
        """The session is let go; what waits is published all the same."""
        self._outbox.release(self._lane)

    def _event(self, data: EventData) -> Event:
        fact = fact_event_id(self._lane.session_id, data)
        return Event(
            event_id=fact or event_id(uuid_utils.uuid7().bytes),
            at=time.time(),
            tenant_id=self._lane.tenant_id,
            session_id=self._lane.session_id,
            node_id=self._node_id,
            epoch=self._epoch,
            data=data,
        )
