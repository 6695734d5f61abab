"""A shard's dispatcher: works off the lanes of one shard while it holds the shard's lease.

Owns the lease, the change feed of the lanes and the turns. Never decides what an answer means
(`core.delivery`), never orders lanes (`core.lanes`) and never sends (`dispatcher.delivery`).
One message of a lane is in flight at a time; a lane that waits holds nothing up.
"""

import asyncio
import time
from contextlib import aclosing
from typing import Final

import structlog

from control_plane import metrics
from control_plane.config import DispatcherSettings
from control_plane.core.lanes import Lane, LaneBook
from control_plane.dispatcher.delivery import Delivery, Head, Wait
from control_plane.state.fleet_state import FleetState
from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.records import LeaseRecord
from schemas.resources import OUTBOX
from schemas.subjects import lane_of_subject, outbox_lane, outbox_shard
from schemas.transport.background import Background
from schemas.transport.checkpoints import At, checkpoint
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.lease import Lease, LeaseSpec, hold
from schemas.transport.streams import Gap, read_ordered

log = structlog.get_logger()

LEASE_KIND: Final = "shard"
_STEP_FAILED_PAUSE_S: Final = 1.0


class ShardDispatcher:
    """One shard; `run` holds its lease or waits for it, for ever."""

    def __init__(
        self,
        bus: Bus,
        shard: int,
        state: FleetState,
        delivery: Delivery,
        settings: DispatcherSettings,
        sends: asyncio.Semaphore,
    ) -> None:
        self._bus = bus
        self._jetstream = JetStream(bus)
        self._shard = shard
        self._state = state
        self._delivery = delivery
        self._settings = settings
        self._sends = sends
        self._wake = asyncio.Event()
        self._book = LaneBook()
        self._heads: dict[Lane, Head] = {}
        self._inherited: set[Lane] = set()

    async def run(self, me: LeaseRecord) -> None:
        """Dispatch whenever the lease can be had, until cancelled."""
        spec = LeaseSpec(LEASE_KIND, str(self._shard), self._bus.settings.profile)
        forget = self._state.on_change(self._session_changed)
        try:
            while True:
                try:
                    async with hold(self._bus, spec, me) as lease:
                        await self._dispatch(lease)
                except BlazzError as error:
                    if error.code is not ErrorCode.LEASE_LOST:
                        raise
                    log.warning("dispatcher.lease_lost", shard=self._shard, detail=error.detail)
        finally:
            forget()

    async def _dispatch(self, lease: Lease) -> None:
        self._book, self._heads = LaneBook(), {}
        feed_from = (await self._stream_end()) + 1
        # Only the head of a lane can have been handed to a node by a dispatcher before us.
        self._inherited = await self._list_lanes()
        async with Background() as tasks:
            tasks.start(self._follow(feed_from), name=f"outbox feed {self._shard}")
            tasks.start(self._sweep(), name=f"outbox sweep {self._shard}")
            while True:
                self._wake.clear()
                self._book.wake_due(time.monotonic())
                while lease.still_held() and (lane := self._book.take()) is not None:
                    await self._sends.acquire()
                    tasks.start(self._turn(lane, lease), name="outbox lane")
                for doing, count in self._book.counts().items():
                    metrics.LANES.labels(doing=doing).set(count)
                await self._next_wake()

    async def _next_wake(self) -> None:
        due = self._book.next_due()
        pause_s = self._settings.sweep_s
        if due is not None:
            pause_s = min(pause_s, max(0.0, due - time.monotonic()))
        try:
            async with asyncio.timeout(pause_s):
                await self._wake.wait()
        except TimeoutError:
            return

    # Which lanes hold something ------------------------------------------------------------------

    async def _stream_end(self) -> int:
        while True:
            try:
                return (await self._jetstream.stream_info(OUTBOX)).state.last_seq
            except BlazzError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(_STEP_FAILED_PAUSE_S)

    async def _list_lanes(self) -> set[Lane]:
        while True:
            try:
                found = await self._jetstream.subjects(OUTBOX, outbox_shard(self._shard))
            except BlazzError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(_STEP_FAILED_PAUSE_S)
                continue
            lanes = {Lane(*lane_of_subject(subject)) for subject in found}
            for lane in lanes:
                self._note(lane)
            return lanes

    async def _follow(self, from_seq: int) -> None:
        feed = read_ordered(
            self._jetstream,
            OUTBOX,
            outbox_shard(self._shard),
            start_seq=from_seq,
            headers_only=True,
        )
        async with aclosing(feed) as appended:
            async for message in appended:
                # A gap is what was already worked off; the sweep lists the lanes anew anyway.
                if not isinstance(message, Gap):
                    self._note(Lane(*lane_of_subject(message.subject)))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._settings.sweep_s)
            await self._list_lanes()

    def _note(self, lane: Lane) -> None:
        self._book.note(lane)
        self._wake.set()

    def _session_changed(self, session_id: str | None) -> None:
        if session_id is None:
            lanes = self._book.offline_lanes()
        else:
            lane = self._book.offline_lane(session_id)
            lanes = [lane] if lane is not None else []
        for lane in lanes:
            if self._delivery.worth_trying(lane):
                self._book.wake(lane)
                self._wake.set()

    # Turns --------------------------------------------------------------------------------------

    async def _turn(self, lane: Lane, lease: Lease) -> None:
        """Work on a lane until it is empty, has to wait, or others should go first."""
        wait: Wait | None = None
        try:
            for _ in range(self._settings.turn_messages):
                head = await self._head(lane)
                if head is None:
                    self._heads.pop(lane, None)
                    self._book.drop(lane)
                    return
                outcome = await self._delivery.try_head(lane, head, lease)
                if isinstance(outcome, Head):
                    wait, self._heads[lane] = outcome.wait, outcome
                    break
                self._heads.pop(lane, None)
                self._inherited.discard(lane)
            self._settle(lane, wait)
        except BlazzError as error:
            # The bus or the ledger was away, or a newer peer wrote what we cannot read: nothing is
            # lost, the head lies where it was.
            log.warning(
                "dispatcher.turn_postponed",
                **{log_keys.SESSION: lane.session_id, log_keys.CODE: error.code},
            )
            pause_s = _STEP_FAILED_PAUSE_S if error.retryable else self._settings.sweep_s
            self._settle(lane, Wait(pause_s, offline=False))
        except Exception:
            log.exception("dispatcher.turn_crashed", **{log_keys.SESSION: lane.session_id})
            self._settle(lane, Wait(self._settings.sweep_s, offline=False))
        finally:
            self._sends.release()
            self._wake.set()

    def _settle(self, lane: Lane, wait: Wait | None) -> None:
        if wait is None:
            self._book.requeue(lane)
        else:
            self._book.park(lane, time.monotonic() + wait.delay_s, offline=wait.offline)

    async def _head(self, lane: Lane) -> Head | None:
        subject = outbox_lane(self._shard, lane.tenant_id, lane.session_id)
        known = self._heads.get(lane)
        checkpoint(At.HEAD_BEFORE_READ)
        stored = await self._jetstream.next_by_subject(OUTBOX, subject)
        if stored is None:
            return None
        checkpoint(At.HEAD_AFTER_READ)
        if known is not None and known.sequence == stored.seq:
            return known
        return Head.of(stored, inherited=lane in self._inherited)
