"""Leases: who may act, until when, by the holder's own clock.

Owns acquiring, renewing, giving back and losing a lease on a bucket key. A lost lease (someone
else wrote) is told from an unreachable bus (retry until our own deadline). Never starts anything
by itself on expiry: what a missing lease means is the reconciler's to decide.

The rules in short: the deadline counts from BEFORE the renewal was sent and ends `safety_share`
of the TTL early; every renewal carries the TTL anew (an update without it would live for ever)
and the sequence it replaces; the epoch is a counter in a key that never expires, raised in the
same atomic batch that takes the lease over.

    async with hold(bus, LeaseSpec(kind="leader", name="reconciler", profile=FAST), me) as lease:
        while lease.still_held(): ...
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import NoReturn

import msgspec
import structlog

from schemas.errors import BlazzError, ErrorCode
from schemas.keys import lease_epoch_key, lease_key
from schemas.records import EpochRecord, LeaseRecord
from schemas.resources import FLEET
from schemas.timing import TimingProfile
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket, Conflict, Delete, Entry, Fence, Put

log = structlog.get_logger()


class LeaseSpec(msgspec.Struct, frozen=True):
    """Which lease, and how fast it runs."""

    kind: str
    name: str
    profile: TimingProfile

    @property
    def key(self) -> str:
        """Its key in the fleet bucket."""
        return lease_key(self.kind, self.name)

    @property
    def epoch_key(self) -> str:
        """Its counter's key."""
        return lease_epoch_key(self.kind, self.name)


# Rules (pure): time comes in as an argument --------------------------------------------------


class Renewal(StrEnum):
    """What the holder does now."""

    WAIT = "wait"
    RENEW = "renew"
    STOP = "stop"


def holder_deadline(sent_at: float, ttl_s: float, safety_share: float) -> float:
    """Until when a holder may act that wrote its lease with a message sent at `sent_at`."""
    return sent_at + ttl_s * (1.0 - safety_share)


def next_step(now: float, deadline: float, renew_at: float) -> Renewal:
    """At or after the deadline: stop, without asking anybody. Else renew when it is time."""
    if now >= deadline:
        return Renewal.STOP
    return Renewal.RENEW if now >= renew_at else Renewal.WAIT


def retry_delay(now: float, deadline: float, renew_every_s: float) -> float:
    """Seconds to the next try after a renewal that got no answer: soon, and several before the
    deadline."""
    return max(0.05, min(renew_every_s / 4, (deadline - now) / 4))


def is_mine(record: LeaseRecord, me: LeaseRecord) -> bool:
    """Whether a lease was written by this very incarnation."""
    return record.holder == me.holder and record.incarnation == me.incarnation


# I/O -------------------------------------------------------------------------------------------


class Lease:
    """A lease that was acquired. `epoch` is this holding's number: put it on all that it emits.

    `deadline` is in this process's monotonic seconds; `revision` is the lease key's.
    """

    def __init__(
        self,
        bucket: Bucket,
        spec: LeaseSpec,
        me: LeaseRecord,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self.me = me
        self.epoch = 0
        self.revision = 0
        self.deadline = 0.0
        self.lost = False
        self._bucket = bucket
        self._clock = clock
        self._epoch_revision = 0
        self._unanswered_since: float | None = None

    def still_held(self) -> bool:
        """Whether the holder may still act, by its own clock. Ask before every effect."""
        return not self.lost and self._clock() < self.deadline

    def fence(self) -> Fence:
        """Put it on a write: the server then refuses it once another holder has taken over."""
        return Fence(self.spec.epoch_key, self._epoch_revision)

    async def acquire(self) -> bool:
        """Try once; False if another holds it. A lease of this incarnation is taken up again.

        Raises `nats_unavailable` or `timeout` (it may have been taken; the next try finds out).
        """
        current = await self._bucket.get(self.spec.key, LeaseRecord)
        if current.value is not None and not is_mine(current.value, self.me):
            log.debug("lease.held_by_another", lease=self.spec.key, holder=current.value.holder)
            return False
        counter: Entry[EpochRecord] = await self._bucket.get(self.spec.epoch_key, EpochRecord)
        epoch = (counter.value.epoch if counter.value else 0) + 1
        sent_at = self._clock()
        try:
            revision = await self._bucket.batch(
                [
                    Put(
                        key=self.spec.key,
                        value=self.me,
                        expect_revision=current.revision,
                        ttl_s=self.spec.profile.lease_ttl_s,
                    ),
                    Put(
                        key=self.spec.epoch_key,
                        value=EpochRecord(epoch),
                        expect_revision=counter.revision,
                    ),
                ]
            )
        except Conflict:
            log.debug("lease.contended", lease=self.spec.key, expected=current.revision)
            return False
        self.epoch = epoch
        self._epoch_revision = revision
        self._adopt(revision - 1, sent_at)
        self.lost = False
        log.info("lease.acquired", lease=self.spec.key, epoch=epoch)
        return True

    async def renew(self) -> None:
        """Write it again. Raises `lease_lost` if another took it or it ran out; `timeout` or
        `nats_unavailable` if the bus did not say (try again until the deadline)."""
        if not self.still_held():
            self._lose("ran out")
        sent_at = self._clock()
        first_sent_at = self._unanswered_since if self._unanswered_since is not None else sent_at
        self._unanswered_since = first_sent_at
        put = Put(
            key=self.spec.key,
            value=self.me,
            expect_revision=self.revision,
            ttl_s=self.spec.profile.lease_ttl_s,
        )
        try:
            revision = await self._bucket.batch([put], timeout_s=self._attempt_s(sent_at))
        except Conflict:
            # Perhaps an earlier renewal of ours got through and only its answer was lost. When
            # it was written is not known, only that it was not before the first unanswered one.
            current = await self._bucket.get(self.spec.key, LeaseRecord)
            if current.value is None or not is_mine(current.value, self.me):
                self._lose("taken over")
            self._adopt(current.revision, first_sent_at)
        else:
            self._adopt(revision, sent_at)

    async def release(self) -> None:
        """Give it back, so that the next holder need not wait. Quiet if it is lost already."""
        self.lost = True
        try:
            await self._bucket.batch([Delete(key=self.spec.key, expect_revision=self.revision)])
        except BlazzError as error:
            # It runs out by itself.
            log.info("lease.not_released", lease=self.spec.key, code=error.code)
        else:
            log.info("lease.released", lease=self.spec.key, epoch=self.epoch)

    async def keep(self) -> None:
        """Renew until the lease is lost, then raise `lease_lost`, no later than the deadline."""
        profile = self.spec.profile
        renew_at = self._clock() + profile.lease_renew_s
        while True:
            now = self._clock()
            match next_step(now, self.deadline, renew_at):
                case Renewal.STOP:
                    self._lose("ran out")
                case Renewal.WAIT:
                    await asyncio.sleep(min(renew_at, self.deadline) - now)
                    continue
                case Renewal.RENEW:
                    pass
            try:
                # Whatever it waits for ends with the deadline: the holder must stop in time.
                async with asyncio.timeout(self.deadline - now):
                    await self.renew()
                renew_at = now + profile.lease_renew_s
            except TimeoutError:
                continue
            except BlazzError as error:
                if error.code is ErrorCode.LEASE_LOST:
                    raise
                log.warning("lease.renewal_unanswered", lease=self.spec.key, code=error.code)
                now = self._clock()
                renew_at = now + retry_delay(now, self.deadline, profile.lease_renew_s)

    def _attempt_s(self, now: float) -> float:
        # Room for a second try before the deadline, should this one's answer be lost.
        return max(0.05, min(self.deadline - now, self.spec.profile.lease_renew_s))

    def _adopt(self, revision: int, sent_at: float) -> None:
        profile = self.spec.profile
        self.revision = revision
        self.deadline = holder_deadline(sent_at, profile.lease_ttl_s, profile.lease_safety_share)
        self._unanswered_since = None

    def _lose(self, reason: str) -> NoReturn:
        self.lost = True
        log.warning("lease.lost", lease=self.spec.key, epoch=self.epoch, reason=reason)
        raise BlazzError(ErrorCode.LEASE_LOST, f"lease {self.spec.key} {reason}")


@asynccontextmanager
async def hold(
    bus: Bus,
    spec: LeaseSpec,
    me: LeaseRecord,
    *,
    wait_s: float | None = None,
    poll_s: float | None = None,
) -> AsyncIterator[Lease]:
    """Hold a lease for the block: acquired at the start, renewed meanwhile, given back at the end.

    Waits for it up to `wait_s` (None: for ever), looking every `poll_s`. Raises `lease_lost` when
    it could not be had in time. When it is lost, the block is cancelled at once and `lease_lost`
    is raised in place of the cancellation.
    """
    lease = Lease(Bucket(bus, FLEET), spec, me)
    await _acquire_in_time(lease, wait_s, poll_s or spec.profile.lease_renew_s)
    try:
        # A loss is a crash of this task: it cancels the block and comes out in its place.
        async with Background() as tasks:
            tasks.start(lease.keep(), name=f"keep {spec.key}")
            yield lease
    finally:
        if not lease.lost:
            await lease.release()


async def lead(
    bus: Bus, spec: LeaseSpec, me: LeaseRecord, work: Callable[[Lease], Awaitable[None]]
) -> None:
    """Do `work` whenever the lease can be had, until cancelled; it ends with the lease. Raises what
    `work` raises.

    A cancellation that nobody asked for is no end: a task group drops a task that ends so without
    a word, and the role would be nobody's from then on.
    """
    task = asyncio.current_task()
    while True:
        # Not always 0: a task group that ends in a certain moment leaves its request behind.
        asked_before = task.cancelling() if task is not None else 0
        try:
            async with hold(bus, spec, me) as lease:
                await work(lease)
        except BlazzError as error:
            if error.code is not ErrorCode.LEASE_LOST:
                raise
            log.warning("lease.led_no_more", lease=spec.key, detail=error.detail)
        except asyncio.CancelledError:
            if task is None or task.cancelling() > asked_before:
                raise
            log.exception("lease.cancelled_by_nobody", lease=spec.key)


async def _acquire_in_time(lease: Lease, wait_s: float | None, poll_s: float) -> None:
    give_up_at = None if wait_s is None else time.monotonic() + wait_s
    while True:
        try:
            if await lease.acquire():
                return
        except BlazzError as error:
            if not error.retryable:
                raise
            log.info("lease.bus_away", lease=lease.spec.key, code=error.code)
        if give_up_at is not None and time.monotonic() + poll_s > give_up_at:
            raise BlazzError(ErrorCode.LEASE_LOST, f"{lease.spec.key} is held by another process")
        await asyncio.sleep(poll_s)
