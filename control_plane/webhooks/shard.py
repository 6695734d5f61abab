"""A shard's webhooks: their lanes, while this replica holds the shard's lease.

Owns the lease, the index of the queue, and which lanes run. Never sends. A lane that crashes is
started again and takes no other down.
"""

import asyncio
from contextlib import aclosing
from typing import Final

import structlog

from control_plane import metrics
from control_plane.core.webhook_backlog import Backlog, Place
from control_plane.webhooks.lane import Lane, LaneParts
from control_plane.webhooks.replay import run_replay
from schemas import log_keys
from schemas.errors import BlazzError
from schemas.records import LeaseRecord
from schemas.resources import webhook_durable, webhook_replay_durable
from schemas.subjects import webhook_shard_of
from schemas.transport.background import Background
from schemas.transport.lease import Lease, LeaseSpec, lead
from schemas.webhooks import Replay, WebhookRecord

log = structlog.get_logger()

LEASE_KIND: Final = "webhooks"
_CRASHED_PAUSE_S: Final = 5.0


class _Running:
    """A lane and its tasks."""

    def __init__(self, lane: Lane, task: asyncio.Task[None]) -> None:
        self.lane = lane
        self.task = task
        self.replaying: tuple[Replay, asyncio.Task[None]] | None = None

    def stop(self) -> None:
        """End it; what is in hand comes again."""
        self.task.cancel()
        if self.replaying is not None:
            self.replaying[1].cancel()


class WebhookShard:
    """One shard; `run` holds its lease or waits for it, for ever."""

    def __init__(self, parts: LaneParts, shard: int) -> None:
        self._parts = parts
        self._shard = shard
        self._backlogs: dict[str, Backlog] = {}
        self._lanes: dict[str, _Running] = {}
        self._known: dict[str, WebhookRecord] = {}

    async def run(self, me: LeaseRecord) -> None:
        """Deliver whenever the lease can be had, until cancelled."""
        spec = LeaseSpec(LEASE_KIND, str(self._shard), self._parts.bus.settings.profile)
        await lead(self._parts.bus, spec, me, self._deliver)

    async def _deliver(self, _lease: Lease) -> None:
        self._backlogs, self._lanes, self._known = {}, {}, {}
        wake = asyncio.Event()
        self._parts.endpoints.subscribe(wake)
        try:
            async with Background() as tasks:
                tasks.start(self._follow(), name=f"webhook queue {self._shard}")
                tasks.start(self._look_for_losses(), name=f"webhook losses {self._shard}")
                while True:
                    wake.clear()
                    self._match(tasks)
                    self._count()
                    try:
                        async with asyncio.timeout(self._parts.settings.sweep_s):
                            await wake.wait()
                    except TimeoutError:
                        continue
        finally:
            self._lanes = {}
            self._backlogs = {}
            self._parts.endpoints.unsubscribe(wake)
            self._count()

    async def _follow(self) -> None:
        async with aclosing(self._parts.store.follow(self._shard)) as writes:
            async for webhook_id, place in writes:
                self._backlog(webhook_id).note(place.event_id, Place(place.seq, place.due_at))
                if (running := self._lanes.get(webhook_id)) is not None:
                    running.lane.poke()

    async def _look_for_losses(self) -> None:
        while True:
            await asyncio.sleep(self._parts.settings.records_sweep_s)
            for webhook_id, record in tuple(self._known.items()):
                running = self._lanes.get(webhook_id)
                stands_still = running is None or running.lane.paused
                await self._parts.losses.look(record, stands_still=stands_still)

    def _backlog(self, webhook_id: str) -> Backlog:
        return self._backlogs.setdefault(webhook_id, Backlog())

    # Which lanes run -----------------------------------------------------------------------------

    def _match(self, tasks: Background) -> None:
        """Have a lane for each enabled webhook of the shard, and for no other."""
        mine = {
            webhook_id: record
            for webhook_id, record in self._parts.endpoints.all.items()
            if webhook_shard_of(webhook_id) == self._shard
        }
        for webhook_id in self._known.keys() - mine.keys():
            tasks.start(self._forget(self._known[webhook_id]), name="webhook removed")
        self._known = mine
        for webhook_id in tuple(self._lanes):
            if webhook_id not in mine or not mine[webhook_id].enabled:
                self._lanes.pop(webhook_id).stop()
        for record in mine.values():
            if record.enabled:
                self._run(record, tasks)

    def _run(self, record: WebhookRecord, tasks: Background) -> None:
        running = self._lanes.get(record.webhook_id)
        if running is None:
            lane = Lane(self._parts, record, self._backlog(record.webhook_id))
            running = _Running(lane, tasks.start(_for_ever(lane), name="webhook lane"))
            self._lanes[record.webhook_id] = running
        running.lane.webhook = record
        replay = record.replay
        if replay is not None and (running.replaying is None or running.replaying[0] != replay):
            replaying = _once(self._parts, running.lane, replay)
            running.replaying = replay, tasks.start(replaying, name="webhook replay")

    async def _forget(self, record: WebhookRecord) -> None:
        """It was removed: what its lane may have left behind goes, too."""
        self._backlogs.pop(record.webhook_id, None)
        try:
            await self._parts.store.purge(record)
            await self._parts.store.forget_place(webhook_durable(record.webhook_id))
            await self._parts.store.forget_place(webhook_replay_durable(record.webhook_id))
        except BlazzError as error:
            log.info("webhook.not_forgotten", **{log_keys.CODE: error.code})

    def _count(self) -> None:
        counts = {
            "waiting": sum(backlog.waiting for backlog in self._backlogs.values()),
            "dead": sum(backlog.dead for backlog in self._backlogs.values()),
            "unread": sum(running.lane.unread for running in self._lanes.values()),
        }
        for state, count in counts.items():
            metrics.WEBHOOK_BACKLOG.labels(shard=str(self._shard), state=state).set(count)


async def _for_ever(lane: Lane) -> None:
    while True:
        try:
            await lane.run()
        except Exception:
            log.exception("webhook.lane_crashed", webhook_id=lane.webhook.webhook_id)
            await asyncio.sleep(_CRASHED_PAUSE_S)


async def _once(parts: LaneParts, lane: Lane, replay: Replay) -> None:
    try:
        await run_replay(parts, lane, replay)
    except Exception:
        log.exception("webhook.replay_crashed", webhook_id=lane.webhook.webhook_id)
