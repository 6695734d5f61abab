"""A shard's dispatcher: works off the lanes of one shard while it holds the shard's lease.

Owns the lease, the change feed of the lanes and the turns. Never decides what an answer means
(`core.delivery`) or which message comes next (`picker`), never orders lanes (`core.lanes`) and
never sends (`delivery`). One message of a lane is in flight at a time; a lane that waits holds
nothing up.
"""

import asyncio
import time
from contextlib import aclosing
from typing import Final

import msgspec
import structlog

from control_plane import metrics
from control_plane.config import DispatcherSettings
from control_plane.core.lanes import Lane, LaneBook, Park, Parked
from control_plane.dispatcher.delivery import Delivery, Head
from control_plane.dispatcher.lane_reports import report
from control_plane.dispatcher.picker import Picker, Rest
from control_plane.pacing.book import PacingBook
from control_plane.pacing.desk import PacingDesk
from control_plane.state.fleet_state import FleetState
from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import CONTACTS_PREFIX, contact_of_key
from schemas.pacing import AskLane, LaneReport
from schemas.records import LeaseRecord
from schemas.resources import OUTBOX, PACING, bucket_stream, bucket_subject
from schemas.subjects import lane_of_subject, lane_reports, outbox_shard, shard_of
from schemas.transport.background import Background
from schemas.transport.connection import Bus, BusMessage
from schemas.transport.jetstream import JetStream
from schemas.transport.kv import is_tombstone
from schemas.transport.lease import Lease, LeaseSpec, hold
from schemas.transport.streams import Gap, read_ordered
from schemas.transport.typed import serve

log = structlog.get_logger()

LEASE_KIND: Final = "shard"
_STEP_FAILED_PAUSE_S: Final = 1.0


class ShardDispatcher:
    """One shard; `run` holds its lease whenever it is wanted here and can be had."""

    def __init__(
        self,
        bus: Bus,
        shard: int,
        state: FleetState,
        delivery: Delivery,
        book: PacingBook,
        settings: DispatcherSettings,
        sends: asyncio.Semaphore,
    ) -> None:
        self.shard = shard
        self._bus = bus
        self._jetstream = JetStream(bus)
        self._state = state
        self._delivery = delivery
        self._pacing = book
        self._settings = settings
        self._sends = sends
        self._wanted = asyncio.Event()
        self._wake = asyncio.Event()
        self._book = LaneBook()
        self._picker = self._new_picker(0)
        self._sending: dict[Lane, Head] = {}

    def want(self, wanted: bool) -> None:
        """Whether this replica is to dispatch the shard; if not, it is handed over politely."""
        if wanted != self._wanted.is_set():
            (self._wanted.set if wanted else self._wanted.clear)()
            self._wake.set()

    async def run(self, me: LeaseRecord) -> None:
        """Dispatch whenever that is wanted and the lease can be had, until cancelled."""
        spec = LeaseSpec(LEASE_KIND, str(self.shard), self._bus.settings.profile)
        undo = [
            self._state.on_change(self._session_changed),
            self._pacing.on_change(self._pacing_changed),
        ]
        try:
            while True:
                await self._wanted.wait()
                held = False
                try:
                    async with hold(self._bus, spec, me, wait_s=0.0) as lease:
                        held = True
                        await self._dispatch(lease)
                except BlazzError as error:
                    if not error.retryable:
                        raise
                    # Not held: another replica has it still.
                    if held:
                        log.warning(
                            "dispatcher.interrupted",
                            shard=self.shard,
                            detail=error.detail,
                            **{log_keys.CODE: error.code},
                        )
                    await asyncio.sleep(spec.profile.lease_renew_s)
        finally:
            for forget in undo:
                forget()

    def _new_picker(self, inherited_to: int) -> Picker:
        desk = PacingDesk(self._bus, self._pacing, self._state)
        return Picker(self._jetstream, self.shard, desk, self._delivery.hopeless, inherited_to)

    async def _dispatch(self, lease: Lease) -> None:
        try:
            await self._work_off(lease)
        finally:
            # Another replica counts them from now on.
            self._count(LaneBook())

    def _count(self, book: LaneBook) -> None:
        for doing, count in book.counts().items():
            metrics.LANES.labels(shard=str(self.shard), doing=doing).set(count)

    async def _work_off(self, lease: Lease) -> None:
        self._book, self._sending = LaneBook(), {}
        outbox_end = await self._end_of(OUTBOX)
        contacts_end = await self._end_of(bucket_stream(PACING))
        self._picker = self._new_picker(outbox_end)
        await self._list_lanes()
        async with (
            serve(self._bus, lane_reports(self.shard), AskLane, self._report),
            Background() as tasks,
        ):
            tasks.start(self._follow(outbox_end + 1), name=f"outbox feed {self.shard}")
            tasks.start(self._follow_contacts(contacts_end + 1), name=f"contacts {self.shard}")
            tasks.start(self._sweep(), name=f"outbox sweep {self.shard}")
            while self._wanted.is_set():
                self._wake.clear()
                self._book.wake_due(time.monotonic())
                while lease.still_held() and (lane := self._book.take()) is not None:
                    await self._sends.acquire()
                    tasks.start(self._turn(lane, lease), name="outbox lane")
                self._count(self._book)
                await self._next_wake()
            await self._finish_turns()
        log.info("dispatcher.handed_over", shard=self.shard)

    async def _finish_turns(self) -> None:
        """Another replica takes over: let what is in flight end, for a while."""
        give_up_at = time.monotonic() + self._settings.hand_over_s
        while self._book.running and time.monotonic() < give_up_at:
            self._wake.clear()
            try:
                async with asyncio.timeout(max(0.0, give_up_at - time.monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                return

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

    async def _report(self, asked: AskLane, _message: BusMessage) -> LaneReport:
        lane = Lane(asked.tenant_id, asked.session_id)
        tried = self._sending.get(lane) or self._picker.last_tried(lane)
        return report(self._book, lane, tried, now=time.monotonic(), wall_now=time.time())

    # Which lanes hold something ------------------------------------------------------------------

    async def _end_of(self, stream: str) -> int:
        while True:
            try:
                return (await self._jetstream.stream_info(stream)).state.last_seq
            except BlazzError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(_STEP_FAILED_PAUSE_S)

    async def _list_lanes(self) -> None:
        while True:
            try:
                found = await self._jetstream.subjects(OUTBOX, outbox_shard(self.shard))
            except BlazzError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(_STEP_FAILED_PAUSE_S)
                continue
            for subject in found:
                lane = Lane(*lane_of_subject(subject))
                # Nothing new is known of a lane that waits for its pace.
                if self._book.parked(lane) is None:
                    self._note(lane)
            return

    async def _follow(self, from_seq: int) -> None:
        feed = read_ordered(
            self._jetstream,
            OUTBOX,
            outbox_shard(self.shard),
            start_seq=from_seq,
            headers_only=True,
        )
        async with aclosing(feed) as appended:
            async for message in appended:
                # A gap is what was already worked off; the sweep lists the lanes anew anyway.
                if not isinstance(message, Gap):
                    lane = Lane(*lane_of_subject(message.subject))
                    self._picker.appended(lane, message)
                    self._note(lane)

    async def _follow_contacts(self, from_seq: int) -> None:
        """Who has just written to a session gets what waits for them as a reply."""
        stream, root = bucket_stream(PACING), bucket_subject(PACING, "")
        subject = bucket_subject(PACING, f"{CONTACTS_PREFIX}>")
        feed = read_ordered(self._jetstream, stream, subject, start_seq=from_seq, headers_only=True)
        async with aclosing(feed) as written:
            async for message in written:
                if isinstance(message, Gap) or is_tombstone(message.headers):
                    continue
                key = message.subject.removeprefix(root)
                tenant_id, session_id, digest = contact_of_key(key)
                # When it wrote is of no concern here: it is a moment ago.
                if shard_of(session_id) == self.shard:
                    lane = Lane(tenant_id, session_id)
                    if self._picker.wrote(lane, digest, time.time()):
                        self._note(lane)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._settings.sweep_s)
            await self._list_lanes()

    def _note(self, lane: Lane) -> None:
        self._book.note(lane)
        self._wake.set()

    def _session_changed(self, session_id: str | None) -> None:
        if session_id is None:
            lanes = self._book.lanes(Park.OFFLINE)
        else:
            lane = self._book.offline_lane(session_id)
            lanes = [lane] if lane is not None else []
        for lane in lanes:
            if self._delivery.worth_trying(lane):
                self._book.wake(lane)
                self._wake.set()

        for lane in self._book.lanes(Park.PACED):
            gone = self._state.session(lane.tenant_id, lane.session_id) is None
            if gone and session_id in (None, lane.session_id):
                self._note(lane)

    def _pacing_changed(self) -> None:
        for lane in self._book.lanes(Park.PACED):
            self._note(lane)

    # Turns --------------------------------------------------------------------------------------

    async def _turn(self, lane: Lane, lease: Lease) -> None:
        """Work on a lane until it is empty, has to wait, or others should go first."""
        park: Parked | None = None
        try:
            for _ in range(self._settings.turn_messages):
                found = await self._picker.next(lane)
                if found is None:
                    self._picker.forget(lane)
                    self._book.drop(lane)
                    return
                if isinstance(found, Rest):
                    park = self._rest(lane, found)
                    break
                park = await self._try(lane, found, lease)
                if park is not None or not self._wanted.is_set():
                    break
            self._settle(lane, park)
        except BlazzError as error:
            # The bus or the ledger was away, or a newer peer wrote what we cannot read: nothing is
            # lost, the head lies where it was.
            log.warning(
                "dispatcher.turn_postponed",
                **{log_keys.SESSION: lane.session_id, log_keys.CODE: error.code},
            )
            pause_s = _STEP_FAILED_PAUSE_S if error.retryable else self._settings.sweep_s
            self._settle(lane, _postponed(pause_s, error.code))
        except Exception:
            log.exception("dispatcher.turn_crashed", **{log_keys.SESSION: lane.session_id})
            self._settle(lane, _postponed(self._settings.sweep_s, ErrorCode.INTERNAL))
        finally:
            self._sends.release()
            self._wake.set()

    async def _try(self, lane: Lane, head: Head, lease: Lease) -> Parked | None:
        self._sending[lane] = head
        try:
            outcome = await self._delivery.try_head(lane, head, lease)
        except BlazzError:
            # In the middle of its ending: what was decided stands.
            self._picker.tried(lane, msgspec.structs.replace(head, maybe_ended=True))
            raise
        finally:
            del self._sending[lane]
        if not isinstance(outcome, Head):
            self._picker.done(lane, head)
            return None
        self._picker.tried(lane, outcome)
        if not outcome.wait.offline:
            # The next look says how long to wait; another class may go meanwhile.
            return None
        until = time.monotonic() + outcome.wait.delay_s
        return Parked(until, Park.OFFLINE, outcome.wait.reason)

    def _rest(self, lane: Lane, rest: Rest) -> Parked:
        paced = self._pacing.rules(lane.tenant_id, lane.session_id).enabled
        # In a paced lane others may go before a message that is tried again later, too.
        why = Park.PACED if paced else Park.BACKING_OFF
        return Parked(time.monotonic() + rest.delay_s, why, rest.reason)

    def _settle(self, lane: Lane, park: Parked | None) -> None:
        if park is None:
            self._book.requeue(lane)
        else:
            self._book.park(lane, park)


def _postponed(pause_s: float, code: ErrorCode) -> Parked:
    return Parked(time.monotonic() + pause_s, Park.BACKING_OFF, code.value)
